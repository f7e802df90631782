"""What of a task is computed once, before its first step."""

import jax
import numpy as np
import pytest

from metastyle.meta import problem


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_a_function_of_each_is_stacked_with_a_loop_and_without(monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    xs = np.arange(12.0).reshape(3, 2, 2)
    np.testing.assert_array_equal(problem._map(lambda x: {"a": 2 * x}, xs)["a"], 2 * xs)
