"""Exact resizing and cropping."""

import numpy as np
import pytest

from metastyle.images.resize import center_crop, resize, resize_short, square
from tests.support.pictures import noise


@pytest.mark.parametrize("size", [(7, 5), (64, 80), (33, 2), (20, 30)])
def test_resize_keeps_a_constant(size):
    image = np.broadcast_to(np.float32([0.0, 0.3, 1.0]), (20, 30, 3))
    resized = resize(image, size)
    assert resized.dtype == np.float32 and resized.shape == (*size, 3)
    np.testing.assert_allclose(resized, np.broadcast_to(image[0, 0], resized.shape), atol=1e-6)


def test_resize_to_the_same_size_is_the_identity_and_a_copy():
    image = noise(20, 30, 3)
    resized = resize(image, (20, 30))
    np.testing.assert_array_equal(resized, image)
    assert not np.shares_memory(resized, image)


def test_resize_preserves_the_mean_and_is_antialiased():
    checks = (np.indices((64, 64)).sum(axis=0) % 2).astype(np.float32)
    resized = resize(checks, (16, 16))
    assert resized.shape == (16, 16)
    np.testing.assert_allclose(resized[4:-4, 4:-4], 0.5, atol=1e-3)  # taking every fourth pixel would give 0
    image = 0.25 + 0.5 * noise(96, 96, 3)
    np.testing.assert_allclose(resize(image, (32, 32)).mean((0, 1)), image.mean((0, 1)), atol=5e-3)


def test_resize_follows_a_ramp_to_float_precision():
    width = 64
    ramp = np.broadcast_to((np.arange(width, dtype=np.float32) + 0.5) / width, (8, width))
    resized = resize(ramp, (8, 128))
    exact = (np.arange(128) + 0.5) / 128
    assert np.abs(resized[:, 8:-8] - exact[8:-8]).max() < 0.1 / 255

    faint = 0.5 + ramp / 255 / 4  # all of it within one step of uint8
    resized = resize(faint, (8, 32))[:, 4:-4]
    exact = 0.5 + (np.arange(32) + 0.5)[4:-4] / 32 / 255 / 4
    assert np.abs(resized - exact).max() < 0.01 / 255
    assert (np.diff(resized, axis=1) > 0).all()


def test_resize_clips_the_overshoot():
    step = np.zeros((16, 16, 1), np.float32)
    step[:, 8:] = 1
    resized = resize(step, (64, 64))
    assert resized.min() == 0 and resized.max() == 1
    unclipped = resize(0.25 + 0.5 * step, (64, 64))
    assert unclipped.max() > 0.76  # the filter does overshoot


def test_resize_treats_channels_alike_and_apart():
    image = noise(20, 30, 5)
    resized = resize(image, (11, 40))
    for c in range(5):
        np.testing.assert_array_equal(resized[..., c], resize(image[..., c], (11, 40)))
    np.testing.assert_array_equal(resize(image.astype(np.float64), (11, 40)), resized)


def test_resize_commutes_with_flips_and_transposition():
    image = noise(20, 30, 3)
    resized = resize(image, (11, 40))
    np.testing.assert_allclose(resize(image[::-1, ::-1], (11, 40)), resized[::-1, ::-1], atol=1e-6)
    np.testing.assert_allclose(resize(image.swapaxes(0, 1), (40, 11)), resized.swapaxes(0, 1), atol=1e-6)


def test_resize_refuses_uint8():
    with pytest.raises(ValueError, match="`image`.*uint8"):
        resize(np.zeros((4, 4, 3), np.uint8), (2, 2))


@pytest.mark.parametrize(
    "shape, short, expected", [((40, 60), 20, (20, 30)), ((60, 40), 20, (30, 20)), ((5, 5), 8, (8, 8))]
)
def test_resize_short(shape, short, expected):
    image = noise(*shape, 3)
    resized = resize_short(image, short)
    assert resized.shape == (*expected, 3)
    np.testing.assert_array_equal(resized, resize(image, expected))


def test_center_crop():
    image = np.arange(5 * 8, dtype=np.float32).reshape(5, 8)
    np.testing.assert_array_equal(center_crop(image, 3), image[1:4, 2:5])
    np.testing.assert_array_equal(center_crop(image, 5), image[:, 1:6])
    with pytest.raises(ValueError, match="`size`.*8 x 5.*got 6"):
        center_crop(image, 6)


@pytest.mark.parametrize("shape", [(40, 61), (61, 40), (30, 30), (17, 200), (33, 35)])
@pytest.mark.parametrize("size", [16, 33, 64])
def test_square_is_resize_short_then_center_crop(shape, size):
    image = noise(*shape, 3)
    squared = square(image, size)
    assert squared.shape == (size, size, 3)
    np.testing.assert_allclose(squared, center_crop(resize_short(image, size), size), atol=1e-4)


def test_square_of_a_long_strip_needs_no_long_result():
    strip = np.full((2, 500_000), 0.25, np.float32)  # resize_short(strip, 512) would be 128 million pixels wide
    np.testing.assert_allclose(square(strip, 512), 0.25, atol=1e-6)
