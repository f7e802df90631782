"""Bundles and style files: what was written comes back, and what is not whole is refused in one line."""

import dataclasses
import json
import os
import re
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image
from safetensors import safe_open

from metastyle.errors import InputError
from metastyle.meta import outer_loop
from metastyle.nets import vgg
from metastyle.stylize.stylizer import Stylizer, load_style
from metastyle.train import mesh
from metastyle.weights import bundles, vgg_files
from tests.support import toy
from tests.support.places import FORMAT_1


@pytest.fixture(autouse=True)
def no_compile_cache(monkeypatch):
    monkeypatch.setattr(mesh, "enable_compile_cache", lambda: None)


def toy_bundle(seed=0, **inner):
    settings = toy.settings(inner=inner)
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: outer_loop.initial_meta(settings))
    drawn = jax.tree.map(lambda x: np.float32(rng.normal(size=x.shape)), shapes)
    return bundles.Bundle(settings, drawn, 0.003)


def toy_style(start, **changes):
    fast = {path: x + 1 for path, x in start.meta["fast"].items()}
    facts = {"bundle": "", "scope": "norm", "steps": 2, "style_size": 16, "history": (0.1, 1 / 3)}
    return bundles.StyleFile(fast, start.slow_sha256, start.config.generator.arch, **facts | changes)


@pytest.fixture
def folder(tmp_path):
    bundles.save_bundle(tmp_path / "bundle", toy_bundle())
    return tmp_path / "bundle"


@pytest.fixture
def style_file(tmp_path):
    bundle = toy_bundle()
    bundles.save_style(tmp_path / "a.safetensors", toy_style(bundle, slow=bundle.meta["slow"], config=bundle.config))
    return tmp_path / "a.safetensors"


def assert_trees_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def refused(read, path, message, kind=InputError):
    with pytest.raises(kind, match=message) as error:
        read(path)
    assert "\n" not in str(error.value)


def rewrite(path, change_tensors=lambda tensors: tensors, change_metadata=lambda metadata: metadata):
    """Changes a safetensors file as another program could, hashes of its metadata left alone."""
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    tensors = safetensors.numpy.load_file(path)
    path.write_bytes(safetensors.numpy.save(change_tensors(tensors), change_metadata(metadata)))


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_settings(folder, section, **changes):
    settings = json.loads((folder / "config.json").read_text())["config"]
    change_config(folder, config=settings | {section: settings[section] | changes})


# Format 1


def picture(name):
    return np.asarray(Image.open(FORMAT_1 / name)).astype(int)


def test_format_1_bundle_is_read_for_ever():
    bundle = bundles.load_bundle(FORMAT_1 / "bundle")
    assert bundle.config.generator.arch == "s4,c3s1-4,R4x1,p4-3,skip"
    assert (bundle.config.inner.steps, bundle.config.inner.support, bundle.adam_lr) == (2, 2, 0.01)
    assert bundle.slow_sha256 == "28e33f64f3e2a524f1bc740e7b5a3bceda79334c75a7b3f4b3e679a80509c6f4"
    start = Stylizer(bundle).adapt(FORMAT_1 / "photograph.png", steps=0)
    output = start.stylize(FORMAT_1 / "photograph.png")
    assert np.abs(output - picture("start.png")).max() <= 1


@pytest.mark.parametrize(
    ("name", "bundle"), [("style.safetensors", FORMAT_1 / "bundle"), ("self_contained.safetensors", None)]
)
def test_format_1_style_files_are_read_for_ever(name, bundle):
    style = load_style(FORMAT_1 / name, bundle)
    assert (style.file.steps, style.file.style_size, style.file.scope) == (3, 16, "norm")
    np.testing.assert_allclose(style.history, [11.5036, 8.1694, 4.0905], atol=1e-4)
    output = style.stylize(FORMAT_1 / "photograph.png")
    assert np.abs(output - picture("style.png")).max() <= 1
    assert np.abs(picture("style.png") - picture("start.png")).max() > 20


# Bundles


