"""Reptile (Nichol et al. 2018): all parameters adapt by normalised steps, and the start moves to where each task ends.

python -m experiments.meta_train --config=configs/reptile.py --workdir=runs/reptile
"""

from metastyle.config import config_dict


def get_config():
    return config_dict(
        run={"steps": 40_000},
        inner={"steps": 8, "scope": "all", "lr": 1e-3, "rate_kind": "fixed"},
        outer={"tasks": 4, "update": "reptile", "optimizer": "sgd", "lr": 1.0, "warmup": 0, "clip": 0.0},
        vgg="vgg16",
    )
