"""Pictures as bytes, masks, what files tell of themselves, the files that names stand for, sheets of any shapes."""

import os
import warnings

import numpy as np
import pytest
from PIL import Image

from metastyle import images
from metastyle.errors import Adjusted, InputError

TEXTS = {"Software": "metastyle 0.1.0", "Description": "The night café, 10 steps; 夜"}
LOSSLESS = [".png", ".tif", ".tiff", ".bmp"]


def _noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def _one_line(info, *parts):
    message = str(info.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


# The bytes of a file.


@pytest.mark.parametrize("suffix", sorted(images.IMAGE_SUFFIXES))
def test_encode_gives_what_save_writes_and_load_reads_it(tmp_path, suffix):
    image, alpha = _noise(20, 30, 3), np.round(_noise(20, 30, seed=1))
    options = {"alpha": alpha, "quality": 80, "metadata": TEXTS}
    images.save(tmp_path / f"a{suffix}", image, **options)
    data = images.encode(image, suffix.upper(), **options)
    assert data == (tmp_path / f"a{suffix}").read_bytes()
    for a, b in zip(images.load(data), images.load(tmp_path / f"a{suffix}"), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_encode_without_loss(suffix):
    image = images.to_uint8(_noise(20, 30, 3))
    np.testing.assert_array_equal(images.to_uint8(images.load(images.encode(image, suffix))[0]), image)


@pytest.mark.parametrize(
    "data, reason", [(b"", "is empty"), (b"no picture", "is not a picture"), (b"\xff\xd8\xff", "cannot decode")]
)
def test_bytes_that_are_no_picture(data, reason):
    with pytest.raises(InputError) as info:
        images.load(data, name="style")
    _one_line(info, "`style`", "the file given as bytes", reason)


def test_bytes_are_refused_from_the_header_when_too_large():
    with pytest.raises(InputError) as info:
        images.load(images.encode(_noise(20, 30, 3), ".png"), max_pixels=599)
    _one_line(info, "`content`", "30 x 20", "the file given as bytes", "`--max_pixels`")


def test_encode_refuses():
    image = _noise(4, 4, 3)
    for suffix in (".txt", "", "png"):
        with pytest.raises(InputError) as info:
            images.encode(image, suffix, name="out")
        _one_line(info, "`out`", ".png", repr(suffix))
    with pytest.raises(InputError) as info:
        images.encode(np.zeros((2, 70_000, 3), np.uint8), ".webp")
    _one_line(info, "`output`", ".webp", "too large")
    for wrong, options in [(image[0], {}), (image, {"alpha": image}), (image * np.nan, {})]:
        with pytest.raises(ValueError):
            images.encode(wrong, ".png", **options)


# Quality and metadata.


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_quality(suffix):
    image = _noise(64, 64, 3)
    sizes = [len(images.encode(image, suffix, quality=quality)) for quality in (1, 50, 95, 100)]
    assert sizes == sorted(set(sizes))
    assert images.encode(image, suffix) == images.encode(image, suffix, quality=95)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".gif"])
def test_other_formats_have_no_quality(suffix):
    image = _noise(16, 16, 3)
    assert images.encode(image, suffix, quality=1) == images.encode(image, suffix)


@pytest.mark.parametrize("quality", [0, 101, -5])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_quality_out_of_range(tmp_path, suffix, quality):
    with pytest.raises(InputError) as info:
        images.save(tmp_path / f"a{suffix}", _noise(4, 4, 3), quality=quality)
    _one_line(info, "`quality`", "1 to 100", str(quality))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"])
@pytest.mark.parametrize("texts", [TEXTS, {"Software": "one\nand two"}, {"Description": "x" * 20_000}])
def test_metadata_round_trips(tmp_path, suffix, texts):
    image, path = _noise(20, 30, 3), tmp_path / f"a{suffix}"
    images.save(path, image)
    plain, _ = images.load(path)
    assert images.read_metadata(path) == {}
    images.save(path, image, metadata=texts)
    assert images.read_metadata(path) == texts
    np.testing.assert_array_equal(images.load(path)[0], plain)


@pytest.mark.parametrize("suffix", [".bmp", ".gif"])
def test_formats_that_carry_no_metadata(tmp_path, suffix):
    images.save(tmp_path / f"a{suffix}", _noise(4, 4, 3), metadata=TEXTS)
    assert images.read_metadata(tmp_path / f"a{suffix}") == {}


def test_metadata_is_where_others_look_for_it(tmp_path):
    for suffix in ("png", "jpg", "webp", "tif"):
        images.save(tmp_path / f"a.{suffix}", _noise(4, 4, 3), metadata={"Software": "metastyle", "Description": "x"})
    with Image.open(tmp_path / "a.png") as image:
        assert image.text == {"Software": "metastyle", "Description": "x"}
    for suffix in ("jpg", "webp"):
        with Image.open(tmp_path / f"a.{suffix}") as image:
            assert dict(image.getexif()) == {305: "metastyle", 270: "x"}
    with Image.open(tmp_path / "a.tif") as image:
        assert (image.tag_v2[305], image.tag_v2[270]) == ("metastyle", "x")


def test_tiff_is_compressed(tmp_path):
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (256, 256, 3))
    images.save(tmp_path / "a.tif", ramp, alpha=ramp[..., 0])
    assert (tmp_path / "a.tif").stat().st_size < ramp.size / 20
    with Image.open(tmp_path / "a.tif") as image:
        assert image.info["compression"] == "tiff_adobe_deflate"
        np.testing.assert_array_equal(np.asarray(image), np.dstack([ramp, ramp[..., 0]]))


def test_metadata_of_other_files(tmp_path):
    exif = Image.Exif()
    exif[305] = b"\xff camera"  # neither ASCII nor UTF-8
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert set(images.read_metadata(tmp_path / "a.jpg")) == {"Software"}
    with pytest.raises(FileNotFoundError, match="`picture`: no such file"):
        images.read_metadata(tmp_path / "none.png")
    (tmp_path / "b.png").write_text("text")
    with pytest.raises(InputError, match="`picture`.*not a picture"):
        images.read_metadata(tmp_path / "b.png")


def test_unknown_metadata(tmp_path):
    with pytest.raises(ValueError, match="`metadata`.*Author"):
        images.save(tmp_path / "a.png", _noise(4, 4, 3), metadata={"Author": "x"})


def test_text_too_long_for_the_format(tmp_path):
    with pytest.raises(InputError) as info:
        images.save(tmp_path / "a.jpg", _noise(4, 4, 3), metadata={"Description": "x" * 70_000})
    _one_line(info, "`output`", "a.jpg", "too long")
    assert list(tmp_path.iterdir()) == []


# Masks.


def test_mask_is_the_grey_value():
    grey = _noise(6, 7)
    for picture in (grey, np.repeat(grey[..., None], 3, axis=-1)):
        mask = images.load_mask(picture, 6, 7)
        assert mask.dtype == np.float32 and mask.shape == (6, 7)
        np.testing.assert_array_equal(mask, grey)
    colours = _noise(6, 7, 3)
    np.testing.assert_allclose(images.load_mask(colours, 6, 7), colours @ [0.299, 0.587, 0.114], atol=1e-6)


def test_what_is_transparent_counts_as_black(tmp_path):
    image, alpha = images.to_uint8(_noise(6, 7, 3)), images.to_uint8(_noise(6, 7, seed=1))
    alpha[0], alpha[1], image[1], alpha[2], image[2] = 0, 255, 255, 51, 255
    images.save(tmp_path / "a.png", image, alpha=alpha)
    mask = images.load_mask(tmp_path / "a.png", 6, 7)
    np.testing.assert_allclose(mask, image / 255 @ [0.299, 0.587, 0.114] * alpha / 255, atol=1e-6)
    assert (mask[0] == 0).all() and (mask[1] == 1).all() and mask.min() >= 0


def test_mask_of_another_size_is_resized_and_that_is_said(tmp_path):
    mask = np.zeros((20, 40), np.float32)
    mask[:, 20:] = 1
    images.save(tmp_path / "half.png", np.repeat(mask[..., None], 3, axis=-1))
    with pytest.warns(Adjusted) as record:
        resized = images.load_mask(tmp_path / "half.png", 30, 80)
    assert [str(w.message) for w in record] == [f"`mask`: '{tmp_path / 'half.png'}' is 40 x 20, resized to 80 x 30"]
    assert record[0].filename == __file__
    np.testing.assert_array_equal(resized, images.resize(mask, (30, 80)))
    with pytest.warns(Adjusted, match=r"`where`: the array of shape \(20, 40\) is 40 x 20, resized to 20 x 10"):
        images.load_mask(mask, 10, 20, name="where")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images.load_mask(mask, 20, 40)


def test_mask_errors_are_those_of_load(tmp_path):
    with pytest.raises(FileNotFoundError, match="`mask`: no such file"):
        images.load_mask(tmp_path / "none.png", 4, 4)
    with pytest.raises(InputError, match="`mask`.*at most 3 pixels"):
        images.load_mask(np.zeros((4, 4)), 4, 4, max_pixels=3)


@pytest.mark.parametrize("shape", [(40, 61), (17, 5), (2, 3)])
@pytest.mark.parametrize("radius", [0.2, 1, 3.3, 20])
def test_feather_is_a_gaussian_on_the_mirrored_mask(shape, radius):
    mask, reach = _noise(*shape), int(np.ceil(8 * radius))
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / radius))
    kernel /= kernel.sum()
    expected = np.pad(mask.astype(np.float64), reach, "symmetric")
    for axis in (0, 1):
        expected = np.apply_along_axis(np.convolve, axis, expected, kernel, "valid")
    found = images.feather(mask, radius)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_feather_stays_in_range_keeps_the_mean_and_the_input():
    mask = np.zeros((300, 200), np.float32)
    mask[100:250, 30:120] = 1
    before = mask.copy()
    blurred = images.feather(mask, 5)
    assert blurred.min() >= 0 and blurred.max() <= 1 and blurred[175, 75] == pytest.approx(1, abs=1e-6)
    assert blurred.mean() == pytest.approx(mask.mean(), abs=1e-6)
    assert 0.45 < blurred[100, 75] < 0.55
    np.testing.assert_array_equal(mask, before)
    np.testing.assert_allclose(images.feather(mask, 1e9), mask.mean(), atol=1e-5)


def test_feather_of_none_is_the_mask_itself():
    mask = _noise(4, 5)
    assert images.feather(mask, 0) is mask


@pytest.mark.parametrize("radius", [-1, float("nan"), float("inf")])
def test_feather_refuses(radius):
    with pytest.raises(InputError) as info:
        images.feather(_noise(4, 5), radius)
    _one_line(info, "`feather`", "0 px or more", str(radius))


# The files that names stand for.


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.jpg", "a.PNG", "c.txt", ".hidden.png", "deep/d.png", "deep/er/e.jpg", "empty/readme.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "spec, files",
    [
        ("b.jpg", ["b.jpg"]),
        ("c.txt", ["c.txt"]),  # what one names oneself is for `load` to judge
        (".", ["./a.PNG", "./b.jpg"]),
        ("deep/", ["deep/d.png"]),
        ("*", ["a.PNG", "b.jpg"]),
        ("*.jpg", ["b.jpg"]),
        ("**", ["a.PNG", "b.jpg", "deep/d.png", "deep/er/e.jpg"]),
        ("deep/**/*.jpg", ["deep/er/e.jpg"]),
        ("[ab].*", ["a.PNG", "b.jpg"]),
        (["b.jpg", "."], ["b.jpg", "./a.PNG"]),
        (["deep", "b.jpg", "deep/d.png", "./b.jpg", "a.*"], ["deep/d.png", "b.jpg", "a.PNG"]),
        ("-", ["-"]),
        (["-", "b.jpg", "-"], ["-", "b.jpg"]),
        ([], []),
    ],
)
def test_expand(folder, spec, files):
    assert images.expand(spec, images.IMAGE_SUFFIXES, "content") == files


