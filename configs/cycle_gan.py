"""CycleGAN: photographs to a domain and back, each way a style file of its own.

python -m experiments.adversarial_train --config=configs/cycle_gan.py --workdir=runs/cycle_gan

The critics judge patches of 34 px; ".bare" leaves out the instance norms, which would hide colours from them.
"""

from metastyle.config import Adversarial, config_dict


def get_config():
    return config_dict(
        Adversarial,
        system="cycle_gan",
        run={"steps": 40_000, "checkpoint_every": 250, "picture_every": 1000},
        data={"short": 128, "size": 96},
        critic="c4s2-32.bare.leaky,c4s2-64.bare.leaky,c4s1-128.bare.leaky,c4s1-1",
        kind="least_squares",
        weight=1.0,
        augment=False,
        batch=1,
        lr=2e-4,
        critic_lr=2e-4,
        b1=0.5,
        b2=0.999,
        average=0.998,
    )
