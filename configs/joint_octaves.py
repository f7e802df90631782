"""A generator with noise maps learns three octaves, without inner steps: shapes of the painting's size.

python -m experiments.meta_train --config=configs/joint_octaves.py --workdir=runs/joint_octaves

Crops of photographs and paintings are those of pictures up to four times as large as the crop. It goes on from a bundle
that took 4,000 steps of this config, from the packaged one with noise maps that change nothing at first:

python -m experiments.imitate --config=configs/imitate.py --workdir=runs/start --config.generator.arch=ARCH \\
    --config.keep=all --config.run.steps=0
"""

from metastyle.config import config_dict

ARCH = "s4,c3s1-64,n4x4,R64x2a,n4x4,R64x3a,u32,p2-3,skip"  # compact_half, with noise
STYLES = {"procedural_styles": 0.05, "photograph_styles": 0.15, "recolor": 0.5, "collage": 0.25, "quarter_turns": 0.5}


def get_config():
    return config_dict(
        run={"steps": 20_000, "checkpoint_every": 200, "picture_every": 500},
        data={"size": 128, "zoom": 4.0, "rotate": 0.0, "flip_style": True, **STYLES},
        generator={"arch": ARCH},
        loss={"octaves": 3, "grid": 0.2, "shift": 1.0},
        inner={"steps": 0, "scope": "norm,adapter,noise,out"},
        encoder={"hidden": 168, "code": 4512, "octaves": 3},
        outer={"tasks": 2, "vgg": "half", "lr": 2e-4},
        start="experiments/starts/noise_octaves",
    )