@pytest.mark.parametrize("inner", [{}, {"scope": "all"}, {"lrs": "parameter"}, {"steps": 0}, {"scope": "out,norm1"}])
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
    digest = bundles.sha256({"a": x, "b": x})
    assert digest == bundles.sha256({"b": x.astype(np.float16), "a": x.astype(np.float64)})
    for other in ({"a": x}, {"a": x, "c": x}, {"a": x, "b": x.reshape(2, 3)}, {"a": x, "b": x + 1}):
        assert bundles.sha256(other) != digest


@pytest.mark.parametrize("name", ["config.json", "params.safetensors"])
def test_bundle_without_one_of_its_files(folder, name):
    (folder / name).unlink()
    refused(bundles.load_bundle, folder, f"`bundle`: .*{name}", FileNotFoundError)


def test_no_bundle_at_all(tmp_path, style_file):
    for path in (tmp_path / "none", style_file):
        refused(bundles.load_bundle, path, f"`bundle`: expected a folder with .* got {path}", FileNotFoundError)


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
    refused(bundles.load_bundle, folder, f"`bundle`: {folder}/config.json is damaged .*{message}.*; copy or make it")


@pytest.mark.parametrize("version", [0, 2, "2", None])
def test_bundle_of_another_format_version(folder, version):
    (folder / "config.json").write_text(json.dumps({"format_version": version}))
    refused(bundles.load_bundle, folder, f"`bundle`: {folder} has format_version {version}, expected 1; use the")


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
    refused(bundles.load_bundle, folder, f"`bundle`: {folder}.*{message}")


@pytest.mark.parametrize(
    ("section", "changes", "expected", "got"),
    [
        ("generator", {"arch": "c3s1-5,c3s1-3"}, "fast/norm1/bias of shape (5,)", "fast/norm1/bias of shape (4,)"),
        ("generator", {"arch": "c3s1-4,R4x1,c3s1-3"}, "fast/block1/norm1/bias of shape (4,)", "no fast/block1"),
        ("inner", {"scope": "all"}, "fast/conv1/kernel of shape (3, 3, 3, 4)", "no fast/conv1/kernel"),
        ("inner", {"steps": 4}, "log_lr/norm1/bias of shape (4, 1)", "log_lr/norm1/bias of shape (3, 1)"),
        ("inner", {"lrs": "parameter"}, "log_lr/norm1/bias of shape (1, 4)", "log_lr/norm1/bias of shape (3, 1)"),
    ],
)
def test_bundle_of_another_architecture_or_inner_loop(folder, section, changes, expected, got):
    change_settings(folder, section, **changes)
    message = re.escape(f": expected {expected}, got {got}")
    refused(bundles.load_bundle, folder, f"`bundle`: {folder} does not fit its own settings .*{message}")


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
    refused(bundles.load_bundle, folder, f"`bundle`: .*{message}")


@pytest.mark.parametrize("part", ["fast", "slow", "log_lr"])
def test_tensors_that_were_changed(folder, part):
    rewrite(folder / "params.safetensors", lambda t: {n: x + 1e-6 * n.startswith(part) for n, x in t.items()})
    refused(bundles.load_bundle, folder, f"`bundle`: the tensors in {folder} are not those that its config.json")


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:5], lambda data: data[:-10], lambda data: b"x" * len(data)]
)
def test_damaged_safetensors(folder, style_file, damage):
    for path, read, argument in (
        (folder / "params.safetensors", lambda path: bundles.load_bundle(path.parent), "bundle"),
        (style_file, bundles.load_style, "style_file"),
    ):
        path.write_bytes(damage(path.read_bytes()))
        refused(read, path, f"`{argument}`: {path} is no readable safetensors file .*; make it again")


def failing_replace(monkeypatch, calls):
    """The `calls`-th move and all after it fail, as on a full disk."""
    done, replace = [], os.replace

    def fail(source, target):
        done.append(target)
        if len(done) >= calls:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)


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
    refused(bundles.load_bundle, tmp_path, "`bundle`: .* has no config.json", FileNotFoundError)


