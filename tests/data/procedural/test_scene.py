"""Synthetic photographs are natural in their statistics."""

import numpy as np
import pytest

from metastyle.data.procedural.scene import photograph
from tests.support.pictures import spectral_slope


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    return np.stack([photograph(np.random.default_rng(index), 128) for index in range(20)])


def test_photographs_have_a_natural_spectrum(photographs):
    slopes = [spectral_slope(picture.mean(-1)) for picture in photographs]
    assert 0.8 < np.mean(slopes) < 1.6
    assert np.std(slopes) > 0.02


def test_photographs_have_natural_colour_and_varied_exposure(photographs):
    principal = []
    for pixels in photographs.reshape(20, -1, 3):
        variances = np.linalg.eigvalsh(np.cov(pixels.T))
        principal.append(variances[-1] / variances.sum())
    assert np.mean(principal) > 0.8
    means = photographs.mean((1, 2, 3))
    assert 0.3 < means.mean() < 0.65 and means.std() > 0.05
