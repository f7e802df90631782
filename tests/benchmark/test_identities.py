"""How far two trees are apart."""

import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.benchmark import identities


def test_relative_error_is_over_all_leaves():
    a, b = {"x": jnp.array([3.0, 0.0]), "y": jnp.array(4.0)}, {"x": jnp.array([3.0, 4.0]), "y": jnp.array(0.0)}
    assert identities.relative_error(a, b) == pytest.approx(np.sqrt(32) / 5)
