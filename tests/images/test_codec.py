"""What `load` reads and refuses, and what `save` writes."""

import contextlib
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from metastyle.errors import Adjusted, InputError
from metastyle.images import codec
from metastyle.system import files
from tests.support.layouts import icc_grey_profile, icc_rgb_profile, srgb
from tests.support.pictures import noise, one_line


def _smooth(height, width, channels=3):
    """A picture that survives JPEG: a different ramp in each channel."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    planes = [0.1 + 0.8 * x, 0.9 - 0.8 * y, 0.3 + 0.2 * (x + y), 0.2 + 0.6 * y]
    return np.stack(planes[:channels], axis=-1).astype(np.float32)


# What load reads.


@pytest.mark.parametrize("suffix", sorted(codec.IMAGE_SUFFIXES))
def test_every_suffix_round_trips(tmp_path, suffix):
    image = _smooth(24, 32)
    path = tmp_path / f"picture{suffix.upper()}"
    codec.save(path, image)
    rgb, alpha = codec.load(path)
    assert alpha is None and rgb.dtype == np.float32 and rgb.shape == (24, 32, 3)
    tolerance = {".png": 0.5, ".bmp": 0.5, ".tif": 0.5, ".tiff": 0.5, ".gif": 30, ".webp": 10}.get(suffix, 6)
    assert np.abs(rgb - image).max() <= tolerance / 255 + 1e-6
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_format_comes_from_the_content_not_the_suffix(tmp_path):
    pixels = codec.to_uint8(noise(5, 7, 3))
    Image.fromarray(pixels).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(codec.to_uint8(codec.load(tmp_path / "a.jpg")[0]), pixels)


def test_paths_may_be_strings_and_pil_images_are_taken(tmp_path):
    pixels = codec.to_uint8(noise(5, 7, 3))
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    expected = pixels.astype(np.float32) / 255
    with Image.open(path) as opened:
        for picture in (path, str(path), opened, Image.fromarray(pixels)):
            np.testing.assert_array_equal(codec.load(picture)[0], expected)


def test_rgba_is_composited_on_white():
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (255, 0, 0, 255)
    pixels[0, 1] = (255, 0, 0, 0)
    pixels[1, 0] = (0, 100, 200, 51)  # a fifth opaque
    pixels[1, 1] = (0, 0, 0, 102)
    expected = np.array([[[1, 0, 0], [1, 1, 1]], [[0.8, 0.8 + 20 / 255, 0.8 + 40 / 255], [0.6, 0.6, 0.6]]])
    for picture in (pixels, Image.fromarray(pixels), pixels.astype(np.float64) / 255):
        rgb, alpha = codec.load(picture)
        np.testing.assert_allclose(rgb, expected, atol=1e-6)
        np.testing.assert_allclose(alpha, [[1, 0], [0.2, 0.4]], atol=1e-7)
        assert rgb.dtype == alpha.dtype == np.float32 and rgb.max() <= 1


def test_compositing_stays_in_range():
    image = np.concatenate([np.ones((50, 50, 3), np.float32), noise(50, 50, 1)], axis=-1)
    rgb, _ = codec.load(image)
    assert rgb.max() <= 1 and rgb.min() > 1 - 1e-6


def test_opaque_alpha_is_none():
    image = np.concatenate([noise(4, 4, 3), np.ones((4, 4, 1), np.float32)], axis=-1)
    rgb, alpha = codec.load(image)
    assert alpha is None
    np.testing.assert_array_equal(rgb, image[..., :3])
    assert codec.load(Image.new("RGBA", (4, 4), (10, 20, 30, 255)))[1] is None


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (2, 2))
    image.putpalette([255, 0, 0, 0, 0, 255, 0, 255, 0])
    image.putdata([0, 1, 2, 1])
    image.save(tmp_path / "whole.png", transparency=1)
    image.save(tmp_path / "partial.png", transparency=bytes([255, 51, 255]))
    image.save(tmp_path / "opaque.png")

    rgb, alpha = codec.load(tmp_path / "whole.png")
    np.testing.assert_array_equal(rgb, [[[1, 0, 0], [1, 1, 1]], [[0, 1, 0], [1, 1, 1]]])
    np.testing.assert_array_equal(alpha, [[1, 0], [1, 0]])
    rgb, alpha = codec.load(tmp_path / "partial.png")
    np.testing.assert_allclose(rgb[0, 1], [0.8, 0.8, 1], atol=1e-6)
    np.testing.assert_allclose(alpha, [[1, 0.2], [1, 0.2]], atol=1e-7)
    rgb, alpha = codec.load(tmp_path / "opaque.png")
    np.testing.assert_array_equal(rgb[0, 1], [0, 0, 1])
    assert alpha is None


def test_transparent_colour_key(tmp_path):
    image = Image.fromarray(np.array([[[9, 9, 9], [1, 2, 3]], [[1, 2, 4], [9, 9, 8]]], np.uint8))
    image.save(tmp_path / "key.png", transparency=(1, 2, 3))
    rgb, alpha = codec.load(tmp_path / "key.png")
    np.testing.assert_array_equal(alpha, [[1, 0], [1, 1]])
    np.testing.assert_array_equal(rgb[0, 1], [1, 1, 1])


def test_grey_grey_alpha_and_one_bit():
    grey = np.array([[0, 51], [102, 255]], np.uint8)
    for picture in (grey, Image.fromarray(grey), grey.astype(np.float32) / 255):
        rgb, alpha = codec.load(picture)
        np.testing.assert_allclose(rgb, np.repeat(grey[..., None] / 255, 3, axis=-1), atol=1e-7)
        assert alpha is None

    rgb, alpha = codec.load(Image.merge("LA", [Image.fromarray(grey), Image.new("L", (2, 2), 51)]))
    np.testing.assert_allclose(rgb[..., 1], 0.2 * grey / 255 + 0.8, atol=1e-6)
    np.testing.assert_allclose(alpha, 0.2, atol=1e-7)

    rgb, alpha = codec.load(Image.fromarray(grey).point(lambda v: 255 * (v > 60), mode="1"))
    np.testing.assert_array_equal(rgb[..., 0], [[0, 0], [1, 1]])
    assert alpha is None


def test_sixteen_bit_grey(tmp_path):
    values = np.array([[0, 1, 257], [32768, 65534, 65535]], np.uint16)
    image = Image.fromarray(values)
    image.save(tmp_path / "grey.png")
    big_endian = Image.frombytes("I;16B", (3, 2), values.astype(">u2").tobytes())
    big_endian.save(tmp_path / "grey.tif")
    for picture in (tmp_path / "grey.png", tmp_path / "grey.tif", image, big_endian, image.convert("I"), values):
        rgb, alpha = codec.load(picture)
        np.testing.assert_allclose(rgb, np.repeat(values[..., None] / 65535, 3, axis=-1), rtol=1e-6)
        assert alpha is None
    assert codec.load(values)[0][0, 2, 0] == np.float32(1 / 255)

    outside = Image.fromarray(np.array([[-5, 70000], [0, 65535]], np.int32))
    np.testing.assert_array_equal(codec.load(outside)[0][..., 0], [[0, 1], [0, 1]])


def test_cmyk_jpeg(tmp_path):
    cmyk = np.zeros((16, 16, 4), np.uint8)
    cmyk[...] = (0, 255, 255, 0)
    Image.fromarray(cmyk, mode="CMYK").save(tmp_path / "red.jpg", quality=95)
    with Image.open(tmp_path / "red.jpg") as image:
        assert image.mode == "CMYK"
    rgb, alpha = codec.load(tmp_path / "red.jpg")
    np.testing.assert_allclose(rgb, np.broadcast_to([1, 0, 0], rgb.shape), atol=0.02)
    assert alpha is None


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX", "RGBa", "PA"])
def test_rarer_modes(mode):
    colour = (51, 102, 204)
    via = {"RGBa": "RGBA", "PA": "P"}.get(mode, "RGB")
    rgb, alpha = codec.load(Image.new("RGB", (3, 3), colour).convert(via).convert(mode))
    np.testing.assert_allclose(rgb, np.broadcast_to(np.array(colour) / 255, rgb.shape), atol=0.02)
    assert alpha is None


def test_exif_orientation(tmp_path):
    pixels = codec.to_uint8(noise(2, 3, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the top of the scene is on the right
    for suffix in ("png", "webp", "tif"):
        options = {"lossless": True} if suffix == "webp" else {}
        Image.fromarray(pixels).save(tmp_path / f"turned.{suffix}", exif=exif, **options)
        rgb, _ = codec.load(tmp_path / f"turned.{suffix}")
        np.testing.assert_array_equal(codec.to_uint8(rgb), np.rot90(pixels, -1), err_msg=suffix)

    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    assert codec.load(tmp_path / "turned.jpg")[0].shape == (3, 2, 3)
    with Image.open(tmp_path / "turned.png") as image:
        assert codec.load(image)[0].shape == (3, 2, 3)


def test_damaged_exif_is_ignored():
    image = Image.new("RGB", (4, 3), (255, 0, 0))
    image.info["exif"] = b"Exif\0\0not a directory"
    np.testing.assert_array_equal(codec.load(image)[0], np.broadcast_to(np.float32([1, 0, 0]), (3, 4, 3)))


def test_icc_profile_is_converted_to_srgb(tmp_path):
    pixels = np.array([[[255, 0, 0], [0, 0, 255]], [[0, 255, 0], [128, 128, 128]]], np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "linear.png", icc_profile=icc_rgb_profile("bgr"))
    rgb, _ = codec.load(tmp_path / "linear.png")
    expected = np.array([[[0, 0, 1], [1, 0, 0]], [[0, 1, 0], [0.736, 0.736, 0.736]]])  # 128/255 linear is 0.736 in sRGB
    np.testing.assert_allclose(rgb, expected, atol=0.02)

    image.putalpha(51)
    image.save(tmp_path / "alpha.png", icc_profile=icc_rgb_profile("bgr"))
    composited, alpha = codec.load(tmp_path / "alpha.png")
    np.testing.assert_allclose(alpha, 0.2, atol=1e-7)
    np.testing.assert_allclose(composited, 0.2 * rgb + 0.8, atol=1e-6)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1", "I;16"])
@pytest.mark.parametrize("profile", [icc_rgb_profile(), icc_grey_profile()], ids=["RGB", "grey"])
def test_icc_profile_meets_the_mode_it_was_made_for(mode, profile):
    """Grey takes a profile for grey or for RGB, colours one for RGB alone."""
    plain = Image.new("I;16", (3, 3), 128 * 257) if mode == "I;16" else Image.new("L", (3, 3), 128).convert(mode)
    declared = plain.copy()
    declared.info["icc_profile"] = profile
    usable = profile == icc_rgb_profile() or mode in ("L", "LA", "1", "I;16")
    with contextlib.nullcontext() if usable else pytest.warns(Adjusted, match="the colour profile"):
        rgb, _ = codec.load(declared)
    before = codec.load(plain)[0]
    expected = srgb(before) if usable else before
    np.testing.assert_allclose(rgb, expected, atol=1.01 / 255)


def test_unusable_icc_profile_is_ignored_with_a_word(tmp_path):
    pixels = codec.to_uint8(noise(4, 4, 3))
    Image.fromarray(pixels).save(tmp_path / "junk.png", icc_profile=b"not a profile")
    with pytest.warns(Adjusted) as told:
        np.testing.assert_array_equal(codec.to_uint8(codec.load(tmp_path / "junk.png", name="style")[0]), pixels)
    (message,) = [str(x.message) for x in told]
    assert "`style`" in message and "junk.png" in message and "\n" not in message


def test_grey_with_the_profile_of_srgb_stays_as_it_is():
    grey = Image.fromarray(codec.to_uint8(noise(4, 4)))
    grey.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_allclose(codec.load(grey)[0][..., 0], np.asarray(grey) / 255, atol=1.01 / 255)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_animation_gives_its_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    with Image.open(tmp_path / f"a.{suffix}") as image:
        assert image.n_frames == 3
    rgb, _ = codec.load(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(rgb, np.broadcast_to(np.float32([1, 0, 0]), (4, 6, 3)))


def test_result_shares_no_memory_with_the_array():
    for shape in [(4, 4), (4, 4, 3), (4, 4, 4)]:
        for fill in (0.5, 1.0):
            array = np.full(shape, fill, np.float32)
            for result in codec.load(array):
                assert result is None or not np.shares_memory(result, array)


# What load refuses.


def test_missing_file(tmp_path):
    for path in (tmp_path / "none.png", tmp_path / "no" / "folder.png"):
        with pytest.raises(FileNotFoundError) as info:
            codec.load(path, name="style")
        one_line(info, "`style`", str(path), "no such file")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        codec.load(tmp_path / "file" / "below.png")


@pytest.mark.parametrize(
    "content, reason",
    [(b"", "empty"), (b"just some text, no picture at all", "not a picture"), (b"\x89PNG\r\n\x1a\nrubbish", "decode")],
)
def test_not_a_picture(tmp_path, content, reason):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError) as info:
        codec.load(path, name="style")
    one_line(info, "`style`", str(path), reason)


def test_folder_pipe_and_impossible_names(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    too_long = tmp_path / ("x" * 300)
    cases = [(tmp_path, "folder"), (tmp_path / "pipe", "regular"), (too_long, "too long"), ("a\0b", "null")]
    for path, reason in cases:
        with pytest.raises(InputError) as info:
            codec.load(path)
        one_line(info, "`content`", reason)


def test_error_stays_on_one_line_whatever_the_name(tmp_path):
    with pytest.raises(FileNotFoundError) as info:
        codec.load(tmp_path / "two\nlines.png")
    one_line(info, "two\\nlines.png")


def test_unreadable_file(tmp_path, monkeypatch):
    codec.save(tmp_path / "a.png", noise(4, 4, 3))

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "open", refuse, raising=False)
    with pytest.raises(InputError) as info:
        codec.load(tmp_path / "a.png")
    one_line(info, "`content`", "a.png", "Permission denied")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif", "tif"])
def test_truncated(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    codec.save(path, noise(40, 40, 3))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError) as info:
        codec.load(path)
    one_line(info, "`content`", str(path), "truncated")


def test_truncated_pil_image(tmp_path):
    path = tmp_path / "a.jpg"
    codec.save(path, noise(40, 40, 3))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Image.open(path) as image, pytest.raises(InputError) as info:
        codec.load(image, name="style")
    one_line(info, "`style`", "the PIL image")


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1)])
def test_too_small(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "a.png")
    for picture in (tmp_path / "a.png", Image.new("RGB", size), np.zeros((size[1], size[0], 3), np.uint8)):
        with pytest.raises(InputError) as info:
            codec.load(picture)
        one_line(info, "`content`", f"{size[0]} x {size[1]}", "2 x 2")


def _png_header(width, height):
    """A PNG that promises `width` x `height` pixels and holds none."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_too_large_is_refused_from_the_header(tmp_path, monkeypatch):
    path = tmp_path / "huge.png"
    path.write_bytes(_png_header(60000, 50000))
    limit = Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(codec, "decode", lambda *_: pytest.fail("decoded"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError) as info:
            codec.load(path)
    one_line(info, "`content`", str(path), "60000 x 50000", "400000000", "`--max_pixels`")
    assert Image.MAX_IMAGE_PIXELS == limit


def test_max_pixels_is_inclusive_and_holds_for_every_kind_of_picture(tmp_path):
    array = codec.to_uint8(noise(4, 5, 3))
    codec.save(tmp_path / "a.png", array)
    for picture in (tmp_path / "a.png", Image.fromarray(array), array):
        assert codec.load(picture, max_pixels=20)[0].shape == (4, 5, 3)
        with pytest.raises(InputError, match="`--max_pixels`"):
            codec.load(picture, max_pixels=19)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp"])
def test_the_limit_is_ours_and_not_pillows(tmp_path, monkeypatch, suffix):
    codec.save(tmp_path / f"a.{suffix}", noise(30, 30, 3))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / f"a.{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert codec.load(tmp_path / f"a.{suffix}")[0].shape == (30, 30, 3)


@pytest.mark.parametrize("suffix", ["webp", "tif"])
def test_where_pillows_limit_stays_the_error_says_so(tmp_path, monkeypatch, suffix):
    codec.save(tmp_path / f"a.{suffix}", noise(30, 30, 3))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError) as info:
        codec.load(tmp_path / f"a.{suffix}")
    one_line(info, "`content`", f"a.{suffix}", "more than Pillow decodes", "PNG or JPEG")


