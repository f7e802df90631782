"""The heads of a critic, and the spectral normalisation of their kernels."""

import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.nets import critic, spectral
from tests.support.numpy_nets import uniform

PARAMS = critic.initial_params({"relu2_2": 5, "relu3_3": 7}, 6, outputs=2)
FEATURES = {"relu2_2": uniform(3, 8, 10, 5), "relu3_3": uniform(3, 4, 5, 7), "relu4_3": uniform(3, 2, 2, 9)}


def test_a_value_for_each_place_tap_and_output():
    values = critic.apply(PARAMS, FEATURES)
    assert [x.shape for x in values] == [(3, 8, 10, 2), (3, 4, 5, 2)] and critic.taps(PARAMS) == ["relu2_2", "relu3_3"]
    assert all(np.std(x) > 0.01 for x in values)


def test_the_scale_of_features_does_not_count():
    scaled = {tap: 100 * x for tap, x in FEATURES.items()}
    for a, b in zip(critic.apply(PARAMS, FEATURES), critic.apply(PARAMS, scaled), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_kernels_come_to_have_the_largest_singular_value_1():
    vectors = spectral.initial_vectors(PARAMS, 0)
    assert vectors.keys() == {path for path in PARAMS if path.endswith("kernel")}
    for _ in range(200):
        vectors = spectral.iterate(PARAMS, vectors)
    found = spectral.normalized(PARAMS, vectors)
    for path, x in found.items():
        if path in vectors:
            values = np.linalg.svd(np.reshape(x, (-1, x.shape[-1])), compute_uv=False)
            assert values[0] == pytest.approx(1, rel=1e-3)
            assert jnp.linalg.norm(vectors[path]) == pytest.approx(1, rel=1e-5)
        else:
            np.testing.assert_array_equal(x, PARAMS[path])
