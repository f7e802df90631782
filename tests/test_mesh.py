"""N devices = 1 device, for both ways of spreading the outer step."""

import functools
import re

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


def test_devices_talk_once_a_step_of_the_meta_gradient_and_the_metrics():
    parallel, state = Parallel("shard_map", 4, jax.devices()[:4]), meta.initial_state(SETTINGS)
    step = parallel.compile(functools.partial(meta.outer_step, toy.problem(), SETTINGS, False))
    arguments = parallel.replicate(state), parallel.split(toy.tasks(4)), parallel.replicate(toy.VGG)
    text = step.lower(*arguments).compile().as_text()
    talk = re.findall(r"= (.*) (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)\S*\(", text)
    assert [kind for _, kind in talk] == ["all-reduce"]
    shapes = re.findall(r"f32\[([\d,]*)\]", talk[0][0])
    sent = sum(np.prod([int(n) for n in shape.split(",") if n]) for shape in shapes)
    assert sent == sum(x.size for x in jax.tree.leaves(state["meta"])) + 4


def test_tasks_that_do_not_divide_are_refused_with_both_numbers():
    with pytest.raises(InputError, match=r"outer.tasks.*multiple of the 8 devices, got 12; use 16"):
        Parallel("shard_map", 12)
