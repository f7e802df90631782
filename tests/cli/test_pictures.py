"""`metastyle stylize` and `transfer`: which files of a folder are read, and what an output keeps of its photograph."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metastyle.cli import main
from metastyle.errors import Adjusted, InputError
from metastyle.images import codec, picture_names
from tests.support.command import PHOTOGRAPH, pixels, stylize, transfer

NAMES = {"a.jpg": "JPEG", "b.JFIF": "JPEG", "c.jpe": "JPEG", "d.avif": "AVIF", "e.png": "PNG", "f.ppm": "PPM",
         "g.jif": "JPEG", "h.tiff": "TIFF"}  # fmt: skip


@pytest.fixture
def photos(folder, monkeypatch):
    """A folder of pictures under all kinds of names, and of other files; HEIC can't be read."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (folder / "photos" / "more").mkdir(parents=True)
    with Image.open(PHOTOGRAPH) as image:
        for name, form in NAMES.items():
            image.convert("RGB").save(folder / "photos" / name, form)
    for name in ("x.heic", "y.cr2", "notes.txt", ".hidden.txt", "church.safetensors"):
        (folder / "photos" / name).write_bytes(b"x")
    return folder / "photos"


def test_a_folder_is_read_under_all_names_and_the_rest_is_named_once(photos, capsys):
    with pytest.raises(SystemExit) as end:
        main.main(stylize(content="photos", out="out"))
    assert end.value.code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == [f"{name[0]}_stylized_style.png" for name in NAMES]
    (note,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert note.startswith("note: `content`: left out ")
    for part in ("'photos/x.heic' (HEIC needs pillow-heif", "pip install", "'photos/y.cr2' (raw files of a camera",
                 "'photos/notes.txt' (no JPEG, ", "'photos/more/' (", "`photos/**`"):  # fmt: skip
        assert part in note
    assert "hidden" not in note and "safetensors" not in note


@pytest.mark.parametrize("names", [["photos/*"], ["photos/**"], ["photos"], ["photos/", "photos/a.jpg"]])
def test_patterns_are_read_as_folders_are(photos, names):
    with pytest.warns(Adjusted, match=r"x\.heic") as told:
        found = picture_names.expand(names, "content")
    assert sorted(Path(path).name for path in found) == sorted(NAMES)
    assert len(told) == 1


def test_a_folder_without_pictures_says_what_is_in_it(photos):
    for name in NAMES:
        (photos / name).unlink()
    with pytest.raises(InputError, match="has no file that ends in .*; left out .*notes.txt.*; .*x.heic"):
        picture_names.expand(["photos"], "content")


def test_heic_that_is_named_says_what_to_install(photos, refused_line):
    (photos / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    line = refused_line(*stylize(content="photos/x.heic"))
    assert line.startswith("`content`: 'photos/x.heic' is HEIC, which needs pillow-heif")


def test_heic_is_read_from_a_folder_where_its_package_is_installed(folder, run):
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs pillow-heif, of the extra `heif`")
    (folder / "photos").mkdir()
    with Image.open(PHOTOGRAPH) as image:
        pillow_heif.from_pillow(image.convert("RGB")).save("photos/x.heic")
    run_line = stylize(content="photos", out="out")
    with pytest.raises(SystemExit) as end:
        main.main(run_line)
    assert end.value.code == 0 and pixels("out/x_stylized_style.png").shape == (22, 30, 3)


def _glass():
    """A photograph that is transparent at the top, at 240 x 120 pixels per inch, by an artist."""
    image = Image.open(PHOTOGRAPH).convert("RGBA")
    alpha = np.full((22, 30), 255, np.uint8)
    alpha[:8] = 0
    image.putalpha(Image.fromarray(alpha))
    exif = Image.Exif()
    exif.update({315: "Artist", 274: 1})
    image.save("glass.png", dpi=(240, 120), exif=exif)
    return alpha


@pytest.mark.parametrize(
    "line",
    [
        stylize(content="glass.png"),
        transfer(names=("glass.png", "painting.png")),
        stylize(content="glass.png", out="out"),
    ],
    ids=["stylize", "transfer", "folder"],
)
@pytest.mark.parametrize("exif", [False, True])
def test_an_output_keeps_alpha_resolution_and_if_asked_exif(folder, line, exif):
    alpha = _glass()
    with pytest.raises(SystemExit) as end:
        main.main([*line, *(["--keep_exif"] if exif else [])])
    assert end.value.code == 0
    (out,) = [path for path in (Path("new.png"), Path("out/glass_stylized_style.png")) if path.exists()]
    np.testing.assert_array_equal(pixels(out)[..., 3], alpha)
    origin = codec.read_origin(out, exif=True)
    assert origin.dpi == pytest.approx((240, 120), abs=0.02)
    assert origin.exif.get(315) == ("Artist" if exif else None)
    assert codec.read_metadata(out)["Software"].startswith("metastyle ")
