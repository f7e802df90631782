"""N devices = 1 device, for both ways of spreading the outer step."""

import functools
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from metastyle.errors import InputError
from metastyle.meta import device_sums, outer_loop
from metastyle.train import meta_training, multihost
from metastyle.train.mesh import Parallel, traffic
from tests.support import toy

SETTINGS = toy.settings(inner={"steps": 2}, outer={"optimizer": "sgd", "lr": 1.0, "rate_lr": 1.0, "decay": "inverse"})
TASKS = toy.tasks(8, 2)


@functools.cache
def single_device():
    """Metrics and meta-gradient on one device: plain SGD with rate 1 moves by exactly the gradient."""
    state = outer_loop.initial_state(SETTINGS)
    step = functools.partial(outer_loop.outer_step, toy.problem(), SETTINGS, False)
    after, metrics = jax.jit(step)(state, TASKS, toy.VGG)
    return jax.tree.map(np.asarray, (metrics, moved(state, after)))


def moved(before, after):
    return jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), before.meta, after.meta)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "count"), [("shard_map", 1), ("shard_map", 2), ("shard_map", 8), ("pmap", 2), ("pmap", 8)]
)
def test_n_devices_are_one_device(mode, count):
    metrics, gradient = single_device()
    parallel = Parallel(mode, 8, jax.devices()[:count])
    before = outer_loop.initial_state(SETTINGS)
    step = parallel.wrap(functools.partial(outer_loop.outer_step, toy.problem(), SETTINGS, False))
    after, spread = step(parallel.replicate(before), parallel.split(TASKS), parallel.replicate(toy.VGG))
    assert toy.relative_error(moved(before, after), gradient) < 1e-5
    for name in ("loss", "query", "support_first", "gradient_norm"):
        np.testing.assert_allclose(spread[name], metrics[name], rtol=1e-5)


@pytest.mark.parametrize("mode", ["shard_map", "pmap"])
def test_a_batch_without_support_is_split(mode):
    batch = {"support": np.zeros((8, 0, 1, 4, 4, 3)), "query": np.arange(8.0)}
    split = Parallel(mode, 8, jax.devices()[:4]).split(batch)
    assert split["support"].size == 0
    np.testing.assert_array_equal(np.asarray(split["query"]).ravel(), batch["query"])


@pytest.mark.slow
def test_where_loops_are_loops_the_numbers_are_the_same(monkeypatch):
    """On accelerators nothing is unrolled."""
    metrics, gradient = single_device()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    parallel, before = Parallel("shard_map", 8, jax.devices()[:2]), outer_loop.initial_state(SETTINGS)
    step = parallel.wrap(functools.partial(outer_loop.outer_step, toy.problem(), SETTINGS, False))
    arguments = parallel.replicate(before), parallel.split(TASKS), parallel.replicate(toy.VGG)
    assert "while" in step.lower(*arguments).as_text()
    after, spread = step(*arguments)
    assert toy.relative_error(moved(before, after), gradient) < 1e-5
    np.testing.assert_allclose(spread["query"], metrics["query"], rtol=1e-5)


def test_each_process_feeds_its_own_devices(monkeypatch):
    parallel = object.__new__(Parallel)
    parallel.devices = [SimpleNamespace(process_index=i // 2) for i in range(8)]
    for process in range(4):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        assert parallel.local_indices(16) == [4 * process + j for j in range(4)]


def test_devices_send_the_meta_gradient_and_the_metrics_once_each_way():
    parallel, state = Parallel("shard_map", 4, jax.devices()[:4]), outer_loop.initial_state(SETTINGS)
    step = parallel.wrap(functools.partial(meta_training._step, toy.problem(), SETTINGS, False))
    batch = parallel.split(toy.tasks(4, 2) | {multihost.STOP_FLAGS: np.zeros(4, np.float32)})
    arguments = parallel.replicate(state), batch, parallel.replicate(toy.VGG)
    sent = sum(x.size for x in jax.tree.leaves(state.meta)) + 5
    padded = 4 * (sent + -sent % 4)
    found = traffic(step.lower(*arguments).compile().as_text())
    assert sorted(found) == [("all-gather", padded), ("all-to-all", padded)]


@pytest.mark.parametrize("mode", ["shard_map", "pmap"])
def test_the_mean_over_devices_is_taken_in_halves(mode):
    """Each device adds a part of the numbers, which need not divide evenly; all get the same bits."""
    numbers = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
    parallel = Parallel(mode, 4, jax.devices()[:4])
    step = parallel.wrap(lambda state, batch, _, axis: (state, device_sums.mean_over_devices({"a": batch[0]}, axis)))
    _, found = step(np.float32(0), parallel.split(numbers), None)
    a, b, c, d = numbers
    np.testing.assert_array_equal(found["a"], ((a + b) + (c + d)) / 4)
    assert not np.array_equal(found["a"], (((a + b) + c) + d) / 4), "the order shows in these numbers"


@pytest.mark.slow
def test_the_bits_do_not_depend_on_the_number_of_devices():
    found = []
    for count in (1, 2, 8):
        parallel = Parallel("shard_map", 8, jax.devices()[:count])
        step = parallel.wrap(functools.partial(outer_loop.outer_step, toy.problem(), SETTINGS, False))
        state = parallel.replicate(outer_loop.initial_state(SETTINGS))
        after = step(state, parallel.split(TASKS), parallel.replicate(toy.VGG))
        found.append(jax.tree.map(np.asarray, after))
    for other in found[1:]:
        jax.tree.map(np.testing.assert_array_equal, other, found[0])


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
