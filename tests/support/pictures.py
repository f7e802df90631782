"""Pictures to test with, and what their errors must be."""

import numpy as np


def noise(*shape, seed=0):
    """Floats in [0, 1]."""
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def one_line(info, *parts):
    """Asserts that the message of an exception is one line, with these parts in it."""
    message = str(info.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message
