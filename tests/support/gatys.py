"""A photograph, a painting and settings, small enough to be optimised in a test."""

import numpy as np
import pytest

from metastyle.evaluate.baselines.gatys import Settings
from metastyle.nets import vgg

PARAMS = vgg.random_params()
SIZE = 24  # px; the photograph is 24 x 32, paintings are squares
LBFGS, ADAM = Settings(iterations=12), Settings(iterations=12, optimizer="adam")

every_optimizer = pytest.mark.parametrize("settings", [LBFGS, ADAM], ids=["lbfgs", "adam"])


def picture(seed, height=SIZE, width=SIZE):
    """Noise in one hue, which has values on both bounds."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(rng.uniform(size=3), 0.4, (height, width, 3))
    return np.round(255 * np.clip(noise, 0, 1)).astype(np.float32) / 255


PHOTOGRAPH, PAINTING = picture(0, width=32), picture(1)


def last(states):
    *_, state = states
    return state
