"""The generator in the package: what a newcomer gets with no argument."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import metastyle
from metastyle import config
from metastyle.evaluate import evaluation, starts
from metastyle.images import codec
from metastyle.images.resize import square
from metastyle.stylize import demo
from metastyle.system import paths
from metastyle.weights import bundles, vgg_files


@pytest.fixture(scope="module")
def style():
    """The bundle in the package, adapted by one step to a packaged painting."""
    return metastyle.load().adapt(paths.demo_pictures("styles")[0], steps=1)


def test_it_is_small_and_says_what_it_is():
    folder = bundles.locate("default")
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 2 * 2**20
    assert vgg_files.SLIM.stat().st_size <= 2 * 2**20
    start = bundles.load_bundle("default")
    assert start.name == "default" and start.config.vgg == "slim"
    assert (paths.ASSETS / "MODEL_CARD.md").is_file()


def test_a_style_is_a_small_file_that_finds_its_bundle(style, tmp_path):
    style.save(tmp_path / "style.safetensors")
    assert (tmp_path / "style.safetensors").stat().st_size <= 64 * 2**10
    loaded = metastyle.load_style(tmp_path / "style.safetensors")
    assert loaded.file.bundle == "default"
    jax.tree.map(np.testing.assert_array_equal, loaded.file.fast, style.file.fast)
    photograph = square(codec.load(paths.demo_pictures("photos")[0])[0], 64)
    stylised = loaded.stylize(photograph)
    np.testing.assert_array_equal(stylised, style.stylize(photograph))
    assert np.abs(stylised / 255 - photograph).mean() > 0.05


def test_the_command_compiled_as_for_users_makes_the_same_picture(style, tmp_path, as_users_compile):
    command, file, out = Path(sys.executable).with_name("metastyle"), tmp_path / "x.safetensors", tmp_path / "x.png"
    painting, photograph = paths.demo_pictures("styles")[0], paths.demo_pictures("photos")[0]
    for line in (
        ["adapt", f"--style={painting}", "--steps=1", f"--out={file}"],
        ["stylize", f"--style_file={file}", f"--content={photograph}", "--content_size=128", f"--out={out}"],
    ):
        subprocess.run([command, *line], check=True, timeout=300)
    here = style.stylize(photograph, content_size=128)
    difference = np.abs(codec.load(out)[0] * 255 - here)
    assert difference.max() <= 3 and difference.mean() < 0.1, (difference.max(), difference.mean())


def test_it_closes_on_unseen_pairs(sample_data, tmp_path):
    """By VGG-16, on two pairs: some of the way at once, and most of the way to what it can do in five steps."""
    settings = config.Evaluation(
        contents=f"folder:{sample_data}/data/content/val", styles=f"folder:{sample_data}/data/style/val",
        pairs=2, size=128, steps=(0, 5), methods=("identity",),
    )  # fmt: skip
    summary = evaluation.run(settings, starts.load(["ours=default"]), tmp_path)["summary"]
    photograph, start, adapted = (line["J"] for line in summary)
    assert start < 0.85 * photograph and adapted < 0.65 * photograph


def test_the_demo_writes_what_it_names(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "STEPS", 1)
    files = demo.demo(tmp_path)
    assert [path.name for path in files] == [
        "the_night_cafe.safetensors", "procedural.safetensors", "before_after.png", "loss_versus_steps.png",
    ]  # fmt: skip
    assert all(path.stat().st_size > 1000 for path in files)
    assert capsys.readouterr().out.count("adapted to ") == 2
