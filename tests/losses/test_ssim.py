"""Structural similarity, for a score and for a loss."""

import sys

import numpy as np
import pytest

from metastyle.errors import InputError
from metastyle.images import codec
from metastyle.images.resize import resize, square
from metastyle.losses.ssim import LUMA, differentiable_ssim, ssim
from metastyle.system import paths

PHOTOS = paths.demo_pictures("photos")


def test_ssim():
    pytest.importorskip("skimage", reason="scikit-image is not installed")
    picture = square(codec.load(PHOTOS[0])[0], 64)
    noise = np.random.default_rng(0).normal(size=picture.shape)
    scores = [ssim(picture, picture + std * noise) for std in (0, 0.05, 0.2)]
    assert scores[0] == pytest.approx(1) and scores[1] > scores[2] > 0
    # Of two constants c and d, (2 c d + (0.01 L)^2) / (c^2 + d^2 + (0.01 L)^2) with a data range L of 1.
    assert ssim(np.full((9, 9, 3), 0.2), np.full((9, 9, 3), 0.4)) == pytest.approx(0.1601 / 0.2001)


@pytest.mark.parametrize("other", [(64, 63, 3), (6, 64, 3)])
def test_ssim_of_different_or_tiny_sizes(other):
    pytest.importorskip("skimage", reason="scikit-image is not installed")
    first = (6, 64, 3) if other[0] == 6 else (64, 64, 3)
    with pytest.raises(InputError, match="`b`: expected the shape of `a`"):
        ssim(np.zeros(first), np.zeros(other))


def test_ssim_without_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(
        InputError, match=r'scikit-image, which is not installed; type `pip install "metastyle\[eval\]"`'
    ):
        ssim(np.zeros((9, 9, 3)), np.zeros((9, 9, 3)))


def test_the_differentiable_ssim_is_that_of_scikit_image():
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    coarse = (np.random.default_rng(seed).uniform(size=(4, 4, 3)) for seed in (1, 2))
    a, b = (np.float32(codec.to_uint8(resize(x, (40, 50)))) / 255 for x in coarse)
    luma = [(x @ np.float32(LUMA))[None] for x in (a, b)]
    doubles = [x[0].astype(np.float64) for x in luma]
    _, similarities = structural_similarity(*doubles, data_range=1.0, full=True, use_sample_covariance=False)
    valid = similarities[3:-3, 3:-3].mean()
    np.testing.assert_allclose(differentiable_ssim(*luma), valid, atol=1e-5)
    np.testing.assert_allclose(differentiable_ssim(luma[0], luma[0]), 1, atol=1e-6)
