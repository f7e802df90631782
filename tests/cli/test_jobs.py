"""`metastyle stylize` and `sheet` with every knob: many photographs, many styles, standard input and output."""

import dataclasses
import io
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import metastyle
from metastyle.cli import main
from metastyle.errors import InUse
from metastyle.images import codec
from metastyle.stylize import jobs, onnx_export, onnx_sessions
from metastyle.stylize.style import Knobs
from tests.support.command import adapt, pixels, stylize
from tests.support.errors import refused
from tests.support.styles import bundle_with_plain_parameters, made, picture


@pytest.fixture(scope="module")
def start():
    return bundle_with_plain_parameters()


@pytest.fixture(autouse=True)
def files(folder, start):
    """Beside a user's other files: a and b, styles of one bundle, c of another, and a folder of photographs."""
    for seed, name in enumerate("ab"):
        made(start, seed + 1).save(f"{name}.safetensors", self_contained=True)
    slow = {path: x + 1 for path, x in start.meta.slow.items()}
    other = dataclasses.replace(start, meta=dataclasses.replace(start.meta, slow=slow))
    made(other, 1).save("c.safetensors", self_contained=True)
    Path("photos").mkdir()
    for seed, name in enumerate(("one.jpg", "two.png", "three.webp")):
        Image.fromarray(picture(22, 30, seed=seed)).save(Path("photos", name), quality=95)


def with_stdin(monkeypatch, contents):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(contents)))


def listed(name="out"):
    return sorted(path.name for path in Path(name).iterdir())


ALL = [f"{photo}_stylized_{style}.png" for photo in ("one", "three", "two") for style in "ab"]


def test_every_photograph_in_every_style(run):
    run_many = stylize(content="photos", style_file="[ab].safetensors", out="out")
    with pytest.raises(SystemExit) as end:
        main.main(run_many)
    assert end.value.code == 0 and listed() == ALL
    for photo in ("one.jpg", "two.png", "three.webp"):
        for style in "ab":
            expected = metastyle.load_style(f"{style}.safetensors").stylize(f"photos/{photo}")
            np.testing.assert_array_equal(pixels(f"out/{Path(photo).stem}_stylized_{style}.png"), expected)


def many(capsys, **changes):
    """Exit status, lines of standard output, and standard error, of a stylize into the folder `out`."""
    argv = stylize(**{"content": "photos", "style_file": "a.safetensors,b.safetensors", "out": "out"} | changes)
    with pytest.raises(SystemExit) as end:
        main.main(argv)
    out, err = capsys.readouterr()
    return end.value.code, out.splitlines(), err


def test_what_is_there_is_skipped_unless_it_is_to_be_overwritten(capsys):
    Path("out").mkdir()
    Path("out", ALL[0]).write_bytes(b"mine")
    status, out, _ = many(capsys)
    assert status == 0 and listed() == ALL and Path("out", ALL[0]).read_bytes() == b"mine"
    assert out[-1] == "wrote 5 pictures into out, skipped 1 that are there already (--overwrite replaces them)"
    assert out[:-1] == [f"wrote out/{name}" for name in ALL[1:]]
    status, out, _ = many(capsys, overwrite="true")
    assert status == 0 and out[-1] == "wrote 6 pictures into out" and pixels(f"out/{ALL[0]}").shape == (22, 30, 3)


def test_a_bad_photograph_is_named_and_skipped_and_the_exit_status_says_so(capsys):
    Path("photos/bad.png").write_bytes(b"nothing")
    status, out, err = many(capsys)
    assert status == 1 and listed() == ALL and len(out) == 6
    assert "skipped photos/bad.png: `content`: 'photos/bad.png' is not a picture" in err
    last = err.splitlines()[-1]
    assert last == "error: `content`: 1 of 4 photographs could not be stylised; wrote 6 pictures into out"
    assert "Traceback" not in err


def test_what_it_made_itself_is_no_photograph(capsys):
    for style in "aab":
        status, _, err = many(capsys, out="photos", style_file=f"{style}.safetensors")
        assert status == 0
    assert listed("photos") == sorted([*ALL, "one.jpg", "two.png", "three.webp"])
    assert "note: `content`: left out 3 of 6 pictures, which are stylised ones of 'photos'" in err
    assert many(capsys, content="photos/one_stylized_a.png", style_file="a.safetensors")[0] == 0
    assert listed() == ["one_stylized_a_stylized_a.png"]  # of another folder, it is one
    status, _, err = many(capsys, content="photos/*_stylized_*", out="photos", style_file="a.safetensors")
    assert status == 1 and "`content`: expected photographs, got only pictures that this command wrote" in err


def test_a_name_that_is_too_long_is_skipped(capsys):
    name = "a" * 245 + ".png"
    shutil.copy("photos/two.png", Path("photos", name))
    status, out, err = many(capsys, style_file="a.safetensors")
    assert status == 1 and listed() == [f"{photo}_stylized_a.png" for photo in ("one", "three", "two")]
    told = f"skipped photos/{name}: `out`: cannot use 'out/{name[:-4]}_stylized_a.png': File name too long"
    assert told in err and "Traceback" not in err


def test_formats_and_quality(capsys):
    for suffix, magic in {"jpg": b"\xff\xd8", "webp": b"RIFF", "tiff": b"II", "bmp": b"BM", "png": b"\x89PNG"}.items():
        assert many(capsys, format=suffix, content="photos/one.jpg", style_file="a.safetensors")[0] == 0
        assert Path(f"out/one_stylized_a.{suffix}").read_bytes().startswith(magic)
    sizes = []
    for quality in (10, 100):
        many(capsys, format="jpg", quality=quality, overwrite="true")
        sizes.append(Path("out/one_stylized_a.jpg").stat().st_size)
    assert 2 * sizes[0] < sizes[1]


def test_standard_input_and_output(monkeypatch, capsysbinary):
    with_stdin(monkeypatch, Path("photos/one.jpg").read_bytes())
    with pytest.raises(SystemExit) as end:
        main.main(stylize(content="-", out="-", style_file="a.safetensors", format="webp"))
    out, err = capsysbinary.readouterr()
    assert (end.value.code, err) == (0, b"")
    with Image.open(io.BytesIO(out)) as written:
        assert written.format == "WEBP" and written.size == (30, 22)


def test_standard_input_in_two_styles(monkeypatch, capsys):
    with_stdin(monkeypatch, Path("photos/two.png").read_bytes())
    assert many(capsys, content="-")[0] == 0 and listed() == ["stdin_stylized_a.png", "stdin_stylized_b.png"]
    expected = metastyle.load_style("b.safetensors").stylize("photos/two.png")
    np.testing.assert_array_equal(pixels("out/stdin_stylized_b.png"), expected)


def test_standard_input_that_is_no_picture(monkeypatch, refused_line):
    with_stdin(monkeypatch, b"")
    assert refused_line(*stylize(content="-", style_file="a.safetensors")).startswith("`content`: ")


def test_strength_color_and_metadata(run):
    run(*stylize(style_file="a.safetensors", strength=0.5, color="content", content_size=30))
    style = metastyle.load_style("a.safetensors")
    expected = style.stylize("photo.png", strength=0.5, color="content", content_size=30)
    np.testing.assert_array_equal(pixels("new.png"), expected)
    told = run("info", "--picture=new.png")
    assert f"metastyle {metastyle.__version__}\n" in told
    assert f"style {style.file.sha256[:12]}, strength 0.5, color content\n" in told
    assert run("info", "--picture=photo.png") == "photo.png does not say how it was made\n"


def test_the_backend_is_the_one_that_is_asked_for(run, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnx_sessions, "_sessions", onnx_sessions._Latest())
    session, seen = onnx_export.session, []
    monkeypatch.setattr(onnx_export, "session", lambda model: seen.append(1) or session(model))
    for backend, count in (("jax", 0), ("onnx", 1)):
        run(*stylize(style_file="a.safetensors", backend=backend))
        assert len(seen) == count


def test_weights_blend(run, capsys):
    run(*stylize(style_file="a.safetensors,b.safetensors", weights="0.25,0.75"))
    a, b = (metastyle.load_style(f"{name}.safetensors") for name in "ab")
    expected = metastyle.blend([(a, 0.25), (b, 0.75)]).stylize("photo.png")
    np.testing.assert_array_equal(pixels("new.png"), expected)
    with pytest.raises(SystemExit) as end:
        main.main(stylize(style_file="a.safetensors,b.safetensors", weights="1,3", out="other.png"))
    assert end.value.code == 0
    assert capsys.readouterr().err == "note: `weights`: divided by their sum, 4, to 0.25, 0.75\n"
    np.testing.assert_array_equal(pixels("other.png"), expected)


def test_a_blend_is_a_style_file(run):
    run(
        "blend",
        "--style_file=a.safetensors,b.safetensors",
        "--weights=0.25,0.75",
        "--out=x.safetensors",
        "--self_contained",
    )
    a, b = (metastyle.load_style(f"{name}.safetensors") for name in "ab")
    expected = metastyle.blend([(a, 0.25), (b, 0.75)])
    assert metastyle.load_style("x.safetensors").file.sha256 == expected.file.sha256


def test_a_blend_whose_bundle_is_gone_is_self_contained(capsys):
    shutil.copytree("bundle", "elsewhere")
    for name in "xy":
        bundled = ["--bundle=elsewhere", f"--out={name}.safetensors", "--self_contained"]
        with pytest.raises(SystemExit):
            main.main([*adapt(steps=0, bundle=None, out=None), *bundled])
    shutil.rmtree("elsewhere")
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main.main(["blend", "--style_file=x.safetensors,y.safetensors", "--weights=0.5,0.5", "--out=mix.safetensors"])
    assert end.value.code == 0
    told = capsys.readouterr().err
    assert told.startswith("note: `self_contained`: mix.safetensors holds the bundle's parameters too, ")
    assert told.endswith("elsewhere is gone\n") and told.count("\n") == 1
    assert metastyle.load_style("mix.safetensors").stylize("photo.png").shape == (22, 30, 3)


