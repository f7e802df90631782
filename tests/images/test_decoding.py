"""Which picture of a file is meant, what colours it declares, and what is refused because nobody can say."""

import io
import struct
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from metastyle.errors import InputError
from metastyle.images import codec, formats, profiles
from tests.support.layouts import linear, ramp, srgb, stored, tiff, tiff_directory
from tests.support.pictures import noise, one_line


def _refused(picture, *parts):
    with pytest.raises(InputError) as info:
        codec.load(picture, name="style")
    one_line(info, "`style`", *parts)


def _encoded(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


# TIFF: which of several pictures.


def _directory(height, width, **options):
    return tiff_directory(stored(ramp(height, width, 3), 8), 8, options.pop("photometric", 2), **options)


def _with_sub_directory(first, inner):
    """A TIFF whose first directory points to the others, which follow it, as its sub-directories."""
    tags, strips = first
    marked = tags | {330: ("I", [0])}
    data = bytearray(tiff([(marked, strips), *inner]))
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    end = start + 2 + 12 * count
    entries = [start + 2 + 12 * k for k in range(count)]
    place = next(entry for entry in entries if struct.unpack_from("<H", data, entry)[0] == 330)
    data[place + 8 : place + 12] = data[end : end + 4]  # the next directory becomes a sub-directory
    data[end : end + 4] = bytes(4)
    return bytes(data)


_THUMBNAIL = {254: ("I", [1])}


@pytest.mark.parametrize("compress", [False, True])
def test_tiff_with_its_thumbnail_first_is_read_as_the_photograph(tmp_path, compress):
    small, large = _directory(6, 8, tags=_THUMBNAIL), _directory(30, 40, compress=compress)
    expected = stored(ramp(30, 40, 3), 8) / np.float32(255)
    for data in (_with_sub_directory(small, [large]), tiff([small, large]), tiff([small, _directory(3, 4), large])):
        (tmp_path / "a.tif").write_bytes(data)
        for picture in (data, tmp_path / "a.tif"):
            np.testing.assert_allclose(codec.load(picture)[0], expected, atol=1e-6)


def test_tiff_of_several_pages_or_with_smaller_versions_gives_the_first():
    pages = tiff([_directory(20, 30), _directory(22, 30), _directory(20, 30)])
    assert codec.load(pages)[0].shape == (20, 30, 3)
    smaller = tiff([_directory(20, 30), _directory(10, 15, tags=_THUMBNAIL)])
    assert codec.load(smaller)[0].shape == (20, 30, 3)
    only = tiff([_directory(20, 30, tags=_THUMBNAIL)])
    assert codec.load(only)[0].shape == (20, 30, 3)


def test_tiff_whose_first_picture_seems_a_thumbnail_is_refused():
    _refused(tiff([_directory(6, 8), _directory(30, 40)]), "8 x 6", "40 x 30", "file of its own")


@pytest.mark.parametrize("photometric", [32803, 34892])
def test_raw_files_of_cameras_are_refused(photometric):
    tags, strips = _directory(30, 40, photometric=photometric)
    raw = _with_sub_directory(_directory(6, 8, tags=_THUMBNAIL), [(tags, strips)])
    _refused(raw, "raw file", "export")
    _refused(tiff([(tags, strips)]), "raw file")


def test_tiff_of_canon_and_big_endian_bigtiff_are_refused():
    data = bytearray(tiff([_directory(6, 8)]))
    _refused(bytes(data[:8] + b"CR\2\0" + data[12:]), "raw file")
    _refused(b"MM\0\x2b\0\x08\0\0" + bytes(60), "BigTIFF")


def test_directories_that_lead_in_a_circle_end(tmp_path):
    data = bytearray(tiff([_directory(20, 30)]))
    start = struct.unpack_from("<I", data, 4)[0]
    data[-4:] = struct.pack("<I", start)
    assert codec.load(bytes(data))[0].shape == (20, 30, 3)
    data[-4:] = struct.pack("<I", len(data) + 1000)  # a damaged chain after a sound picture
    assert codec.load(bytes(data))[0].shape == (20, 30, 3)


# TIFF: what nobody can say.


@pytest.mark.parametrize(
    "channels, photometric, tags, part",
    [
        (1, None, {}, "black or white"),
        (4, 2, {}, "fourth channel"),
        (4, 5, {332: ("H", [2])}, "inks"),
        (3, 6, {530: ("H", [2, 2])}, "YCbCr"),
        (1, 3, {320: ("H", [0, 1, 255] * 256)}, "palette"),
        (7, 2, {}, "7 channels of 8-bit unsigned integers"),
    ],
)
def test_ambiguous_tiff_is_refused(channels, photometric, tags, part):
    values = stored(np.resize(ramp(8, 9, 6), (8, 9, channels)), 8)
    _refused(tiff([tiff_directory(values, 8, photometric, tags=tags)]), part, "save it as RGB")


def test_opened_tiff_whose_planes_pillow_mixes_up_is_refused():
    data = tiff([tiff_directory(stored(ramp(8, 9, 3), 16), 16, 2, planar=True)])
    _refused(Image.open(io.BytesIO(data)), "the PIL image", "pass the file's name")
    white = tiff([tiff_directory(stored(ramp(8, 9, 1), 16), 16, 0)])
    for picture in (white, Image.open(io.BytesIO(white))):  # 0 is white
        np.testing.assert_allclose(codec.load(picture)[0][0, :, 0], 1 - np.linspace(0, 1, 9), atol=1e-4)


# JPEG.


def _without_segment(data, marker):
    """A JPEG without its segments of a kind."""
    out, place = data[:2], 2
    while data[place + 1] != 0xDA:
        end = place + 2 + struct.unpack_from(">H", data, place + 2)[0]
        out += b"" if data[place + 1] == marker else data[place:end]
        place = end
    return out + data[place:]


def test_cmyk_jpeg_that_does_not_say_what_0_is_is_refused():
    data = _encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
    np.testing.assert_allclose(codec.load(data)[0][0, 0], [1, 0, 0], atol=0.02)
    _refused(_without_segment(data, 0xEE), "CMYK", "save it as RGB")


def test_adobe_rgb_that_a_camera_declares_in_exif():
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    green = Image.new("RGB", (16, 16), (100, 180, 90))
    plain = codec.load(_encoded(green, "JPEG", quality=100))[0][0, 0]
    declared = codec.load(_encoded(green, "JPEG", quality=100, exif=exif))[0][0, 0]
    light = np.array([100, 180, 90]) / 255
    matrix = np.array([[1.39828, -0.39828, 0], [0, 1, 0], [0, -0.04294, 1.04294]])  # Adobe RGB -> sRGB, linear
    expected = srgb(matrix @ light ** (563 / 256))
    np.testing.assert_allclose(plain, light, atol=0.01)
    np.testing.assert_allclose(declared, expected, atol=0.015)
    exif.get_ifd(0x8769)[0xA005] = {1: "R98"}
    np.testing.assert_allclose(codec.load(_encoded(green, "JPEG", quality=100, exif=exif))[0][0, 0], light, atol=0.01)


# AVIF and HEIC.


def _code_points(data, primaries, transfer):
    place = data.index(b"colrnclx") + 8
    return data[:place] + struct.pack(">HH", primaries, transfer) + data[place + 4 :]


def test_code_points_of_avif():
    image = Image.new("RGB", (16, 16), (100, 180, 90))
    data = _encoded(image, "AVIF", quality=100, subsampling="4:4:4")
    plain = codec.load(data)[0][0, 0]
    np.testing.assert_allclose(plain, np.array([100, 180, 90]) / 255, atol=0.01)
    wide = codec.load(_code_points(data, 12, 13))[0][0, 0]
    matrix = np.array([[1.22494, -0.22494, 0], [-0.04206, 1.04206, 0], [-0.01964, -0.07864, 1.09828]])
    np.testing.assert_allclose(wide, srgb(matrix @ linear(plain)), atol=0.01)
    for transfer in (16, 18):
        _refused(_code_points(data, 9, transfer), "HDR", "save it as sRGB")
    _refused(_code_points(data, 77, 13), "77")


@pytest.mark.parametrize("transfer, refused", [(13, False), (16, True)])
def test_heic_is_read_where_its_package_is_installed(tmp_path, transfer, refused):
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs pillow-heif, of the extra `heif`")
    pixels = codec.to_uint8(ramp(32, 48, 3) * 0.8 + 0.1)
    if not pillow_heif.libheif_info()["HEIF"]:
        pytest.skip("this pillow-heif can't encode HEIC")
    heif = pillow_heif.from_pillow(Image.fromarray(pixels))
    heif.save(tmp_path / "a.heic", quality=95, chroma=444, color_primaries=1, transfer_characteristics=transfer)
    if refused:
        _refused(tmp_path / "a.heic", "HDR")
    else:
        np.testing.assert_allclose(codec.load(tmp_path / "a.heic")[0], pixels / 255, atol=0.03)


@pytest.mark.parametrize("brands", [b"heic\0\0\0\0mif1", b"mif1\0\0\0\0miafheic"])
def test_heic_without_its_package_says_what_to_install(monkeypatch, brands):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(40)
    _refused(data, "HEIC", 'pip install "metastyle[heif]"')


def test_other_formats_are_refused_by_name():
    picture = Image.fromarray(codec.to_uint8(noise(8, 8, 3)))
    for form in ("TGA", "JPEG2000", "ICO"):
        _refused(_encoded(picture, form), "is not a picture", ", ".join(formats.FORMATS))


# Profiles.


def test_profile_of_srgb_is_none_and_others_hold_their_space():
    assert profiles.profile(profiles.SRGB) is None
    samples = np.arange(0, 256, 5, dtype=np.uint8).reshape(4, 13, 1).repeat(3, axis=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear_rgb = profiles.profile(profiles.SRGB._replace(exponent=1.0))
        found = profiles.to_srgb(samples, linear_rgb, "style", "a picture")
    np.testing.assert_allclose(found / 255, srgb(samples / 255), atol=0.6 / 255)


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_converted_as_finely_as_their_curve_asks(channels):
    """In 8 bits, the darkest steps of a linear profile would be 13 / 255 of sRGB apart."""
    values = np.linspace(0, 1500, 16 * 16).astype(np.uint16).reshape(16, 16)
    samples = values if channels == 1 else np.repeat(values[..., None], 3, axis=-1)
    icc = profiles.profile(profiles.SRGB._replace(exponent=1.0))
    found = profiles.to_srgb(samples, icc, "style", "a picture")
    np.testing.assert_allclose(found[..., 0], srgb(values / 65535), atol=1.01 / 255)