def test_two_files_of_two_bundles_do_not_load(folder, monkeypatch):
    failing_replace(monkeypatch, 2)
    with pytest.raises(OSError, match="No space left"):
        bundles.save_bundle(folder, toy_bundle(seed=1))
    monkeypatch.undo()
    assert sorted(files(folder)) == ["config.json", "params.safetensors"]
    refused(bundles.load_bundle, folder, "are not those that its config.json was written with; copy both files again")


# Style files


def test_style_comes_back_exactly(tmp_path):
    style = toy_style(toy_bundle(), bundle="/some/where")
    bundles.save_style(tmp_path / "a.safetensors", style)
    loaded = bundles.load_style(tmp_path / "a.safetensors")
    assert_trees_equal(loaded.fast, style.fast)
    assert dataclasses.replace(loaded, fast=style.fast) == style
    assert set(safetensors.numpy.load_file(tmp_path / "a.safetensors")) == {f"fast/{path}" for path in style.fast}


@pytest.mark.parametrize("scope", ["norm", "all"])
def test_self_contained_style_comes_back_exactly(tmp_path, scope):
    bundle = toy_bundle(scope=scope)
    style = toy_style(bundle, slow=bundle.meta["slow"], config=bundle.config)
    bundles.save_style(tmp_path / "a.safetensors", style)
    loaded = bundles.load_style(tmp_path / "a.safetensors")
    assert_trees_equal((loaded.fast, loaded.slow), (style.fast, style.slow))
    assert loaded.config == bundle.config
    assert bundles.describe_style(tmp_path / "a.safetensors")["self-contained"] == "yes"


def test_no_style_file(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        refused(bundles.load_style, path, f"`style_file`: expected a safetensors file, got {path}", FileNotFoundError)


def test_safetensors_that_hold_no_style(folder):
    refused(bundles.load_style, folder / "params.safetensors", "`style_file`: .* is a safetensors file but no style")


@pytest.mark.parametrize("version", ["0", "2", None])
def test_style_of_another_format_version(style_file, version):
    def change(metadata):
        return {"kind": metadata["kind"]} | ({"format_version": version} if version else {})

    rewrite(style_file, change_metadata=change)
    refused(bundles.load_style, style_file, f"`style_file`: .* has format_version {version}, expected 1")


@pytest.mark.parametrize("name", ["sha256", "slow_sha256", "arch", "bundle", "scope", "steps", "style_size", "history"])
def test_style_without_one_of_its_facts(style_file, name):
    rewrite(style_file, change_metadata=lambda m: {k: v for k, v in m.items() if k != name})
    refused(bundles.load_style, style_file, f"`style_file`: {style_file} is damaged .*no '{name}'")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("steps", "", "Expecting value"),
        ("steps", '"10"', 'steps is "10"'),
        ("bundle", "null", "bundle is null"),
        ("history", '"0.1"', 'history is "0.1"'),
        ("history", '["a"]', "could not convert string to float"),
        ("config", "{", "Expecting property name"),
        ("config", '{"inner": {"stepps": 3}}', "`inner.stepps`: no such setting"),
    ],
)
def test_style_with_a_damaged_fact(style_file, name, text, message):
    rewrite(style_file, change_metadata=lambda m: m | {name: text})
    refused(bundles.load_style, style_file, f"`style_file`: {style_file} is damaged .*{message}")


def test_self_contained_style_of_another_architecture(style_file):
    settings = dataclasses.asdict(toy.settings())
    settings["generator"]["arch"] = "c3s1-5,c3s1-3"
    rewrite(style_file, change_metadata=lambda m: m | {"config": json.dumps(settings)})
    refused(bundles.load_style, style_file, "`style_file`: .* does not fit its own settings .*c3s1-5,c3s1-3")


@pytest.mark.parametrize("part", ["fast", "slow"])
def test_tampered_style(style_file, part):
    rewrite(style_file, lambda t: {n: x * (1 + 1e-6 * n.startswith(part)) for n, x in t.items()})
    refused(bundles.load_style, style_file, "`style_file`: the tensors in .* are not those it was written with")


