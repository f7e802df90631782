"""The generator in the package, which a newcomer gets without any argument."""

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

KINDS = {"contents": "content", "styles": "style"}


@pytest.fixture(scope="module")
def style():
    """Adapts the bundle in the package by one step to a packaged painting."""
    return metastyle.load().adapt(paths.demo_pictures("styles")[0], steps=1)


def test_it_is_small_and_says_what_it_is():
    folder = bundles.locate("default")
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 2 * 2**20
    assert vgg_files.SLIM.stat().st_size <= 2 * 2**20
    start = bundles.load_bundle("default")
    assert start.name == "default" and start.config.vgg == "slim"
    assert (paths.ASSETS / "MODEL_CARD.md").is_file()


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.processes
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


@pytest.mark.slow
def test_it_closes_on_unseen_pairs(sample_data, tmp_path):
    """VGG-16 judges two pairs: the guessed start closes some of the gap, and five steps close most of it."""
    places = {name: f"folder:{sample_data}/data/{kind}/val" for name, kind in KINDS.items()}
    settings = config.Evaluation(**places, pairs=2, size=128, steps=(0, 5), methods=("identity",))
    summary = evaluation.run(settings, starts.load_starts({"ours": config.Deployment("default")}), tmp_path).summary
    photograph, start, adapted = (line.J for line in summary)
    assert start < 0.85 * photograph and adapted < 0.65 * photograph


@pytest.mark.slow
def test_the_demo_writes_what_it_names(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "STEPS", 1)
    monkeypatch.setattr(demo, "QUALITIES", ("fast",))
    row, *files = demo.run_demo(tmp_path)
    names = ["the_night_cafe.safetensors", "procedural.safetensors", "before_after.png", "loss_versus_steps.png"]
    assert files == [tmp_path / name for name in names] and sorted([row, *files]) == sorted(tmp_path.iterdir())
    out = capsys.readouterr().out
    assert out.count("adapted to ") == 2 and out.count("transfer, quality fast: ") == 2
    photograph, painting, fast = np.split(codec.load(row)[0][-256:, -768:], 3, axis=1)
    assert np.abs(fast - photograph).mean() > 0.03 and np.abs(fast - painting).mean() > 0.03
    grid, curves = (codec.load(path)[0] for path in files[2:])
    assert grid.shape[0] > 4 * 256 and grid.shape[1] > 4 * 256, "four rows and columns of pictures of 256 px"
    assert curves.std() > 0.05, "a blank page"
    photograph = codec.to_uint8(square(codec.load(paths.demo_pictures("photos")[0])[0], 64))
    night, mosaic = (metastyle.load_style(path).stylize(photograph) for path in files[:2])
    assert np.abs(night.astype(float) - mosaic).mean() > 10, "two styles, two pictures"
