"""The sizes of arrays that hold pictures of many sizes."""

import numpy as np

from metastyle.nets.extent import Extent, padded_side


def test_sides_of_arrays_are_few_and_near():
    sides = {padded_side(side) for side in range(16, 4097)}
    assert len(sides) == 20
    assert all(side % 64 == 0 for side in sides)
    assert all(side <= padded_side(side) < 1.25 * side + 1 for side in range(257, 4097))
    assert [padded_side(side) for side in (1, 64, 65, 512, 513)] == [64, 64, 128, 512, 640]


def test_padding_is_cropped_again():
    picture = np.random.default_rng(0).random((2, 70, 64, 3), np.float32)
    place = Extent.of(70, 64, spare=8)
    assert place.padded == (72, 72)
    padded = place.pad(picture)
    assert padded.shape == (2, 72, 72, 3) and float(padded[:, 70:].sum() + padded[:, :, 64:].sum()) == 0
    np.testing.assert_array_equal(place.crop(padded), picture)
    assert float(place.inside().sum()) == 70 * 64