def test_what_a_backend_needs_is_told_before_the_work(refused_line, monkeypatch):
    for name in ("onnx", "onnxruntime"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            line = stylize(style_file="a.safetensors", content="photos", out="out", backend="onnx")
            assert refused_line(*line).startswith(f"`backend` needs {name}, which is not installed")


def test_masks_make_regions(run):
    photograph = pixels("photo.png")
    left = np.zeros(photograph.shape[:2], np.uint8)
    left[:, :9] = 255
    Image.fromarray(left).save("left.png")
    Image.fromarray(255 - left).save("right.png")
    run(*stylize(style_file="a.safetensors,b.safetensors", mask="left.png,right.png", feather=0))
    for style, part in (("a", np.s_[:, :9]), ("b", np.s_[:, 9:])):
        expected = metastyle.load_style(f"{style}.safetensors").stylize("photo.png")
        np.testing.assert_array_equal(pixels("new.png")[part], expected[part])


def test_a_contact_sheet(run):
    run("sheet", "--content=photos", "--style_file=[ab].safetensors", "--out=sheet.png", "--cell=64")
    height, width, _ = pixels("sheet.png").shape
    assert 3 * 47 < height < 3 * 47 + 60 and 3 * 64 < width < 3 * 64 + 60  # photograph, a, b: 30 x 22 in 64 x 47
    run(
        "sheet",
        "--content=photo.png",
        "--style_file=a.safetensors",
        "--strength=0,0.5,1,1.5",
        "--out=s.png",
        "--cell=64",
    )
    assert 5 * 64 < pixels("s.png").shape[1] < 5 * 64 + 60


def test_a_sheet_is_no_photograph_of_itself(run, capsys):
    line = ["sheet", "--content=photos", "--style_file=a.safetensors", "--out=photos/sheet.png", "--cell=32"]
    run(*line)
    first = pixels("photos/sheet.png")
    with pytest.raises(SystemExit) as end:
        main.main(line)
    assert end.value.code == 0
    assert capsys.readouterr().err == "note: `content`: left out 'photos/sheet.png', which is the sheet itself\n"
    np.testing.assert_array_equal(pixels("photos/sheet.png"), first)


def test_a_blend_strip_goes_from_the_first_to_the_second(start):
    found = jobs.load_styles(["a.safetensors", "b.safetensors"], None)
    strip = jobs.draw_sheet(["photo.png"], found, jobs.SheetLayout(blend_steps=3, cell=32), Knobs())
    alone = jobs.draw_sheet(["photo.png"], found, jobs.SheetLayout(cell=32), Knobs())
    assert strip.shape[1] == alone.shape[1] + 36
    np.testing.assert_array_equal(strip[-16:, 36:68], alone[-16:, 36:68])  # the first style
    np.testing.assert_array_equal(strip[-16:, 108:140], alone[-16:, 72:104])  # the second one


def test_folders_are_made_and_a_file_name_in_one_is_a_file(run):
    run(*stylize(style_file="a.safetensors", out="photos/out.png"))
    assert Path("photos/out.png").is_file()


BOTH = {"style_file": "a.safetensors,b.safetensors"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strength": 2}, "`strength`: expected a number from 0 to 1.5, got 2"),
        ({"strength": "much"}, "`stylize`: flag --strength=much"),
        ({"strength": 0.5}, "`strength`: expected 1, for the bundle of this style has no plain parameters"),
        ({"style_file": "*.style"}, "`style_file`: "),
        ({"style_file": "a.safetensors", "content": "*.jpeg"}, "`content`: "),
        (BOTH, "`out`: expected a folder for 1 photographs in 2 styles, got 'new.png'"),
        ({"content": "photos"}, "`out`: expected a folder for 3 photographs in 1 styles, got 'new.png'"),
        (BOTH | {"weights": "1"}, "`weights`: expected one for each of 2 style files, got 1"),
        (BOTH | {"weights": "1,much"}, "`weights`: expected numbers such as 0.3,0.7, got 1,much"),
        (BOTH | {"weights": "1,-1"}, "`weights`: expected a number of at least 0, got -1.0"),
        (BOTH | {"weights": "1,1", "mask": "photo.png,photo.png"}, "`mask`: expected --weights (a blend) or --mask"),
        (BOTH | {"mask": "photo.png"}, "`mask`: expected one for each of 2 style files, got 1"),
        ({"style_file": "a.safetensors", "mask": "gone.png"}, "`mask`: no such file: 'gone.png'"),
        ({"style_file": "a.safetensors,photos/a.safetensors"}, "`style_file`: expected files of different names"),
        ({"color": "sepia"}, "`color`: expected one of style, content, histogram, got 'sepia'"),
        ({"format": "psd"}, "`format`: "),
        ({"quality": 0, "out": "new.jpg"}, "`quality`: expected "),
        ({"tile": 3}, "`tile`: expected "),
        ({"style_file": "a.safetensors,c.safetensors", "weights": "1,1"}, "`style_file`: expected styles adapted from"),
        ({"content": "photos/one.jpg,other/one.jpg", "out": "out"}, "`content`: photos/one.jpg and other/one.jpg in"),
        ({"out": "photo.png/out"}, "`out`: cannot make the folder 'photo.png/out'"),
    ],
)
def test_bad_line(refused_line, changes, message):
    shutil.copy("a.safetensors", "photos/a.safetensors")
    Path("other").mkdir()
    shutil.copy("photos/one.jpg", "other/one.jpg")
    assert refused_line(*stylize(**changes)).startswith(message)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--blend=3"], "`blend`: expected at least 2 steps between 2 style files, got 3 between 1"),
        (["--strength=0,x"], "`strength`: expected numbers"),
        (["--out=sheet.psd"], "`out`: expected a name that ends in"),
        (["--cell=0"], "`sheet`: flag --cell=0"),
        (["--cell=1000000"], "`sheet`: flag --cell=1000000"),
        (["--out=photo.png"], "`out`: 'photo.png' is a picture to work from, which would be lost; choose"),
        (["--content=photo*.png", "--out=photo.png"], "`content`: expected photographs, got only the sheet"),
        (["--content_size=0"], "`content_size`: expected whole px, at least 16, got 0"),
    ],
)
def test_bad_sheet(refused_line, flags, message):
    named = {flag.partition("=")[0] for flag in flags}
    line = ["--content=photo.png", "--style_file=a.safetensors", "--out=sheet.png"]
    line = ["sheet", *(flag for flag in line if flag.partition("=")[0] not in named), *flags]
    assert refused_line(*line).startswith(message)


def test_unknown_formats_are_refused_in_python():
    with pytest.raises(metastyle.InputError, match="`format`"):
        codec.suffix_of("psd")


def test_what_another_process_is_writing_ends_the_work():
    def write(photograph, look, target):
        raise InUse(f"`out`: {target} is being written by process 1")

    with refused("`out`: out/photo_stylized_a.png is being written", InUse):
        jobs.write_many(["photo.png"], ["a"], "out", jobs.Output(), write)
