"""The 256 px recipe: first order, later second order, with learned rates. It needs an accelerator.

python -m experiments.meta_train --config=configs/default.py --workdir=runs/default
"""

from metastyle.config import config_dict


def get_config():
    return config_dict(
        run={"steps": 40_000},
        data={"procedural_styles": 0.2},
        inner={"steps": 5, "scope": "norm", "lr": 1e-2, "rate_kind": "step"},
        outer={"tasks": 8, "query": 2, "lr": 1e-3, "second_order_from": 10_000, "multi_step": 20_000},
    )