@pytest.mark.parametrize(
    "array, reason",
    [
        (np.full((4, 4, 3), 1.01), "1.01"),
        (np.full((4, 4, 3), -0.01, np.float32), "-0.01"),
        (np.full((4, 4), 200.0), "divide them by 255"),
        (np.where(np.arange(16).reshape(4, 4) == 3, np.nan, 0.5), "got NaN"),
        (np.where(np.arange(16).reshape(4, 4) == 3, np.inf, 0.5), "infinity"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.zeros((2, 4, 4, 3), np.uint8), "(2, 4, 4, 3)"),
        (np.zeros((5, 4, 5), np.uint8), "(5, 4, 5)"),
        (np.zeros(4, np.uint8), "(4,)"),
        (np.zeros((0, 4, 3), np.uint8), "4 x 0"),
        ([[0, 1], [1, 0]], "list"),
        (None, "got None"),
    ],
)
def test_bad_arrays(array, reason):
    with pytest.raises(InputError) as info:
        codec.load(array, name="style")
    one_line(info, "`style`", reason)


# Writing.


def test_to_uint8_rounds_halves_up_and_clips():
    values = np.array([-1, 0, 0.49 / 255, 0.5 / 255, 1.5 / 255, 2.5 / 255, 254.5 / 255, 1, 7])
    np.testing.assert_array_equal(codec.to_uint8(values), [0, 0, 0, 1, 2, 3, 255, 255, 255])
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(codec.to_uint8(every.astype(np.float32) / 255), every)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_to_uint8_refuses_non_finite(value):
    with pytest.raises(ValueError, match="finite"):
        codec.to_uint8(np.array([0.5, value], np.float32))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_save_and_load_are_inverse_with_alpha(tmp_path, suffix):
    straight = np.dstack([codec.to_uint8(noise(6, 7, 3)), codec.to_uint8(noise(6, 7, seed=1))])
    straight[0] = [[40, 80, 120, a] for a in (0, 1, 2, 127, 128, 254, 255)]
    on_white, alpha = codec.load(straight)
    codec.save(tmp_path / f"a.{suffix}", on_white, alpha=alpha)
    with Image.open(tmp_path / f"a.{suffix}") as saved:
        seen = straight[..., 3] > 0
        np.testing.assert_array_equal(np.asarray(saved)[seen], straight[seen])
        np.testing.assert_array_equal(np.asarray(saved)[..., 3], straight[..., 3])
    for found, expected in zip(codec.load(tmp_path / f"a.{suffix}"), (on_white, alpha), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_alpha_of_bytes_is_that_of_floats():
    image, alpha = codec.to_uint8(noise(6, 7, 3)), codec.to_uint8(noise(6, 7, seed=1))
    floats = {"alpha": alpha / np.float32(255)}
    assert codec.encode(image, ".png", alpha=alpha) == codec.encode(image / np.float32(255), ".png", **floats)


def test_webp_keeps_alpha(tmp_path):
    alpha = _smooth(16, 16, 1)[..., 0]
    codec.save(tmp_path / "a.webp", _smooth(16, 16), alpha=alpha)
    np.testing.assert_allclose(codec.load(tmp_path / "a.webp")[1], alpha, atol=0.01)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "bmp"])
