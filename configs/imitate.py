"""A generator without a pixel grid learns to do what the packaged one does, before it is meta-trained.

python -m experiments.imitate --config=configs/imitate.py --workdir=runs/imitation
"""

from metastyle.config import Imitation, config_dict

STYLES = {"procedural_styles": 0.05, "photograph_styles": 0.15, "recolor": 0.5, "collage": 0.25, "quarter_turns": 0.5}


def get_config():
    return config_dict(
        Imitation,
        data={"size": 128, "zoom": 1.375, "rotate": 0.0, "flip_style": True, **STYLES},
        generator={"arch": "compact_noise"},
        keep="conv1,norm1,block1,block2,block3,block4,block5,conv2,norm2,norm_skip",
        scope="norm,adapter,noise,out",
        octaves=3,
        lr=5e-4,
        run={"steps": 20_000, "checkpoint_every": 250, "picture_every": 500, "log_every": 20},
    )
