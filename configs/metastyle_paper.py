"""MetaStyle's own recipe (Zhang, Zhu, Zhu, AAAI 2019): one second-order SGD step on the norms, then Adam on everything.

python -m experiments.meta_train --config=configs/metastyle_paper.py --workdir=runs/metastyle_paper

The paper uses the features of torchvision's VGG-16 (`metastyle fetch vgg16 --source=torchvision`). With Caffe's weights
the losses are scaled to the same units (metastyle/losses/perceptual.py).
"""

from metastyle.config import config_dict


def get_config():
    return config_dict(
        run={"steps": 100_000},
        data={"size": 256, "zoom": 1.0, "rotate": 0.0},
        generator={"arch": "johnson"},
        loss={"kind": "paper", "content": 1.0, "style": 1e5},
        inner={"steps": 1, "scope": "norm", "support": 4, "lr": 1e-5, "rate_kind": "fixed", "normalize": False},
        outer={
            "tasks": 4,
            "query": 4,
            "objective": "mean",
            "lr": 1e-5,
            "warmup": 0,
            "decay": "inverse",
            "clip": 0.0,
        },
        vgg="vgg16",
    )
