"""What a picture that is made from another keeps of it beside its pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from metastyle.images import codec
from metastyle.images.origin import NO_ORIGIN, Origin
from tests.support.pictures import noise

_SIX = sorted({".jpg", ".png", ".webp", ".tif", ".bmp", ".avif"})


def _photograph(suffix, size=(30, 20), **options):
    stream = io.BytesIO()
    form = {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:].upper())
    Image.fromarray(codec.to_uint8(noise(size[1], size[0], 3))).save(stream, form, **options)
    return stream.getvalue()


def _exif(orientation=1):
    exif = Image.Exif()
    exif.update({271: "Maker", 274: orientation, 315: "Artist", 33432: "Owner", 282: 240.0, 283: 120.0, 296: 2})
    inner = {36867: "2024:05:06 07:08:09", 37500: b"note", 40961: 0xFFFF, 40962: 30}
    for place, tags in ((0x8769, inner), (0x8825, {1: "N", 2: (48.0, 8.0, 30.0)})):
        exif.get_ifd(place).update(tags)
        exif[place] = tags
    return exif


@pytest.mark.parametrize("suffix", _SIX)
@pytest.mark.parametrize("out", sorted({".jpg", ".png", ".webp", ".tif", ".bmp"}))
def test_resolution_is_kept_in_every_format(tmp_path, suffix, out):
    in_exif = {"exif": _exif()} if suffix in (".webp", ".avif") else {"dpi": (240, 120)}
    origin = codec.read_origin(_photograph(suffix, **in_exif))
    assert origin.dpi == pytest.approx((240, 120), abs=0.02) and not origin.exif
    codec.save(tmp_path / f"a{out}", noise(8, 9, 3), origin=origin)
    assert codec.read_origin(tmp_path / f"a{out}").dpi == pytest.approx((240, 120), abs=0.02)


def test_resolution_follows_the_picture_when_it_is_turned():
    data = _photograph(".jpg", dpi=(240, 120), exif=_exif(orientation=6))
    assert codec.load(data)[0].shape == (30, 20, 3)
    assert codec.read_origin(data).dpi == (120, 240)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".gif"])
def test_picture_without_a_resolution_or_with_a_mad_one_has_none(suffix):
    assert codec.read_origin(_photograph(suffix)) == NO_ORIGIN
    exif = _exif()
    exif.update({282: 0.0, 283: 1e9})
    assert codec.read_origin(_photograph(".webp", exif=exif)).dpi is None
    assert codec.read_origin(noise(4, 4, 3)) == NO_ORIGIN


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("out", [".jpg", ".png", ".webp", ".tif"])
def test_exif_is_kept_if_asked_without_what_is_no_longer_true(tmp_path, suffix, out):
    origin = codec.read_origin(_photograph(suffix, exif=_exif(orientation=6)), exif=True)
    texts = {"Software": "metastyle", "Description": "style ü"}
    codec.save(tmp_path / f"a{out}", noise(8, 9, 3), origin=origin, metadata=texts)
    assert codec.read_metadata(tmp_path / f"a{out}") == texts
    assert codec.load(tmp_path / f"a{out}")[0].shape == (8, 9, 3)
    with Image.open(tmp_path / f"a{out}") as image:
        found = image.getexif()
        assert [found.get(tag) for tag in (271, 315, 33432)] == ["Maker", "Artist", "Owner"]
        assert found.get(274, 1) == 1
        assert dict(found.get_ifd(0x8769)) == {36867: "2024:05:06 07:08:09"}
        assert dict(found.get_ifd(0x8825)) == {1: "N", 2: (48.0, 8.0, 30.0)}


def test_damaged_exif_is_not_kept():
    image = Image.new("RGB", (4, 3))
    image.info["exif"] = b"Exif\0\0not a directory"
    assert codec.read_origin(image, exif=True) == NO_ORIGIN


def test_same_origin_gives_the_same_bytes():
    origin = Origin((300, 300), codec.read_origin(_photograph(".jpg", exif=_exif()), exif=True).exif)
    for suffix in (".jpg", ".png", ".webp", ".tif"):
        first, second = (codec.encode(noise(8, 9, 3), suffix, origin=origin) for _ in range(2))
        assert first == second
        np.testing.assert_array_equal(codec.load(first)[0].shape, (8, 9, 3))