def test_failed_writing_leaves_the_old_style(style_file, monkeypatch):
    before = files(style_file.parent)
    failing_replace(monkeypatch, 1)
    refused(lambda path: bundles.save_style(path, toy_style(toy_bundle(1))), style_file, "`out`: .*No space left on")
    assert files(style_file.parent) == before


# What `metastyle info` prints


def test_description_of_a_bundle(folder):
    described = bundles.describe_bundle(folder)
    loaded = bundles.load_bundle(folder)
    assert described["architecture"] == toy.ARCH
    assert described["parameters"] == str(108 + 8 + 108 + 3) == "227"
    assert described["adapts"] == "norm (8 parameters)"
    assert described["inner steps"] == "3, 1 support photographs each"
    assert described["further steps"] == "Adam, lr 0.003"
    rates = np.exp([x for flat in loaded.meta["log_lr"].values() for x in flat.ravel()])
    low, high = map(float, re.fullmatch("step: (.*) to (.*)", described["learned rates"]).groups())
    np.testing.assert_allclose((low, high), (rates.min(), rates.max()), rtol=0.05)
    assert described["slow tensors"] == loaded.slow_sha256


def test_description_of_a_style(tmp_path):
    bundle = toy_bundle()
    bundles.save_style(tmp_path / "a.safetensors", toy_style(bundle))
    described = bundles.describe_style(tmp_path / "a.safetensors")
    assert described["steps"] == "2, loss 0.1000 to 0.3333"
    assert described["adapted"] == "norm (8 parameters)"
    assert (described["bundle"], described["self-contained"]) == ("none recorded", "no")
    bundles.save_style(tmp_path / "a.safetensors", toy_style(bundle, steps=0, history=()))
    assert bundles.describe_style(tmp_path / "a.safetensors")["steps"] == "0"


def test_a_bundle_is_shipped_in_half_precision_with_the_loss_network_it_learns_with(tmp_path, monkeypatch):
    assets, network = tmp_path / "assets", tmp_path / "network.safetensors"
    assets.mkdir()
    params = vgg.random_params(seed=3)
    vgg_files.save(network, vgg_files.tensors(params), vgg.TORCHVISION)
    monkeypatch.setattr(bundles, "ASSETS", assets)
    monkeypatch.setattr(vgg_files, "SLIM", assets / "slim_vgg.safetensors")
    trained = toy_bundle()
    halved = dataclasses.replace(trained.config.generator, dtype="bfloat16")
    settings = dataclasses.replace(trained.config, vgg=str(network), generator=halved)
    trained = dataclasses.replace(trained, config=settings)
    bundles.save_bundle(tmp_path / "bundle", trained)
    by_path = dataclasses.replace(trained, config=dataclasses.replace(trained.config, vgg=str(vgg_files.SLIM)))
    bundles.save_bundle(tmp_path / "by_path", by_path)

    for source in (tmp_path / "bundle", tmp_path / "by_path", assets / "bundle"):  # the last two: as it is already
        files = bundles.ship(source)
        shipped = bundles.load_bundle("default")
        assert (shipped.config.vgg, shipped.config.generator.dtype) == ("slim", "float32")
        halves = jax.tree.map(lambda x: np.float32(np.float16(x)), trained.meta)
        assert_trees_equal(shipped.meta, halves)
        assert_trees_equal(vgg_files.load("slim"), params)
        assert files == [assets / "bundle/config.json", assets / "bundle/params.safetensors", vgg_files.SLIM]


def test_shipping_what_does_not_read_its_loss_network_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "ASSETS", tmp_path / "assets")
    settings = toy.settings(hidden=2)
    start = jax.tree.map(np.asarray, outer_loop.initial_meta(settings))
    bundles.save_bundle(tmp_path / "bundle", bundles.Bundle(settings, start, 0.003))
    with pytest.raises(InputError, match="`vgg`: expected the loss network"):
        bundles.ship(tmp_path / "bundle")
    assert not (tmp_path / "assets").exists()
