"""What `metastyle info` tells."""

import re

import numpy as np

from metastyle.cli import info
from metastyle.weights import bundles, style_files
from tests.support import toy
from tests.support.stored import toy_bundle, toy_style


def test_description_of_a_bundle(tmp_path):
    bundles.save_bundle(tmp_path, toy_bundle())
    described = info.describe_bundle(tmp_path)
    loaded = bundles.load_bundle(tmp_path)
    assert described["architecture"] == toy.ARCH
    assert described["parameters"] == str(108 + 8 + 108 + 3) == "227"
    assert described["adapts"] == "norm (8 parameters)"
    assert described["inner steps"] == "3, 1 support photographs each"
    assert described["further steps"] == "Adam, lr 0.003"
    rates = np.exp([x for flat in loaded.meta.log_lr.values() for x in flat.ravel()])
    low, high = map(float, re.fullmatch("step: (.*) to (.*)", described["learned rates"]).groups())
    np.testing.assert_allclose((low, high), (rates.min(), rates.max()), rtol=0.05)
    assert described["slow tensors"] == loaded.slow_sha256


def test_description_of_a_style(tmp_path):
    bundle = toy_bundle()
    style_files.save_style(tmp_path / "a.safetensors", toy_style(bundle))
    described = info.describe_style(tmp_path / "a.safetensors")
    assert described["steps"] == "2, loss 0.1000 to 0.3333"
    assert described["adapted"] == "norm (8 parameters)"
    assert (described["bundle"], described["self-contained"]) == ("none recorded", "no")
    style_files.save_style(tmp_path / "a.safetensors", toy_style(bundle, steps=0, history=()))
    assert info.describe_style(tmp_path / "a.safetensors")["steps"] == "0"
