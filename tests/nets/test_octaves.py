"""Halved pictures: the filter, borders, odd sides, and that nothing is aliased."""

import jax
import numpy as np
import pytest

from metastyle.nets.octaves import halve, octaves
from tests.support.pictures import noise

FILTER = np.array([1, 3, 3, 1]) / 8


def numpy_halve(image):
    """One picture [H, W, C], pixel by pixel; weights that fall outside are left out, and the others sum to 1."""
    (height, width), sides = (side // 2 for side in image.shape[:2]), image.shape[:2]
    out = np.zeros((height, width, image.shape[2]))
    for y, x in np.ndindex(height, width):
        total = 0.0
        for i, j in np.ndindex(4, 4):
            row, column = 2 * y + i - 1, 2 * x + j - 1
            if 0 <= row < sides[0] and 0 <= column < sides[1]:
                out[y, x] += FILTER[i] * FILTER[j] * image[row, column]
                total += FILTER[i] * FILTER[j]
        out[y, x] /= total
    return out


@pytest.mark.parametrize("height, width", [(8, 8), (9, 12), (2, 3), (16, 7)])
def test_each_side_is_halved_by_the_filter(height, width):
    image = np.random.default_rng(0).random((height, width, 3), np.float32)
    found = np.asarray(halve(image[None]))[0]
    np.testing.assert_allclose(found, numpy_halve(image), atol=1e-6)


def test_a_constant_stays_and_the_finest_pattern_is_its_mean():
    constant = np.full((1, 6, 10, 3), 0.3, np.float32)
    np.testing.assert_allclose(halve(constant), constant[:, :3, :5], atol=1e-7)
    stripes = np.broadcast_to((np.arange(16) % 2).astype(np.float32)[None, :, None, None], (1, 16, 16, 3))
    np.testing.assert_allclose(np.asarray(halve(stripes))[:, 1:-1], 0.5, atol=1e-7)


def test_the_first_octave_is_the_picture_itself():
    image = noise(1, 20, 24, 3)
    found = octaves(image, 3)
    assert found[0] is image
    assert [x.shape[1:3] for x in found[1:]] == [(image.shape[1] // 2, 12), (image.shape[1] // 4, 6)]
    np.testing.assert_array_equal(found[2], halve(halve(image)))


def test_the_gradient_is_that_of_a_linear_map():
    draw = np.random.default_rng(1).normal(size=(2, 1, 9, 8, 3)).astype(np.float32)
    image, change = draw
    found = jax.grad(lambda x: (halve(x) ** 2).sum())(image)
    expected = 2 * (np.asarray(halve(image)) * np.asarray(halve(change))).sum()
    np.testing.assert_allclose((np.asarray(found) * change).sum(), expected, rtol=1e-4)


@pytest.mark.parametrize("height, width", [(8, 8), (9, 12), (13, 10)])
def test_padding_below_and_on_the_right_changes_nothing(height, width):
    image = np.random.default_rng(2).random((1, height, width, 3), np.float32)
    padded, inside = np.ones((1, 16, 16, 3), np.float32), np.zeros((1, 16, 16, 1), np.float32)
    padded[:, :height, :width], inside[:, :height, :width] = image, 1
    for whole, part in zip(octaves(image, 3), octaves(padded, 3, inside), strict=True):
        np.testing.assert_allclose(part[:, : whole.shape[1], : whole.shape[2]], whole, atol=1e-6)
    assert not np.asarray(octaves(padded, 2, inside)[1])[:, height // 2 :].any()
