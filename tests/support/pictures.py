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


def spectral_slope(plane: np.ndarray) -> float:
    """a of the amplitude spectrum 1 / f**a, fitted over rings of frequency of a windowed picture."""
    size = len(plane)
    window = np.outer(np.hanning(size), np.hanning(size))
    amplitude = np.abs(np.fft.fft2((plane - plane.mean()) * window)).ravel()
    cycles = np.fft.fftfreq(size, 1 / size)
    ring = np.round(np.hypot(cycles[:, None], cycles)).astype(int).ravel()
    mean = np.bincount(ring, amplitude) / np.bincount(ring)
    fitted = np.arange(2, size // 3)
    return -np.polyfit(np.log(fitted), np.log(mean[fitted]), 1)[0]