def test_formats_without_transparency_leave_alpha_out(tmp_path, suffix):
    image = _smooth(16, 16)
    codec.save(tmp_path / f"with.{suffix}", image, alpha=np.zeros((16, 16), np.float32))
    codec.save(tmp_path / f"without.{suffix}", image)
    assert (tmp_path / f"with.{suffix}").read_bytes() == (tmp_path / f"without.{suffix}").read_bytes()


def test_jpeg_keeps_full_colour_resolution(tmp_path):
    image = np.zeros((16, 16, 3), np.float32)
    image[:, ::2] = (1, 0, 0)
    image[:, 1::2] = (0, 0, 1)
    codec.save(tmp_path / "a.jpg", image)
    with Image.open(tmp_path / "a.jpg") as saved:
        assert {component[1:3] for component in saved.layer} == {(1, 1)}
    assert np.abs(codec.load(tmp_path / "a.jpg")[0] - image).max() < 0.1  # 4:2:0 would blend the columns to purple


def test_save_checks_shapes_and_values(tmp_path):
    path = tmp_path / "a.png"
    for image, options in [
        (np.zeros((4, 4), np.float32), {}),
        (np.zeros((4, 4, 4), np.float32), {}),
        (np.zeros((4, 4, 3), np.float32), {"alpha": np.zeros((4, 5), np.float32)}),
        (np.full((4, 4, 3), np.nan, np.float32), {}),
    ]:
        with pytest.raises(ValueError):
            codec.save(path, image, **options)
    assert list(tmp_path.iterdir()) == []


def test_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"before")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(codec.os, "replace", full)
        with pytest.raises(InputError) as info:
            codec.save(path, noise(4, 4, 3), name="picture")
    one_line(info, "`picture`", str(path), "No space left on device")
    assert path.read_bytes() == b"before" and [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("suffix", ["webp", "gif"])
def test_picture_too_large_for_the_format(tmp_path, suffix):
    with pytest.raises(InputError) as info:
        codec.save(tmp_path / f"a.{suffix}", np.zeros((2, 70_000, 3), np.uint8))
    one_line(info, "`output`", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_saved_file_has_ordinary_permissions(tmp_path):
    codec.save(tmp_path / "a.png", noise(4, 4, 3))
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode
