"""The method of Gatys et al.: runs from files to a file, which are stopped and continued."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from metastyle.config import Loss
from metastyle.errors import RETRY, InputError, Stopped
from metastyle.evaluate.baselines import gatys, gatys_files
from metastyle.evaluate.baselines.gatys import Settings
from metastyle.images import codec
from metastyle.images.resize import resize_short
from metastyle.stylize import pixels
from tests.support.gatys import ADAM, PAINTING, PARAMS, PHOTOGRAPH, SIZE, every_optimizer, last, picture
from tests.support.places import ROOT


@pytest.fixture
def files(tmp_path):
    """The arguments of a small run: a photograph of 48 x 64 px, a painting, and `out`."""
    codec.save(tmp_path / "photo.png", np.repeat(np.repeat(PHOTOGRAPH, 2, 0), 2, 1))
    codec.save(tmp_path / "painting.png", PAINTING)
    (tmp_path / "results").mkdir()
    return {
        "content": tmp_path / "photo.png",
        "styles": [tmp_path / "painting.png"],
        "out": tmp_path / "results/out.png",
        "settings": Settings(iterations=6),
        "size": SIZE,
        "every": 2,
        "weights": "random",
    }


def names(files):
    return sorted(path.name for path in files["out"].parent.iterdir())


def read(path):
    return codec.load(path)[0]


def stop_after(monkeypatch, iteration):
    """SIGTERM arrives during that iteration."""
    step = pixels.step

    def interrupted(objective, settings, state):
        if state.iteration + 1 == iteration:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(objective, settings, state)

    monkeypatch.setattr(pixels, "step", interrupted)


def test_a_run_writes_its_pictures(files, capsys):
    gatys_files.stylize_file(**files)
    assert names(files) == ["out.png", "out_0002.png", "out_0004.png"]
    assert read(files["out"]).shape == PHOTOGRAPH.shape
    photograph = resize_short(read(files["content"]), SIZE)
    objective = gatys.objective(PARAMS, photograph, [PAINTING])
    begun = gatys.init(objective, photograph, files["settings"])
    expected = last(pixels.optimise(objective, files["settings"], begun))
    np.testing.assert_array_equal(codec.to_uint8(np.asarray(expected.picture)), codec.to_uint8(read(files["out"])))
    assert capsys.readouterr().out == f"wrote {files['out']}: J {expected.loss:.4f} after 6 iterations\n"


def test_outputs_keep_what_the_photograph_has_beside_its_colours(files):
    image = Image.open(files["content"]).convert("RGBA")
    alpha = np.full((48, 64), 255, np.uint8)
    alpha[:20] = 0
    image.putalpha(Image.fromarray(alpha))
    exif = Image.Exif()
    exif[315] = "Artist"
    image.save(files["content"], dpi=(240, 120), exif=exif)
    gatys_files.stylize_file(**files, keep_exif=True)
    for name in ("out.png", "out_0002.png"):
        written = files["out"].parent / name
        found = codec.load(written)[1]
        assert found.shape == PHOTOGRAPH.shape[:2] and found[:5].max() == 0 and found[-10:].min() == 1
        origin = codec.read_origin(written, exif=True)
        assert origin.dpi == pytest.approx((240, 120), abs=0.02) and origin.exif == {315: "Artist"}


def test_a_small_photograph_is_not_enlarged(files):
    gatys_files.stylize_file(**files | {"content": PHOTOGRAPH, "size": 100, "style_size": SIZE, "every": 0})
    assert read(files["out"]).shape == PHOTOGRAPH.shape
    assert names(files) == ["out.png"]


@every_optimizer
def test_stopped_and_continued_is_uninterrupted(files, settings, monkeypatch):
    files["settings"] = dataclasses.replace(settings, iterations=6, start="noise")
    gatys_files.stylize_file(**files)
    whole = {path.name: path.read_bytes() for path in files["out"].parent.iterdir()}
    for path in files["out"].parent.iterdir():
        path.unlink()

    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Stopped, match="^stopped after iteration 3 of 6; the same line continues$"):
            gatys_files.stylize_file(**files)
    assert names(files) == ["out.png.state", "out_0002.png"]
    step, done = pixels.step, []
    monkeypatch.setattr(pixels, "step", lambda *given: done.append(given[2].iteration) or step(*given))
    gatys_files.stylize_file(**files)
    assert done == [3, 4, 5]
    assert {path.name: path.read_bytes() for path in files["out"].parent.iterdir()} == whole


@pytest.fixture
def stopped(files, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Stopped):
            gatys_files.stylize_file(**files)
    return files


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"content": PHOTOGRAPH}, "content"),
        ({"styles": [picture(5)]}, "style"),
        ({"styles": [PAINTING, PAINTING]}, "style"),
        ({"size": 16, "style_size": SIZE}, "size"),
        ({"style_size": 16}, "style_size"),
        ({"settings": dataclasses.replace(ADAM, iterations=6)}, "optimizer"),
        ({"settings": Settings(iterations=6, seed=1)}, "seed"),
        ({"settings": Settings(iterations=6, loss=Loss(style=1.0))}, "style_weight"),
        ({"settings": Settings(iterations=2)}, "iterations"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_the_state_of_another_run_is_refused(stopped, change, name):
    before = names(stopped)
    with pytest.raises(InputError, match=f"`{name}`: the run that .*out.png.state continues has .*, got .*; "):
        gatys_files.stylize_file(**stopped | change)
    assert names(stopped) == before


@pytest.mark.parametrize("damage", [b"", b"{}", "half"], ids=["empty", "no state", "half"])
def test_a_damaged_state_is_refused(stopped, damage):
    path = stopped["out"].with_name("out.png.state")
    contents = path.read_bytes()
    path.write_bytes(contents[: len(contents) // 2] if damage == "half" else damage)
    with pytest.raises(InputError, match="`out`: cannot continue .*out.png.state, .*; delete it to start afresh"):
        gatys_files.stylize_file(**stopped)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"content": "nowhere.jpg"}, "`content`: no such file: 'nowhere.jpg'"),
        ({"content": np.zeros((4, 40, 3), np.uint8)}, "`content`: expected sides of at least 8 px, got 40 x 4"),
        ({"max_pixels": 100}, "`content`: expected at most 100 pixels"),
        ({"styles": []}, "`style`: expected at least one picture, got none"),
        ({"styles": ["nowhere.jpg"]}, "`style`: no such file: 'nowhere.jpg'"),
        ({"out": "out.txt"}, "`out`: expected a name that ends in "),
        ({"out": "nowhere/out.png"}, "`out`: no such folder: "),
        ({"size": 7}, "`size`: expected at least 8, got 7"),
        ({"style_size": 0}, "`style_size`: expected at least 8, got 0"),
        ({"every": -1}, "`every`: expected at least 0, got -1"),
        (
            {"weights": "nowhere.safetensors"},
            "`vgg`: expected slim, half, vgg16, random or a safetensors file, got 'nowhere.safetensors'",
        ),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_bad_input_is_one_line_before_anything_is_written(files, wrong, line):
    with pytest.raises((InputError, FileNotFoundError), match=f"^{re.escape(line)}") as caught:
        gatys_files.stylize_file(**files | wrong)
    assert "\n" not in str(caught.value)
    assert names(files) == []


# The command line


def start(files, *changes):
    line = [
        sys.executable,
        "-m",
        "experiments.gatys",
        f"--content={files['content']}",
        f"--style={files['styles'][0]}",
        f"--out={files['out']}",
        f"--size={SIZE}",
        "--every=10",
        "--vgg=random",
        *changes,
    ]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.slow
def test_the_command_line_is_stopped_continued_and_completed(files):
    process = start(files, "--iterations=1000000")
    while process.poll() is None and "out.png.state" not in names(files):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    status, out, err = end(process)
    assert status == RETRY, err
    done = int(re.search(r"^stopped after iteration (\d+) of 1000000; the same line continues$", err, re.M)[1])
    assert "J " in err and not files["out"].exists()

    status, out, err = end(start(files, f"--iterations={done + 1}"))
    assert status == 0, err
    assert re.fullmatch(rf"wrote .*out.png: J 0\.\d{{4}} after {done + 1} iterations\n", out)
    assert read(files["out"]).shape == PHOTOGRAPH.shape and "out.png.state" not in names(files)


@pytest.mark.slow
def test_a_mistake_on_the_command_line_is_one_line(files):
    mistakes = {
        "--style_weight=-1": "error: flag --style_weight=-1: ",
        "--content=nowhere.jpg": "error: `content`: no such file: 'nowhere.jpg'",
    }
    running = {line: start(files, flag) for flag, line in mistakes.items()}
    for line, process in running.items():
        status, out, err = end(process)
        assert (status, out) == (1, "") and err.startswith(line) and err.count("\n") == 1, err
    assert names(files) == []
