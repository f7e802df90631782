"""Toy bundles and style files, and damage to them."""

import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image
from safetensors import safe_open

from metastyle.meta import outer_loop
from metastyle.weights import bundles, style_files
from tests.support import toy
from tests.support.places import FORMAT_1

every_damage = pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:5], lambda data: data[:-10], lambda data: b"x" * len(data)]
)


def toy_bundle(seed=0, **inner):
    settings = toy.settings(inner=inner)
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: outer_loop.initial_meta(settings))
    drawn = jax.tree.map(lambda x: np.float32(rng.normal(size=x.shape)), shapes)
    return bundles.Bundle(settings, drawn, 0.003)


def toy_style(start, **changes):
    fast = {path: x + 1 for path, x in start.meta.fast.items()}
    facts = {"bundle": "", "scope": "norm", "steps": 2, "style_size": 16, "history": (0.1, 1 / 3)}
    return style_files.StyleFile(fast, start.slow_sha256, start.config.generator.arch, **facts | changes)


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


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


def picture(name):
    return np.asarray(Image.open(FORMAT_1 / name)).astype(int)


def failing_replace(monkeypatch, calls):
    """The `calls`-th move and all after it fail, as on a full disk."""
    done, replace = [], os.replace

    def fail(source, target):
        done.append(target)
        if len(done) >= calls:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
