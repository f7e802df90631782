"""Plain parameters give the photograph back."""

import dataclasses
import shutil

import numpy as np
import pytest
from skimage.metrics import structural_similarity

import metastyle
from metastyle.evaluate import metrics
from metastyle.images import codec
from metastyle.images.resize import resize
from metastyle.train import plain_parameters
from metastyle.weights import bundles
from tests.support.places import FORMAT_1

BUNDLE = FORMAT_1 / "bundle"


def picture(height, width, seed=0):
    """A blurred random picture, uint8."""
    coarse = np.random.default_rng(seed).uniform(size=(4, 4, 3))
    return codec.to_uint8(resize(coarse, (height, width)))


def test_plain_parameters_of_the_shipped_bundle_give_the_photograph_back(sample_data):
    found = plain_parameters.judge(metastyle.load().bundle, f"folder:{sample_data}/data/content/val", 128, count=10)
    assert 0.9 <= found <= 1


def test_similarity_is_that_of_scikit_image():
    a, b = (np.float32(picture(40, 50, seed=seed)) / 255 for seed in (1, 2))
    luma = [(x @ np.float32(metrics.LUMA))[None] for x in (a, b)]
    valid = structural_similarity(*(x[0].astype(np.float64) for x in luma), data_range=1.0, full=True,
                                  use_sample_covariance=False)[1][3:-3, 3:-3].mean()  # fmt: skip
    np.testing.assert_allclose(plain_parameters.similarity(*luma), valid, atol=1e-5)
    np.testing.assert_allclose(plain_parameters.similarity(luma[0], luma[0]), 1, atol=1e-6)


def test_plain_parameters_are_made_and_kept(tmp_path):
    """A few steps on synthetic photographs bring the outputs of a fresh network nearer to the photographs."""
    shutil.copytree(BUNDLE, tmp_path / "b")
    before = bundles.load_bundle(tmp_path / "b")
    near = plain_parameters.judge(dataclasses.replace(before, plain=before.meta["fast"]), "procedural", 32, count=4)
    found = plain_parameters.add_plain_parameters(tmp_path / "b", "procedural", "procedural", steps=30, size=32)
    after = bundles.load_bundle(tmp_path / "b")
    assert after.plain.keys() == before.meta["fast"].keys() and before.plain is None
    assert plain_parameters.judge(after, "procedural", 32, count=40) == pytest.approx(found) and found > near + 0.05
    assert after.slow_sha256 == before.slow_sha256
    for part, flat in before.meta.items():
        for path, x in flat.items():
            np.testing.assert_array_equal(after.meta[part][path], x)
