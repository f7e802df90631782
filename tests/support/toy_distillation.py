"""A distillation of a few channels and 32 px for tests, with a random teacher."""

import numpy as np

from metastyle import config
from metastyle.config import Distillation
from metastyle.nets import vgg

TEACHER = vgg.random_params(widths=(4, 6, 6, 8, 8, 8, 8, 8, 8, 8))
RANKS = (0, 0, 0, 0, 0, 3, 0, 0, 4, 4)
FULL_RANK = (0,) * 10
FULL = tuple(TEACHER[layer]["kernel"].shape[-1] for layer in vgg.LAYERS)
SLIM = (3, 4, 4, 5, 5, 5, 5, 6, 6, 6)
SIZE = 32
LOSS = config.Loss()
PICTURES = np.random.default_rng(0).uniform(size=(4, SIZE, SIZE, 3)).astype(np.float32)


def settings(**changes) -> Distillation:
    values = {
        "run": {"steps": 6, "log_every": 2, "checkpoint_every": 4, "picture_every": 6},
        "data": {"size": SIZE, "content": "procedural", "style": "procedural"},
        "painter": {"arch": "s4,p4-3,skip"},
        "widths": SLIM,
        "ranks": RANKS,
        "batch": 2,
        "gallery": 4,
        "gallery_every": 2,
        "steps_per_style": 3,
        "styles_per_painter": 1,
        "warmup": 1,
        "vgg": "random",
    }
    for name, value in changes.items():
        values[name] = values.get(name, {}) | value if isinstance(value, dict) else value
    return config.from_dict(values, Distillation)


def batch_of():
    draw = np.random.default_rng(0).uniform(size=(3, 1, SIZE, SIZE, 3)).astype(np.float32)
    return dict(zip(("style", "photograph", "subject"), draw, strict=True))


def seen_of():
    draw = np.random.default_rng(0).uniform(size=(3, 2, SIZE, SIZE, 3)).astype(np.float32)
    return dict(zip(("photograph", "style", "work"), draw, strict=True))
