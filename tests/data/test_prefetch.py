"""Batches that threads compute ahead."""

import threading
from concurrent.futures import Future

import numpy as np
import pytest

from metastyle.data import prefetch
from metastyle.errors import InputError
from tests.support.toy_tasks import sampler, settings
from tests.support.trees import assert_trees_equal


def prefetched(task=None, *, threads=2, start=3, stop=9, depth=2):
    return prefetch.Prefetcher(task or sampler(settings()).task, [0, 2], start, stop, threads=threads, depth=depth)


@pytest.mark.parametrize("threads, depth", [(1, 1), (2, 2), (4, 3)])
def test_prefetch_gives_the_batches_in_order(threads, depth):
    one = sampler(settings())
    with prefetched(one.task, threads=threads, depth=depth) as batches:
        seen = list(batches)
    assert [step for step, _ in seen] == list(range(3, 9))
    for step, batch in seen:
        assert_trees_equal(batch, one.batch(step, [0, 2]))


class AtOnce:
    """A pool whose work is done when it is handed in."""

    def __init__(self, *_, **__):
        pass

    def submit(self, task, *arguments):
        done = Future()
        done.set_result(task(*arguments))
        return done

    def shutdown(self, **_):
        pass


def test_prefetch_computes_depth_batches_ahead_and_no_more(monkeypatch):
    monkeypatch.setattr(prefetch, "ThreadPoolExecutor", AtOnce)
    started = []
    batches = prefetched(lambda step, index: started.append(step) or {"style": np.zeros(1)}, depth=2)
    assert started == [3, 3, 4, 4]
    next(batches)
    assert started == [3, 3, 4, 4, 5, 5]
    batches.close()
    assert list(batches) == []


def test_prefetch_raises_at_the_step_of_the_error():
    def task(step, index):
        if step == 5:
            raise InputError("bad picture")
        return {"style": np.full(1, step)}

    with prefetched(task) as batches:
        assert [next(batches)[0], next(batches)[0]] == [3, 4]
        with pytest.raises(InputError, match="bad picture"):
            next(batches)
        assert list(batches) == []


def test_prefetch_measures_only_what_the_consumer_waits(monkeypatch):
    clock, asked = [0.0], threading.Event()

    def now():
        asked.set()
        return clock[0]

    def task(step, index):
        assert asked.wait(10)
        if (step, index) == (3, 2):
            clock[0] += 5
        return {"style": np.zeros(1)}

    monkeypatch.setattr(prefetch.time, "perf_counter", now)
    with prefetched(task) as batches:
        assert batches.waited == 0
        for _ in batches:
            assert batches.waited == 5
            clock[0] += 100


def test_prefetch_ends_its_threads():
    def running():
        return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]

    with prefetched() as batches:
        next(batches)
        assert running()
    assert not running()
