"""Palettes, noise and polygons."""

import numpy as np
import pytest

from metastyle.data.procedural.drawing import MOODS, fractal_noise, oklch, palette, stamp, values_by_owner
from tests.support.pictures import spectral_slope


def test_palettes_run_from_dark_to_light_in_range():
    for mood in MOODS:
        for seed in range(20):
            colours = palette(np.random.default_rng(seed), mood)
            assert 4 <= len(colours) <= 8 and colours.min() >= 0 and colours.max() <= 1
            assert colours[0].mean() + 0.1 < colours[-1].mean()


def test_oklch_known_colours():
    # Ottosson's coordinates of white, mid grey (sRGB 0.5) and pure sRGB red.
    found = oklch(np.array([1, 0.598182, 0.627955]), np.array([0, 0, 0.257683]), np.array([0, 0, 29.2339]))
    np.testing.assert_allclose(found, [[1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0]], atol=2e-3)


@pytest.mark.parametrize("slope", [0.8, 1.2])
def test_fractal_noise_has_the_asked_slope(slope):
    fields = [fractal_noise(np.random.default_rng(seed), 128, slope) for seed in range(8)]
    assert abs(np.mean([spectral_slope(field) for field in fields]) - slope) < 0.1
    np.testing.assert_allclose([(field.mean(), field.std()) for field in fields], [(0, 1)] * 8, atol=1e-5)


def test_stamp_paints_in_order_over_the_ground():
    square = lambda low, high: np.array([[low, low], [high, low], [high, high], [low, high]])
    ground = np.full((32, 32, 3), 0.25, np.float32)
    polygons = np.stack([square(0.25, 0.75), square(0.5, 0.75)])
    picture, owner = stamp(ground, polygons, np.array([[1.0, 0, 0], [0, 0, 1.0]]))
    assert (owner[4, 4], owner[12, 12], owner[20, 20]) == (0, 1, 2)
    np.testing.assert_allclose(picture[[4, 12, 20], [4, 12, 20]], [[0.25] * 3, [1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(values_by_owner(owner, [5, 7], 3)[[4, 12, 20], [4, 12, 20]], [3, 5, 7])
