"""N devices = 1 device, for both ways of spreading the outer step."""

import functools

import jax
import numpy as np
import pytest
import toy

from metastyle import meta
from metastyle.errors import InputError
from metastyle.mesh import Parallel

pytestmark = pytest.mark.usefixtures("quick_compile")

SETTINGS = toy.settings(outer={"optimizer": "sgd", "lr": 1.0, "lrs_lr": 1.0, "decay": "inverse"})


@functools.cache
def single_device():
    """Metrics and meta-gradient on one device: plain SGD with rate 1 moves by exactly the gradient."""
    state = meta.initial_state(SETTINGS)
    step = functools.partial(meta.outer_step, toy.problem(), SETTINGS, False)
    after, metrics = jax.jit(step)(state, toy.tasks(8), toy.VGG)
    return jax.tree.map(np.asarray, (metrics, moved(state, after)))


def moved(before, after):
    return jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), before["meta"], after["meta"])


@pytest.mark.parametrize("mode", ["shard_map", "pmap"])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_n_devices_are_one_device(mode, count):
    metrics, gradient = single_device()
    parallel = Parallel(mode, 8, jax.devices()[:count])
    before = meta.initial_state(SETTINGS)
    step = parallel.compile(functools.partial(meta.outer_step, toy.problem(), SETTINGS, False))
    after, spread = step(parallel.replicate(before), parallel.split(toy.tasks(8)), parallel.replicate(toy.VGG))
    assert toy.relative_error(moved(before, after), gradient) < 1e-5
    for name in ("loss", "query", "support_first", "gradient_norm"):
        np.testing.assert_allclose(spread[name], metrics[name], rtol=1e-5)


def test_tasks_that_do_not_divide_are_refused_with_both_numbers():
    with pytest.raises(InputError, match=r"outer.tasks.*multiple of the 8 devices, got 12; use 16"):
        Parallel("shard_map", 12)
