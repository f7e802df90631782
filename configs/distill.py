"""Distils the slim loss network on the sample data's photographs and paintings: minutes to hours on two cores.

python -m experiments.distill --config=configs/distill.py --workdir=runs/slim
"""

from metastyle.config import Distillation, config_dict


def get_config():
    return config_dict(Distillation, data={"procedural_styles": 0.1})
