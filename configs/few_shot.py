"""Five steps on norms, adapters and the last layer, from the network and encoder of joint.py, on two cores.

python -m experiments.meta_train --config=configs/few_shot.py --workdir=runs/few_shot --config.start=runs/joint/bundle

The inner loop learns with the slim network, as at deployment. VGG-16 judges the outer loop.
"""

from metastyle.config import config_dict


def get_config():
    return config_dict(
        run={"steps": 1200, "checkpoint_every": 100, "picture_every": 500},
        data={"size": 128, "zoom": 2.0, "procedural_styles": 0.05},
        generator={"arch": "compact_half"},
        inner={"steps": 5, "scope": "norm,adapter,out", "lr": 0.03, "first_order": True},
        loss={"grid": 0.2},
        encoder={"hidden": 168},
        outer={"tasks": 2, "multi_step": 3000, "vgg": "vgg16"},
        start="runs/joint/bundle",
    )
