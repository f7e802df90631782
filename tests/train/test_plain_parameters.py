"""Plain parameters give the photograph back."""

import dataclasses
import shutil

import numpy as np
import pytest

import metastyle
from metastyle.train import plain_parameters
from metastyle.weights import bundles
from tests.support.places import BUNDLE


def test_plain_parameters_of_the_shipped_bundle_give_the_photograph_back(sample_data):
    found = plain_parameters.judge(metastyle.load().bundle, f"folder:{sample_data}/data/content/val", 128, count=10)
    assert 0.9 <= found <= 1


def test_plain_parameters_are_made_and_kept(tmp_path):
    """A few steps on synthetic photographs bring the outputs of a fresh network nearer to the photographs."""
    shutil.copytree(BUNDLE, tmp_path / "b")
    before = bundles.load_bundle(tmp_path / "b")
    near = plain_parameters.judge(dataclasses.replace(before, plain=before.meta.fast), "procedural", 32, count=4)
    found = plain_parameters.add_plain_parameters(tmp_path / "b", "procedural", "procedural", steps=30, size=32)
    after = bundles.load_bundle(tmp_path / "b")
    assert after.plain.keys() == before.meta.fast.keys() and before.plain is None
    assert plain_parameters.judge(after, "procedural", 32, count=40) == pytest.approx(found) and found > near + 0.05
    assert after.slow_sha256 == before.slow_sha256
    for part, flat in before.meta.parts().items():
        for path, x in flat.items():
            np.testing.assert_array_equal(after.meta.parts()[part][path], x)
