"""Bundles: what was written comes back, and what is not whole is refused in one line."""

import json
import re

import jax
import numpy as np
import pytest

from metastyle.stylize.stylizer import Stylizer
from metastyle.system.tensor_file import sha256
from metastyle.weights import bundles
from tests.support.errors import refused
from tests.support.places import FORMAT_1
from tests.support.stored import (
    change_settings,
    every_damage,
    failing_replace,
    files,
    picture,
    rewrite,
    toy_bundle,
)
from tests.support.trees import assert_trees_equal


def test_format_1_bundle_is_read_for_ever():
    bundle = bundles.load_bundle(FORMAT_1 / "bundle")
    assert bundle.config.generator.arch == "s4,c3s1-4,R4x1,p4-3,skip"
    assert (bundle.config.inner.steps, bundle.config.inner.support, bundle.adam_lr) == (2, 2, 0.01)
    assert bundle.slow_sha256 == "28e33f64f3e2a524f1bc740e7b5a3bceda79334c75a7b3f4b3e679a80509c6f4"
    start = Stylizer(bundle).adapt(FORMAT_1 / "photograph.png", steps=0)
    output = start.stylize(FORMAT_1 / "photograph.png")
    assert np.abs(output - picture("start.png")).max() <= 1


@pytest.mark.parametrize(
    "inner", [{}, {"scope": "all"}, {"rate_kind": "parameter"}, {"steps": 0}, {"scope": "out,norm1"}]
)
def test_bundle_comes_back_exactly(tmp_path, inner):
    bundle = toy_bundle(**inner)
    bundles.save_bundle(tmp_path / "new" / "bundle", bundle)
    loaded = bundles.load_bundle(tmp_path / "new" / "bundle")
    assert_trees_equal(loaded.meta, bundle.meta)
    assert (loaded.config, loaded.adam_lr, loaded.slow_sha256) == (bundle.config, bundle.adam_lr, bundle.slow_sha256)
    assert sorted(files(tmp_path / "new" / "bundle")) == ["config.json", "params.safetensors"]


def test_bundle_knows_its_absolute_path(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert bundles.load_bundle("bundle").path == folder.resolve()


def test_half_precision_bundle_is_close_and_its_hashes_are_of_what_is_stored(tmp_path):
    bundle = toy_bundle()
    bundles.save_bundle(tmp_path, bundle, dtype="float16")
    loaded = bundles.load_bundle(tmp_path)
    for got, expected in zip(*map(jax.tree.leaves, (loaded.meta, bundle.meta)), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=2**-11, atol=1e-6)
    assert loaded.slow_sha256 == json.loads((tmp_path / "config.json").read_text())["slow_sha256"] != bundle.slow_sha256
    bundles.save_bundle(tmp_path, loaded)
    assert_trees_equal(bundles.load_bundle(tmp_path).meta, loaded.meta)


def test_hash_is_of_names_shapes_and_float32_values():
    x = np.arange(6, dtype=np.float32)
    digest = sha256({"a": x, "b": x})
    assert digest == sha256({"b": x.astype(np.float16), "a": x.astype(np.float64)})
    for other in ({"a": x}, {"a": x, "c": x}, {"a": x, "b": x.reshape(2, 3)}, {"a": x, "b": x + 1}):
        assert sha256(other) != digest


@pytest.mark.parametrize("name", ["config.json", "params.safetensors"])
def test_bundle_without_one_of_its_files(folder, name):
    (folder / name).unlink()
    with refused(f"`bundle`: .*{name}", FileNotFoundError):
        bundles.load_bundle(folder)


def test_no_bundle_at_all(tmp_path, style_file):
    for path in (tmp_path / "none", style_file):
        with refused(f"`bundle`: expected a folder with .* got {path}", FileNotFoundError):
            bundles.load_bundle(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "Expecting value"),
        (b'{"format_version": 1, "config"', "Expecting"),
        (b"\xff\xfe", "can't decode byte"),
        (b"[1]", "list indices"),
        (b"{}", "no 'format_version'"),
        (b'{"format_version": 1}', "no 'config'"),
        (b'{"format_version": 1, "adam_lr": "fast", "config": {}}', "could not convert"),
        (b'{"format_version": 1, "adam_lr": 0.1, "config": 3}', "expected a section of settings"),
    ],
)
def test_damaged_config(folder, text, message):
    (folder / "config.json").write_bytes(text)
    with refused(f"`bundle`: {folder}/config.json is damaged .*{message}.*; copy or make it"):
        bundles.load_bundle(folder)


