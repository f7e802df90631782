"""Compiled programs are forgotten before they become many."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from metastyle.system.programs import bounded_jit


def test_programs_are_compiled_once_and_forgotten_beyond_the_bound():
    traced = []

    def double(x):
        traced.append(x.shape)
        return 2 * x

    call = bounded_jit(double, most=3)
    for size in (1, 2, 3, 1, 2, 3):
        np.testing.assert_array_equal(call(jnp.ones(size)), 2 * np.ones(size))
    assert traced == [(1,), (2,), (3,)]
    call(jnp.ones(4))  # one too many
    call(jnp.ones(4))
    call(jnp.ones(1))
    assert traced[3:] == [(4,), (4,), (1,)]


def test_they_really_are_freed():
    maps = lambda: len(Path("/proc/self/maps").read_text().splitlines())
    call = bounded_jit(lambda x: jnp.sin(x @ x.T).sum(), most=4)
    counts = []
    for size in range(2, 42):
        jax.block_until_ready(call(np.ones((size, 3))))
        counts.append(maps())
    assert max(counts[20:]) <= max(counts[:20]) + 20


def test_it_can_be_differentiated_and_takes_the_options_of_jit():
    call = bounded_jit(lambda power, x: x**power, static_argnums=0)
    value, gradient = jax.value_and_grad(lambda x: call(3, x))(2.0)
    assert (float(value), float(gradient)) == (8.0, 12.0)
