"""Photographs to a domain, with content and style losses and a critic: a style file of the domain.

python -m experiments.adversarial_train --config=configs/gan.py --workdir=runs/gan
"""

from metastyle.config import Adversarial, config_dict


def get_config():
    return config_dict(Adversarial, system="gan", run={"steps": 4000, "checkpoint_every": 200, "picture_every": 500})
