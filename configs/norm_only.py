"""Second-order MAML of the instance norms alone, as ANIL adapts only a part. It gives the smallest style files.

python -m experiments.meta_train --config=configs/norm_only.py --workdir=runs/norm_only
"""

from metastyle.config import config_dict


def get_config():
    return config_dict(
        run={"steps": 40_000},
        inner={"steps": 5, "scope": "norm", "rate_kind": "step"},
        outer={"tasks": 8, "query": 2},
    )
