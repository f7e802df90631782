"""Structural similarity (SSIM, Wang et al. 2004): scikit-image's as a score, and a differentiable one as a loss."""

import jax
import numpy as np

from metastyle.errors import InputError
from metastyle.system.optional import need

LUMA = (0.299, 0.587, 0.114)  # Rec. 601
_WINDOW, _C1, _C2 = 7, 0.01**2, 0.03**2  # px, and the constants of the paper for a data range of 1


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """The SSIM of two pictures' luma; 1 where they are equal.

    a, b: floats [H, W, 3] in [0, 1] of one size, sides of at least 7 px. Raises InputError for pictures of different
    or smaller sizes, and when scikit-image is not installed.
    """
    structural_similarity = need("skimage.metrics", "ssim").structural_similarity
    if a.shape != b.shape or min(a.shape[:2]) < _WINDOW:
        raise InputError(
            f"`b`: expected the shape of `a`, sides of at least {_WINDOW} px, got {a.shape} and {b.shape}; resize"
        )
    return float(structural_similarity(*(np.asarray(x, np.float64) @ LUMA for x in (a, b)), data_range=1.0))


def differentiable_ssim(a: jax.Array, b: jax.Array) -> jax.Array:
    """The mean SSIM over all windows of 7 px of two lumas, f32[N, H, W] in [0, 1]: a scalar, at most 1."""

    def mean(x):
        window = (1, _WINDOW, _WINDOW)
        return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, (1, 1, 1), "VALID") / _WINDOW**2

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b, cov = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2, mean(a * b) - mean_a * mean_b
    numerator = (2 * mean_a * mean_b + _C1) * (2 * cov + _C2)
    return (numerator / ((mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2))).mean()