@pytest.mark.parametrize("version", [0, 2, "2", None])
def test_bundle_of_another_format_version(folder, version):
    (folder / "config.json").write_text(json.dumps({"format_version": version}))
    with refused(f"`bundle`: {folder} has format_version {version}, expected 1; use the"):
        bundles.load_bundle(folder)


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("inner", {"stepps": 3}, r"config.json .*`inner.stepps`: no such setting; expected one of steps"),
        ("inner", {"steps": "3"}, r"`inner.steps`: expected int, got '3'"),
        ("inner", {"steps": -1}, r"`inner.steps`: expected at least 0, got -1"),
        ("generator", {"arch": "c3s1-4;c3s1-3"}, r"`generator.arch`: expected"),
        ("inner", {"scope": "block7"}, r"`inner.scope`: expected .* got \"block7\""),
    ],
)
def test_bundle_with_bad_settings(folder, section, changes, message):
    change_settings(folder, section, **changes)
    with refused(f"`bundle`: {folder}.*{message}"):
        bundles.load_bundle(folder)


@pytest.mark.parametrize(
    ("section", "changes", "expected", "got"),
    [
        ("generator", {"arch": "c3s1-5,c3s1-3"}, "fast/norm1/bias of shape (5,)", "fast/norm1/bias of shape (4,)"),
        ("generator", {"arch": "c3s1-4,R4x1,c3s1-3"}, "fast/block1/norm1/bias of shape (4,)", "no fast/block1"),
        ("inner", {"scope": "all"}, "fast/conv1/kernel of shape (3, 3, 3, 4)", "no fast/conv1/kernel"),
        ("inner", {"steps": 4}, "log_lr/norm1/bias of shape (4, 1)", "log_lr/norm1/bias of shape (3, 1)"),
        ("inner", {"rate_kind": "parameter"}, "log_lr/norm1/bias of shape (1, 4)", "log_lr/norm1/bias of shape (3, 1)"),
    ],
)
def test_bundle_of_another_architecture_or_inner_loop(folder, section, changes, expected, got):
    change_settings(folder, section, **changes)
    message = re.escape(f": expected {expected}, got {got}")
    with refused(f"`bundle`: {folder} does not fit its own settings .*{message}"):
        bundles.load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t | {"slow/more": np.zeros(2)}, r"expected no slow/more, got slow/more of shape \(2,\)"),
        (lambda t: t | {"stray": np.zeros(2)}, r"expected no stray, got stray of shape \(2,\)"),
        (lambda t: {n: x for n, x in t.items() if n != "log_lr/norm1/bias"}, "got no log_lr/norm1/bias"),
    ],
)
def test_bundle_with_tensors_that_do_not_belong(folder, change, message):
    rewrite(folder / "params.safetensors", change)
    with refused(f"`bundle`: .*{message}"):
        bundles.load_bundle(folder)


@pytest.mark.parametrize("part", ["fast", "slow", "log_lr"])
def test_tensors_that_were_changed(folder, part):
    rewrite(folder / "params.safetensors", lambda t: {n: x + 1e-6 * n.startswith(part) for n, x in t.items()})
    with refused(f"`bundle`: the tensors in {folder} are not those that its config.json"):
        bundles.load_bundle(folder)


@every_damage
def test_damaged_safetensors(folder, damage):
    path = folder / "params.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with refused(f"`bundle`: {path} is no readable safetensors file .*; make it again"):
        bundles.load_bundle(folder)


def test_failed_writing_leaves_the_old_bundle(folder, monkeypatch):
    before = files(folder)
    failing_replace(monkeypatch, 1)
    with pytest.raises(OSError, match="No space left"):
        bundles.save_bundle(folder, toy_bundle(seed=1))
    assert files(folder) == before
    bundles.load_bundle(folder)


def test_config_comes_last(tmp_path, monkeypatch):
    failing_replace(monkeypatch, 2)
    with pytest.raises(OSError, match="No space left"):
        bundles.save_bundle(tmp_path, toy_bundle())
    assert sorted(files(tmp_path)) == ["params.safetensors"]
    with refused("`bundle`: .* has no config.json", FileNotFoundError):
        bundles.load_bundle(tmp_path)


def test_two_files_of_two_bundles_do_not_load(folder, monkeypatch):
    failing_replace(monkeypatch, 2)
    with pytest.raises(OSError, match="No space left"):
        bundles.save_bundle(folder, toy_bundle(seed=1))
    monkeypatch.undo()
    assert sorted(files(folder)) == ["config.json", "params.safetensors"]
    with refused("are not those that its config.json was written with; copy both files again"):
        bundles.load_bundle(folder)
