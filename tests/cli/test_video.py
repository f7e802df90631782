"""`metastyle video`: what it writes, what it prints, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

import metastyle
from metastyle.images import clips
from tests.support import clips as made


@pytest.fixture
def clip():
    return made.write("clip.mp4", made.frames(6, 40, 56), sound=0.3)


def line(**flags):
    given = {"content": "clip.mp4", "out": "new.mp4", "backend": "jax"} | flags
    return ["video", *(f"--{name}={value}" for name, value in given.items() if value is not None)]


def test_it_writes_what_python_writes(run, clip):
    out = run(*line(style_file="style.safetensors", size=32, stability=0.5)).splitlines()
    assert out[0].startswith("6 frames of 45 x 32 px: 4 phases; about ") and out[0].endswith(" GiB of memory")
    assert out[1].startswith("wrote new.mp4: 6 frames, 1 shot, ") and len(out) == 2
    style = metastyle.load_style("style.safetensors")
    metastyle.stylize_video("clip.mp4", "python.mp4", style, size=32, stability=0.5, backend="jax")
    assert Path("new.mp4").read_bytes() == Path("python.mp4").read_bytes()


def test_a_style_is_learned_on_the_clip(run, clip):
    out = run(*line(style="painting.png", bundle="bundle", steps=2, phases=4, save_style="x.safetensors")).splitlines()
    assert out[1] == "wrote x.safetensors" and ": 2 steps of adaptation, 4 phases; " in out[0]
    frames = clips.spread(clips.describe("clip.mp4"), 6)
    expected = metastyle.load("bundle").adapt("painting.png", steps=2, support=frames, output_size=40, phases=4)
    found = metastyle.load_style("x.safetensors", "bundle")
    assert found.config.generator.phases == 4
    for path, x in expected.file.fast.items():
        np.testing.assert_array_equal(found.file.fast[path], x)
    metastyle.stylize_video("clip.mp4", "python.mp4", found, backend="jax")
    assert Path("new.mp4").read_bytes() == Path("python.mp4").read_bytes()


def test_a_preview_of_some_seconds(run, clip):
    out = run(*line(style_file="style.safetensors", start=0.04, preview_seconds=0.12, out="new.webm"))
    assert "note" not in out and len(made.times("new.webm")) == 3
    assert "`out`: the sound is encoded again, from aac to libopus, for webm takes no aac" in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "`style`: expected paintings or --style_file, got neither; pass one of them"),
        (
            {"style": "painting.png", "style_file": "style.safetensors"},
            "`style`: expected paintings or --style_file, got both; pass one of them",
        ),
        ({"style": "none.png"}, "`style`: no such file: 'none.png'"),
        ({"style": "painting.png", "content": "painting.png"}, "`content`: expected at least two frames, got 1 of "),
        ({"style_file": "style.safetensors", "content": "none.mp4"}, "`content`: no such file: 'none.mp4'"),
        ({"style_file": "style.safetensors", "out": "none/new.mp4"}, "`out`: no such folder: "),
        ({"style_file": "style.safetensors", "end": 1, "preview_seconds": 1}, "`preview_seconds`: expected no --end"),
        ({"style_file": "style.safetensors", "weights": "0=1"}, "`weights`: expected times and the weights"),
        ({"style_file": "style.safetensors", "save_style": "x.safetensors"}, "`save_style`: expected --style"),
        ({"style_file": "style.safetensors", "mask": "none.png"}, "`mask`: no such file: 'none.png'"),
    ],
    ids=str,
)
def test_mistakes(refused_line, clip, flags, message):
    given = {"bundle": "bundle", "steps": 0} | flags if "style" in flags else flags
    assert refused_line(*line(**given)).startswith(message)
