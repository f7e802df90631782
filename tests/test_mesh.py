"""N devices = 1 device, for both ways of spreading the outer step."""

import functools

import jax
import numpy as np
import pytest
import toy

from metastyle import meta, train
from metastyle.errors import InputError
from metastyle.mesh import Parallel, traffic

SETTINGS = toy.settings(inner={"steps": 2}, outer={"optimizer": "sgd", "lr": 1.0, "lrs_lr": 1.0, "decay": "inverse"})
TASKS = toy.tasks(8, 2)


@functools.cache
def single_device():
    """Metrics and meta-gradient on one device: plain SGD with rate 1 moves by exactly the gradient."""
    state = meta.initial_state(SETTINGS)
    step = functools.partial(meta.outer_step, toy.problem(), SETTINGS, False)
    after, metrics = jax.jit(step)(state, TASKS, toy.VGG)
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
    after, spread = step(parallel.replicate(before), parallel.split(TASKS), parallel.replicate(toy.VGG))
    assert toy.relative_error(moved(before, after), gradient) < 1e-5
    for name in ("loss", "query", "support_first", "gradient_norm"):
        np.testing.assert_allclose(spread[name], metrics[name], rtol=1e-5)


def test_devices_talk_once_a_step_of_the_meta_gradient_and_the_metrics():
    parallel, state = Parallel("shard_map", 4, jax.devices()[:4]), meta.initial_state(SETTINGS)
    step = parallel.compile(functools.partial(train._step, toy.problem(), SETTINGS, False))
    batch = parallel.split((toy.tasks(4, 2), np.zeros(4, np.float32)))
    arguments = parallel.replicate(state), batch, parallel.replicate(toy.VGG)
    sent = sum(x.size for x in jax.tree.leaves(state["meta"])) + 5
    assert traffic(step.lower(*arguments).compile().as_text()) == [("all-reduce", 4 * sent)]


def test_collectives_are_found_in_every_spelling():
    text = """
  %all-reduce.1 = (f32[8,8]{1,0}, bf16[], f32[3]{0}) all-reduce(%a, %b, %c), channel_id=1
  %start = f32[2,3]{1,0:T(8,128)} all-reduce-start(%d)
  %done = f32[2,3]{1,0:T(8,128)} all-reduce-done(%start)
  %gathered = f32[16]{0} all-gather(%e), dimensions={0}
  %sum = f32[16]{0} add(%gathered, %all-reduce.1)
"""
    assert traffic(text) == [("all-reduce", 4 * 64 + 2 + 12), ("all-reduce", 24), ("all-gather", 64)]


def test_tasks_that_do_not_divide_are_refused_with_both_numbers():
    with pytest.raises(InputError, match=r"outer.tasks.*multiple of the 8 devices, got 12; use 16"):
        Parallel("shard_map", 12)
