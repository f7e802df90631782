"""Distils a loss network of half of VGG-16's widths for the optimisation of pixels: three octaves, L-BFGS canvases.

python -m experiments.distill --config=configs/distill_half.py --workdir=runs/half
"""

from metastyle.config import Distillation, config_dict


def get_config():
    return config_dict(
        Distillation,
        data={"size": 128, "procedural_styles": 0.1},
        loss={"octaves": 3},
        painter={"arch": "compact_half"},
        bundle="default",
        widths=[32, 32, 64, 64, 128, 128, 128, 256, 256, 256],
        ranks=[0] * 10,
        canvas_optimizer="lbfgs",
        lr=1e-4,
        run={"steps": 4000, "checkpoint_every": 100},
    )
