"""Pictures as bytes, their quality, and the metadata in their files."""

import numpy as np
import pytest
from PIL import Image

from metastyle.errors import InputError
from metastyle.images import codec
from tests.support.pictures import noise, one_line

TEXTS = {"Software": "metastyle 0.1.0", "Description": "The night café, 10 steps; 夜"}
LOSSLESS = [".png", ".tif", ".tiff", ".bmp"]


# The bytes of a file.


@pytest.mark.parametrize("suffix", sorted(codec.IMAGE_SUFFIXES))
def test_encode_gives_what_save_writes_and_load_reads_it(tmp_path, suffix):
    image, alpha = noise(20, 30, 3), np.round(noise(20, 30, seed=1))
    options = {"alpha": alpha, "quality": 80, "metadata": TEXTS}
    codec.save(tmp_path / f"a{suffix}", image, **options)
    data = codec.encode(image, suffix.upper(), **options)
    assert data == (tmp_path / f"a{suffix}").read_bytes()
    for a, b in zip(codec.load(data), codec.load(tmp_path / f"a{suffix}"), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_encode_without_loss(suffix):
    image = codec.to_uint8(noise(20, 30, 3))
    np.testing.assert_array_equal(codec.to_uint8(codec.load(codec.encode(image, suffix))[0]), image)


@pytest.mark.parametrize(
    "data, reason", [(b"", "is empty"), (b"no picture", "is not a picture"), (b"\xff\xd8\xff", "cannot decode")]
)
def test_bytes_that_are_no_picture(data, reason):
    with pytest.raises(InputError) as info:
        codec.load(data, name="style")
    one_line(info, "`style`", "the file given as bytes", reason)


def test_bytes_are_refused_from_the_header_when_too_large():
    with pytest.raises(InputError) as info:
        codec.load(codec.encode(noise(20, 30, 3), ".png"), max_pixels=599)
    one_line(info, "`content`", "30 x 20", "the file given as bytes", "`--max_pixels`")


def test_encode_refuses():
    image = noise(4, 4, 3)
    for suffix in (".txt", "", "png"):
        with pytest.raises(InputError) as info:
            codec.encode(image, suffix, name="out")
        one_line(info, "`out`", ".png", repr(suffix))
    with pytest.raises(InputError) as info:
        codec.encode(np.zeros((2, 70_000, 3), np.uint8), ".webp")
    one_line(info, "`output`", ".webp", "too large")
    for wrong, options in [(image[0], {}), (image, {"alpha": image}), (image * np.nan, {})]:
        with pytest.raises(ValueError):
            codec.encode(wrong, ".png", **options)


# Quality and metadata.


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_quality(suffix):
    image = noise(64, 64, 3)
    sizes = [len(codec.encode(image, suffix, quality=quality)) for quality in (1, 50, 95, 100)]
    assert sizes == sorted(set(sizes))
    assert codec.encode(image, suffix) == codec.encode(image, suffix, quality=95)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".gif"])
def test_other_formats_have_no_quality(suffix):
    image = noise(16, 16, 3)
    assert codec.encode(image, suffix, quality=1) == codec.encode(image, suffix)


@pytest.mark.parametrize("quality", [0, 101, -5])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_quality_out_of_range(tmp_path, suffix, quality):
    with pytest.raises(InputError) as info:
        codec.save(tmp_path / f"a{suffix}", noise(4, 4, 3), quality=quality)
    one_line(info, "`quality`", "1 to 100", str(quality))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"])
@pytest.mark.parametrize("texts", [TEXTS, {"Software": "one\nand two"}, {"Description": "x" * 20_000}])
def test_metadata_round_trips(tmp_path, suffix, texts):
    image, path = noise(20, 30, 3), tmp_path / f"a{suffix}"
    codec.save(path, image)
    plain, _ = codec.load(path)
    assert codec.read_metadata(path) == {}
    codec.save(path, image, metadata=texts)
    assert codec.read_metadata(path) == texts
    np.testing.assert_array_equal(codec.load(path)[0], plain)


@pytest.mark.parametrize("suffix", [".bmp", ".gif"])
def test_formats_that_carry_no_metadata(tmp_path, suffix):
    codec.save(tmp_path / f"a{suffix}", noise(4, 4, 3), metadata=TEXTS)
    assert codec.read_metadata(tmp_path / f"a{suffix}") == {}


def test_metadata_is_where_others_look_for_it(tmp_path):
    for suffix in ("png", "jpg", "webp", "tif"):
        codec.save(tmp_path / f"a.{suffix}", noise(4, 4, 3), metadata={"Software": "metastyle", "Description": "x"})
    with Image.open(tmp_path / "a.png") as image:
        assert image.text == {"Software": "metastyle", "Description": "x"}
    for suffix in ("jpg", "webp"):
        with Image.open(tmp_path / f"a.{suffix}") as image:
            assert dict(image.getexif()) == {305: "metastyle", 270: "x"}
    with Image.open(tmp_path / "a.tif") as image:
        assert (image.tag_v2[305], image.tag_v2[270]) == ("metastyle", "x")


def test_tiff_is_compressed(tmp_path):
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (256, 256, 3))
    on_white, alpha = codec.load(np.dstack([ramp, ramp[..., 0]]))
    codec.save(tmp_path / "a.tif", on_white, alpha=alpha)
    assert (tmp_path / "a.tif").stat().st_size < ramp.size / 20
    with Image.open(tmp_path / "a.tif") as image:
        assert image.info["compression"] == "tiff_adobe_deflate"
        np.testing.assert_array_equal(np.asarray(image)[:, 1:], np.dstack([ramp, ramp[..., 0]])[:, 1:])


def test_metadata_of_other_files(tmp_path):
    exif = Image.Exif()
    exif[305] = b"\xff camera"  # neither ASCII nor UTF-8
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert set(codec.read_metadata(tmp_path / "a.jpg")) == {"Software"}
    with pytest.raises(FileNotFoundError, match="`picture`: no such file"):
        codec.read_metadata(tmp_path / "none.png")
    (tmp_path / "b.png").write_text("text")
    with pytest.raises(InputError, match="`picture`.*not a picture"):
        codec.read_metadata(tmp_path / "b.png")


def test_unknown_metadata(tmp_path):
    with pytest.raises(ValueError, match="`metadata`.*Author"):
        codec.save(tmp_path / "a.png", noise(4, 4, 3), metadata={"Author": "x"})


def test_text_too_long_for_the_format(tmp_path):
    with pytest.raises(InputError) as info:
        codec.save(tmp_path / "a.jpg", noise(4, 4, 3), metadata={"Description": "x" * 70_000})
    one_line(info, "`output`", "a.jpg", "too long")
    assert list(tmp_path.iterdir()) == []
