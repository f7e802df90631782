"""Random crops and collages."""

import numpy as np
import pytest

from metastyle.data.augment import augment, collage
from tests.support.toy_tasks import SIZE

NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


def crops(picture, count=40, **options):
    rng = np.random.default_rng(0)
    options = {"zoom": 1.0, "rotate": 0.0, "flip": False} | options
    return np.stack([augment(rng, picture, SIZE, **options) for _ in range(count)])


@pytest.mark.parametrize("shape", [(16, 16), (40, 23), (12, 30), (200, 190)])
@pytest.mark.parametrize("zoom, rotate", [(1.0, 0.0), (1.5, 5.0), (1.0, 45.0), (3.0, 180.0)])
def test_no_crop_reaches_outside_the_picture(shape, zoom, rotate):
    white = np.full((*shape, 3), 255, np.uint8)
    assert crops(white, zoom=zoom, rotate=rotate).min() == 1.0


@pytest.mark.slow
def test_without_augmentation_a_square_picture_of_the_size_is_itself():
    picture = NOISE[:SIZE, :SIZE]
    np.testing.assert_array_equal(crops(picture, 3), np.stack([picture / np.float32(255)] * 3))


def test_flip_mirrors_half_of_the_crops():
    picture = NOISE[:SIZE, :SIZE]
    mirrored = [np.array_equal(crop, picture[:, ::-1] / np.float32(255)) for crop in crops(picture, 200, flip=True)]
    straight = [np.array_equal(crop, picture / np.float32(255)) for crop in crops(picture, 200, flip=True)]
    assert all(np.logical_xor(mirrored, straight))
    assert 70 < sum(mirrored) < 130


def test_the_line_of_a_collage_goes_where_it_is_asked_to():
    black, white = np.zeros((2, 9, 9, 3), np.float32), np.ones((9, 9, 3), np.float32)
    right, low = collage(black, white, 0.0, 0.5)[1, ..., 0], collage(black, white, 0.25, 0.9)[1, ..., 0]
    np.testing.assert_array_equal(right, np.broadcast_to(np.arange(9) > 4, (9, 9)))
    np.testing.assert_array_equal(low, np.broadcast_to(np.arange(9)[:, None] > 5, (9, 9)))


def test_scale_and_turn_are_as_asked():
    """On the picture whose red and green are x and y, a crop's gradient is its scale and turn."""
    y, x = np.mgrid[:100, :140].astype(np.float32)
    picture = np.stack([x, y, 0 * x], -1).astype(np.uint8)
    plane = crops(picture, 300, zoom=2.0, rotate=30.0) * 255
    along, down = np.diff(plane, axis=2).mean((1, 2)), np.diff(plane, axis=1).mean((1, 2))
    angle = np.degrees(np.arctan2(-along[:, 1], along[:, 0]))
    pixel = np.hypot(along[:, 0], along[:, 1])  # pixels of the picture in one of the crop
    np.testing.assert_allclose(along[:, 0], down[:, 1], atol=0.25)
    np.testing.assert_allclose(along[:, 1], -down[:, 0], atol=0.25)
    assert -30.5 < angle.min() < -25 and 25 < angle.max() < 30.5
    assert 100 / SIZE / 2 - 0.1 < pixel.min() < 100 / SIZE / 2 + 0.3
    radians = np.radians(angle)
    largest = 100 / SIZE / (np.abs(np.cos(radians)) + np.abs(np.sin(radians)))
    assert (pixel < largest + 0.1).all() and (pixel > largest - 0.1).any()


def test_crops_come_from_everywhere():
    y, x = np.mgrid[:100, :200].astype(np.float32)
    centres = crops(np.stack([x, y, 0 * x], -1).astype(np.uint8), 300)[..., :2].mean((1, 2)) * 255
    assert centres[:, 0].min() < 55 and centres[:, 0].max() > 145
    assert np.ptp(centres[:, 1]) < 1


@pytest.mark.parametrize("side", [16, 64])
@pytest.mark.parametrize("rotate", [0.0, 45.0])
def test_a_picture_and_its_negative_average_to_grey(side, rotate):
    """Which they don't where a filter rounds down."""
    picture = np.random.default_rng(0).integers(60, 190, (side, side, 3), np.uint8)
    both = crops(picture, rotate=rotate) + crops(255 - picture, rotate=rotate)
    assert both.mean() / 2 == pytest.approx(0.5, abs=0.05 / 255)


def test_downscaling_is_antialiased():
    checks = ((np.indices((160, 160)).sum(0) % 2) * 255).astype(np.uint8)
    picture = np.repeat(checks[..., None], 3, -1)
    for rotate in (0.0, 5.0):
        assert np.abs(crops(picture, 10, rotate=rotate) - 0.5).max() < 0.02
