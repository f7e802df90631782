"""Command lines of `metastyle` and the files that they read, and the mains of `experiments` in processes."""

import os
import subprocess
import sys

import jax
import numpy as np
from PIL import Image

from tests.support.places import FORMAT_1, ROOT

PHOTOGRAPH = FORMAT_1 / "photograph.png"


def adapt(**changes):
    flags = {"bundle": "bundle", "style": "painting.png", "out": "new.safetensors", "support": "photo.png", "steps": 1}
    return ["adapt", *_flags(flags | changes)]


def stylize(**changes):
    return ["stylize", *_flags({"style_file": "style.safetensors", "content": "photo.png", "out": "new.png"} | changes)]


def transfer(*flags, names=("photo.png", "painting.png")):
    return ["transfer", *names, "--bundle=bundle", "--vgg=random", "--out=new.png", *flags]


def pixels(path):
    return np.asarray(Image.open(path))


def run_main(name, *flags):
    """Runs `python -m experiments.NAME` to its end."""
    line = [sys.executable, "-m", f"experiments.{name}", *flags]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)


def like_here():
    """The environment of a process that has as many devices as this one."""
    return os.environ | {"JAX_NUM_CPU_DEVICES": str(jax.device_count())}


def _flags(values):
    return [f"--{name}={value}" for name, value in values.items() if value is not None]
