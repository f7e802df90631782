"""Command lines of `metastyle`, and the files that they read."""

import numpy as np
from PIL import Image

from tests.support.places import FORMAT_1

PHOTOGRAPH = FORMAT_1 / "photograph.png"


def adapt(**changes):
    flags = {"bundle": "bundle", "style": "painting.png", "out": "new.safetensors", "support": "photo.png", "steps": 1}
    return ["adapt", *_flags(flags | changes)]


def stylize(**changes):
    return ["stylize", *_flags({"style_file": "style.safetensors", "content": "photo.png", "out": "new.png"} | changes)]


def pixels(path):
    return np.asarray(Image.open(path))


def _flags(values):
    return [f"--{name}={value}" for name, value in values.items() if value is not None]
