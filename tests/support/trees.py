"""What trees of arrays are compared by."""

import jax
import numpy as np


def assert_trees_equal(a, b):
    """The same containers, optax's named tuples too, and the same shapes, dtypes and bits."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y, strict=True)
