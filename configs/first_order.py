"""First-order MAML (Finn et al. 2017): the 256 px recipe without second derivatives.

python -m experiments.meta_train --config=configs/first_order.py --workdir=runs/first_order
"""

from metastyle.config import config_dict


def get_config():
    return config_dict(
        run={"steps": 40_000},
        data={"procedural_styles": 0.2},
        inner={"steps": 5, "first_order": True},
        outer={"tasks": 8, "query": 2, "multi_step": 20_000},
    )
