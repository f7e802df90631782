"""How stages are timed. No test depends on time: clocks are simulated."""

import numpy as np
import pytest

from metastyle.benchmark import timing


class Clock:
    """A clock that stands still but for the calls it lends: each takes the next of its `seconds`, the last for ever."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def __call__(self):
        return self.now

    def call(self, name, *seconds):
        def call():
            self.log.append(name)
            done = self.log.count(name)
            self.now += seconds[min(done, len(seconds)) - 1]

        return call


def test_calls_are_warmed_up_take_turns_and_give_their_medians():
    clock = Clock()
    calls = {"a": clock.call("a", 100.0, 1.0, 9.0, 2.0), "b": clock.call("b", 50.0, 3.0)}
    seconds = timing.time_in_turns(calls, budget=6.0, clock=clock)
    assert clock.log == ["a", "b"] * 4  # 1 to warm up, then 2 x 6 s / (1 s + 3 s)
    assert seconds == {"a": 2.0, "b": 3.0}


@pytest.mark.parametrize(("each", "runs"), [(100.0, 3), (0.5, 8), (0.0, 50)])
def test_a_stage_is_run_as_often_as_the_budget_allows(each, runs):
    clock = Clock()
    timing.time_in_turns({"a": clock.call("a", each)}, budget=4.0, clock=clock)
    assert len(clock.log) == 1 + runs


def test_a_compiled_stage_knows_its_operations_and_its_memory():
    matrix = np.ones((64, 32), np.float32)
    product = lambda x: x @ x.T
    stage = timing.compile_stage(product, matrix)
    assert stage.flops == timing.count_flops(product, matrix) == 2 * 64 * 32 * 64
    assert stage.memory >= 0
    np.testing.assert_array_equal(stage.call(), matrix @ matrix.T)


def test_numbers_are_named_by_what_is_known_of_the_stage(monkeypatch):
    monkeypatch.setattr(timing, "time_in_turns", lambda calls, budget: dict.fromkeys(calls, 0.5))
    monkeypatch.setattr(timing, "peak_flops", lambda kind, dtype: ("bf16", 4e9))
    ours, theirs = timing.Stage(lambda: None, 2.0, 1e9, 8), timing.Stage(lambda: None)
    assert timing.time_stages({"ours": ours, "theirs": theirs}) == {
        "ours, ms": 500.0,
        "ours, GFLOP/s": 2.0,
        "ours, share of the bf16 peak": 0.5,
        "ours, trace and compile, s": 2.0,
        "theirs, ms": 500.0,
    }


@pytest.mark.parametrize(
    ("kind", "dtype", "expected"),
    [
        ("NVIDIA H200", "float32", ("tf32", 494e12)),
        ("NVIDIA H200", "bfloat16", ("bf16", 989e12)),
        ("NVIDIA A100-SXM4-40GB", "float32", ("tf32", 156e12)),
        ("TPU v5 lite", "float32", ("bf16", 197e12)),
        ("NVIDIA H100 PCIe", "float32", None),
        ("cpu", "float32", None),
    ],
)
def test_peak_flops(kind, dtype, expected):
    assert timing.peak_flops(kind, dtype) == expected