def test_expand_takes_paths(folder):
    assert images.expand(folder / "b.jpg", {".jpg"}, "content") == [str(folder / "b.jpg")]
    assert images.expand([folder], {".jpg"}, "content") == [str(folder / "b.jpg")]


def test_a_name_that_exists_is_no_pattern(folder):
    for name in ("a[1].jpg", "a*.jpg", "what?.jpg", "in [2020]/x.jpg", "in 2/y.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    for name in ("a[1].jpg", "a*.jpg", "what?.jpg"):
        assert images.expand(name, {".jpg"}, "content") == [name]
    assert images.expand("in [2020]", {".jpg"}, "content") == ["in [2020]/x.jpg"]
    assert images.expand("in [2020]/*.jpg", {".jpg"}, "content") == ["in [2020]/x.jpg"]
    assert images.expand("in [23]/*.jpg", {".jpg"}, "content") == ["in 2/y.jpg"]
    assert images.expand(f"{folder}/in [2020]/*", {".jpg"}, "content") == [f"{folder}/in [2020]/x.jpg"]


def test_expand_refuses(folder):
    for spec, reason in [
        ("*.webp", "'*.webp' matches no file that ends in .jpg .png"),
        ("none/**", "matches no file"),
        ("a[", "matches no file"),
        ("empty", "the folder 'empty' has no file that ends in .jpg .png"),
        ("a\0b", "null"),
    ]:
        with pytest.raises(InputError) as info:
            images.expand(["b.jpg", spec], {".png", ".jpg"}, "content")
        _one_line(info, "`content`", reason)
    with pytest.raises(FileNotFoundError) as info:
        images.expand(["b.jpg", "none.jpg"], {".jpg"}, "photos")
    _one_line(info, "`photos`", "no such file", "'none.jpg'")


def test_expand_leaves_out_what_is_no_file(folder):
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    (folder / "dangling.jpg").symlink_to("nowhere")
    assert images.expand("*.jpg", {".jpg"}, "content") == images.expand("b.jpg", {".jpg"}, "content")


# Sheets.


def test_contact_sheet_fits_each_picture_into_the_middle_of_its_cell():
    wide, tall, square = (np.full(shape, 0.5, np.float32) for shape in ((10, 40, 3), (64, 16, 3), (7, 7, 3)))
    sheet = images.contact_sheet([[wide, tall], [square, None]], cell=32)
    assert sheet.shape == (2 * 32 + 3 * 4, 2 * 32 + 3 * 4, 3) and sheet.dtype == np.float32
    expected = np.ones_like(sheet)
    expected[4 + 12 : 4 + 20, 4:36] = 0.5
    expected[4:36, 40 + 12 : 40 + 20] = 0.5
    expected[40:72, 4:36] = 0.5
    np.testing.assert_allclose(sheet, expected, atol=1e-6)


def test_contact_sheet_resizes_with_lanczos_and_labels_as_grid():
    picture = _noise(50, 100, 3)
    cell = images.resize(picture, (32, 64))  # no higher than the highest
    labels = {"row_labels": ["row"], "column_labels": ["a", "b"]}
    sheet = images.contact_sheet([[picture, picture]], ["row"], ["a", "b"], 64)
    np.testing.assert_array_equal(sheet, images.grid([[cell, cell]], **labels))


def test_contact_sheet_of_extreme_shapes_and_of_nothing():
    strip = np.zeros((2, 3000, 3), np.float32)
    sheet = images.contact_sheet([[strip]], cell=16)
    assert (sheet == 0).all(-1).sum() == 16  # one row of pixels is left
    with pytest.raises(ValueError, match="`rows`.*none"):
        images.contact_sheet([[None]])
