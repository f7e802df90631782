"""Style files: what was written comes back, and what is not whole is refused in one line."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors.numpy

from metastyle.cli import info
from metastyle.stylize.stylizer import load_style
from metastyle.weights import style_files
from tests.support import toy
from tests.support.errors import refused
from tests.support.places import FORMAT_1
from tests.support.stored import (
    every_damage,
    failing_replace,
    files,
    picture,
    rewrite,
    toy_bundle,
    toy_style,
)
from tests.support.trees import assert_trees_equal


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


def test_style_comes_back_exactly(tmp_path):
    style = toy_style(toy_bundle(), bundle="/some/where")
    style_files.save_style(tmp_path / "a.safetensors", style)
    loaded = style_files.load_style(tmp_path / "a.safetensors")
    assert_trees_equal(loaded.fast, style.fast)
    assert dataclasses.replace(loaded, fast=style.fast) == style
    assert set(safetensors.numpy.load_file(tmp_path / "a.safetensors")) == {f"fast/{path}" for path in style.fast}


@pytest.mark.parametrize("scope", ["norm", "all"])
def test_self_contained_style_comes_back_exactly(tmp_path, scope):
    bundle = toy_bundle(scope=scope)
    style = toy_style(bundle, slow=bundle.meta.slow, config=bundle.config)
    style_files.save_style(tmp_path / "a.safetensors", style)
    loaded = style_files.load_style(tmp_path / "a.safetensors")
    assert_trees_equal((loaded.fast, loaded.slow), (style.fast, style.slow))
    assert loaded.config == bundle.config
    assert info.describe_style(tmp_path / "a.safetensors")["self-contained"] == "yes"


def test_no_style_file(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with refused(f"`style_file`: expected a safetensors file, got {path}", FileNotFoundError):
            style_files.load_style(path)


def test_safetensors_that_hold_no_style(folder):
    with refused("`style_file`: .* is a safetensors file but no style"):
        style_files.load_style(folder / "params.safetensors")


@every_damage
def test_damaged_style_file(style_file, damage):
    style_file.write_bytes(damage(style_file.read_bytes()))
    with refused(f"`style_file`: {style_file} is no readable safetensors file .*; make it again"):
        style_files.load_style(style_file)


@pytest.mark.parametrize("version", ["0", "2", None])
def test_style_of_another_format_version(style_file, version):
    def change(metadata):
        return {"kind": metadata["kind"]} | ({"format_version": version} if version else {})

    rewrite(style_file, change_metadata=change)
    with refused(f"`style_file`: .* has format_version {version}, expected 1"):
        style_files.load_style(style_file)


@pytest.mark.parametrize("name", ["sha256", "slow_sha256", "arch", "bundle", "scope", "steps", "style_size", "history"])
def test_style_without_one_of_its_facts(style_file, name):
    rewrite(style_file, change_metadata=lambda m: {k: v for k, v in m.items() if k != name})
    with refused(f"`style_file`: {style_file} is damaged .*no '{name}'"):
        style_files.load_style(style_file)


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
    with refused(f"`style_file`: {style_file} is damaged .*{message}"):
        style_files.load_style(style_file)


def test_self_contained_style_of_another_architecture(style_file):
    settings = dataclasses.asdict(toy.settings())
    settings["generator"]["arch"] = "c3s1-5,c3s1-3"
    rewrite(style_file, change_metadata=lambda m: m | {"config": json.dumps(settings)})
    with refused("`style_file`: .* does not fit its own settings .*c3s1-5,c3s1-3"):
        style_files.load_style(style_file)


@pytest.mark.parametrize("part", ["fast", "slow"])
def test_tampered_style(style_file, part):
    rewrite(style_file, lambda t: {n: x * (1 + 1e-6 * n.startswith(part)) for n, x in t.items()})
    with refused("`style_file`: the tensors in .* are not those it was written with"):
        style_files.load_style(style_file)


def test_failed_writing_leaves_the_old_style(style_file, monkeypatch):
    before = files(style_file.parent)
    failing_replace(monkeypatch, 1)
    with refused("`out`: .*No space left on"):
        style_files.save_style(style_file, toy_style(toy_bundle(1)))
    assert files(style_file.parent) == before
