"""The bundle in the package: few_shot.py at 256 px with ten steps and many styles side by side. Minutes on an H200.

python -m experiments.meta_train --config=configs/few_shot_large.py --workdir=runs/large
"""

from metastyle.config import DEFAULT_BUNDLE, config_dict


def get_config():
    return config_dict(
        run={"steps": 3000, "checkpoint_every": 250, "picture_every": 10_000},
        data={
            "size": 256,
            "zoom": 1.375,
            "rotate": 0.0,
            "flip_style": True,
            "recolor": 0.5,
            "collage": 0.5,
            "quarter_turns": 0.5,
            "procedural_styles": 0.05,
            "photograph_styles": 0.15,
            "on_device": True,
            "threads": 16,
        },
        generator={"arch": "compact_half", "dtype": "bfloat16"},
        inner={"steps": 10, "scope": "norm,adapter,out", "lr": 0.03, "first_order": True},
        loss={"grid": 0.2},
        encoder={"hidden": 168},
        outer={"tasks": 32, "tasks_side_by_side": 32, "lr": 1e-3, "rate_lr": 2e-2, "multi_step": 6000, "vgg": "vgg16"},
        start=DEFAULT_BUNDLE,
    )
