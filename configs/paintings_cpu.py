"""The recipe of tiny_cpu.py on the sample data's paintings at 96 px: colours and strokes in an hour on two cores.

python -m experiments.meta_train --config=configs/paintings_cpu.py --workdir=runs/paintings
"""

from metastyle.config import config_dict


def get_config():
    return config_dict(
        run={"steps": 1200, "log_every": 5, "checkpoint_every": 25, "picture_every": 250},
        data={"size": 96},
        inner={"steps": 10, "scope": "norm", "lr": 0.2, "first_order": True},
        outer={"tasks": 1, "query": 1, "lr": 2e-3, "rate_lr": 4e-2, "warmup": 20, "multi_step": 1500},
        vgg="vgg16",
    )
