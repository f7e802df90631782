"""Masks: what they are read as, resized and feathered."""

import warnings

import numpy as np
import pytest
from PIL import Image

from metastyle.errors import Adjusted, InputError
from metastyle.images import codec, masks
from metastyle.images.resize import resize
from tests.support.pictures import noise, one_line


def test_mask_is_the_grey_value():
    grey = noise(6, 7)
    for picture in (grey, np.repeat(grey[..., None], 3, axis=-1)):
        mask = masks.load(picture, 6, 7)
        assert mask.dtype == np.float32 and mask.shape == (6, 7)
        np.testing.assert_array_equal(mask, grey)
    colours = noise(6, 7, 3)
    np.testing.assert_allclose(masks.load(colours, 6, 7), colours @ [0.299, 0.587, 0.114], atol=1e-6)


def test_what_is_transparent_counts_as_black(tmp_path):
    image, alpha = codec.to_uint8(noise(6, 7, 3)), codec.to_uint8(noise(6, 7, seed=1))
    alpha[0], alpha[1], image[1], alpha[2], image[2] = 0, 255, 255, 51, 255
    Image.fromarray(np.dstack([image, alpha])).save(tmp_path / "a.png")
    mask = masks.load(tmp_path / "a.png", 6, 7)
    np.testing.assert_allclose(mask, image / 255 @ [0.299, 0.587, 0.114] * alpha / 255, atol=1e-6)
    assert (mask[0] == 0).all() and (mask[1] == 1).all() and mask.min() >= 0


def test_mask_of_another_size_is_resized_and_that_is_said(tmp_path):
    mask = np.zeros((20, 40), np.float32)
    mask[:, 20:] = 1
    codec.save(tmp_path / "half.png", np.repeat(mask[..., None], 3, axis=-1))
    with pytest.warns(Adjusted) as record:
        resized = masks.load(tmp_path / "half.png", 30, 80)
    assert [str(w.message) for w in record] == [f"`mask`: '{tmp_path / 'half.png'}' is 40 x 20, resized to 80 x 30"]
    assert record[0].filename == __file__
    np.testing.assert_array_equal(resized, resize(mask, (30, 80)))
    with pytest.warns(Adjusted, match=r"`where`: the array of shape \(20, 40\) is 40 x 20, resized to 20 x 10"):
        masks.load(mask, 10, 20, name="where")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masks.load(mask, 20, 40)


def test_mask_errors_are_those_of_load(tmp_path):
    with pytest.raises(FileNotFoundError, match="`mask`: no such file"):
        masks.load(tmp_path / "none.png", 4, 4)
    with pytest.raises(InputError, match="`mask`.*at most 3 pixels"):
        masks.load(np.zeros((4, 4)), 4, 4, max_pixels=3)


@pytest.mark.parametrize("shape", [(40, 61), (17, 5), (2, 3)])
@pytest.mark.parametrize("radius", [0.2, 1, 3.3, 20])
def test_feather_is_a_gaussian_on_the_mirrored_mask(shape, radius):
    mask, reach = noise(*shape), int(np.ceil(8 * radius))
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / radius))
    kernel /= kernel.sum()
    expected = np.pad(mask.astype(np.float64), reach, "symmetric")
    for axis in (0, 1):
        expected = np.apply_along_axis(np.convolve, axis, expected, kernel, "valid")
    found = masks.feather(mask, radius)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_feather_stays_in_range_keeps_the_mean_and_the_input():
    mask = np.zeros((300, 200), np.float32)
    mask[100:250, 30:120] = 1
    before = mask.copy()
    blurred = masks.feather(mask, 5)
    assert blurred.min() >= 0 and blurred.max() <= 1 and blurred[175, 75] == pytest.approx(1, abs=1e-6)
    assert blurred.mean() == pytest.approx(mask.mean(), abs=1e-6)
    assert 0.45 < blurred[100, 75] < 0.55
    np.testing.assert_array_equal(mask, before)
    np.testing.assert_allclose(masks.feather(mask, 1e9), mask.mean(), atol=1e-5)


def test_feather_of_none_is_the_mask_itself():
    mask = noise(4, 5)
    assert masks.feather(mask, 0) is mask


@pytest.mark.parametrize("radius", [-1, float("nan"), float("inf")])
def test_feather_refuses(radius):
    with pytest.raises(InputError) as info:
        masks.feather(noise(4, 5), radius)
    one_line(info, "`feather`", "0 px or more", str(radius))
