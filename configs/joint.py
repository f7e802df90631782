"""One network for all styles with its encoder, without inner steps. few_shot.py continues from it.

python -m experiments.meta_train --config=configs/joint.py --workdir=runs/joint
"""

from metastyle.config import config_dict


def get_config():
    return config_dict(
        run={"steps": 3000, "checkpoint_every": 200, "picture_every": 1000},
        data={"size": 128, "zoom": 2.0, "procedural_styles": 0.05},
        generator={"arch": "compact_half"},
        inner={"steps": 0, "scope": "norm"},
        encoder={"hidden": 168},
        outer={"tasks": 4},
    )
