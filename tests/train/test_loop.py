"""The training loop with a step of plain arithmetic: what it asks a run for, and when."""

import dataclasses
import math
import signal

import numpy as np
import pytest

from metastyle.config import Run
from metastyle.errors import Stopped
from metastyle.train import loop
from metastyle.train.checkpoint import Store
from tests.support.stopping import stop_at

TIMES = Run(steps=7, log_every=2, checkpoint_every=3, picture_every=4)


class Memory(Store):
    """Keeps what is saved in a dict."""

    keeps = True

    def __init__(self):
        self.saved = {}

    def resume(self, template):
        return max(self.saved.items(), default=(0, template))

    def save(self, step, state):
        self.saved[step] = state


def adding(seen, **changes):
    """A training whose state is the sum of its batches, which are the numbers of the steps; `seen` notes its events."""

    def compile_(key, state, batch):
        seen.append(("compile", key))
        return loop.Program(lambda state, batch: (state + batch, {"loss": 1 / (state + batch + 1)}))

    made = loop.Training(
        task=lambda step, index: {"x": np.float64(step)},
        indices=[0],
        columns=["loss"],
        shown="loss",
        prepare=lambda step, state, batch: (state, float(batch["x"][0])),
        compile=compile_,
        export=lambda state: seen.append(("export", state)),
    )
    return dataclasses.replace(made, **changes)


def test_the_state_is_saved_and_exported_in_time():
    seen, store = [], Memory()
    assert loop.run(adding(seen), 0.0, TIMES, store, quiet=True) == (0, 21.0)
    assert store.saved == {3: 3.0, 6: 15.0, 7: 21.0}
    assert seen == [("compile", None), ("export", 3.0), ("export", 15.0), ("export", 21.0)]


def test_a_run_that_was_stopped_continues_and_one_that_is_done_touches_nothing(monkeypatch):
    seen, store = [], Memory()
    stop_at(monkeypatch, 4)
    with pytest.raises(Stopped, match="^stopped after step 5 of 7; the same line continues$"):
        loop.run(adding(seen), 0.0, TIMES, store, quiet=True)
    assert store.saved == {3: 3.0, 5: 10.0}
    stop_at(monkeypatch, None)
    assert loop.run(adding(seen), 0.0, TIMES, store, quiet=True) == (5, 21.0)
    before = list(seen)
    assert loop.run(adding(seen), 0.0, TIMES, store, quiet=True) == (7, 21.0)
    assert loop.run(adding(seen), 0.0, dataclasses.replace(TIMES, steps=3), store, quiet=True) == (7, 21.0)
    assert seen == before


def test_a_run_that_keeps_no_state_leaves_signals_alone():
    handlers = []
    see = lambda state: handlers.append(signal.getsignal(signal.SIGTERM))
    loop.run(adding([], export=see), 0.0, TIMES, Store(), quiet=True)
    assert set(handlers) == {signal.getsignal(signal.SIGTERM)}
    loop.run(adding([], export=see), 0.0, TIMES, Memory(), quiet=True)
    assert handlers[-1] != handlers[0]


def test_each_program_is_compiled_when_its_first_step_comes():
    seen = []
    loop.run(adding(seen, program=lambda step: step >= 4, export=lambda state: None), 0.0, TIMES, Store(), quiet=True)
    assert seen == [("compile", False), ("compile", True)]


def test_a_metric_that_is_not_finite_ends_a_run_without_a_workdir():
    bad = lambda *_: loop.Program(lambda state, batch: (state, {"loss": math.nan}))
    with pytest.raises(FloatingPointError, match="^step 1: loss is nan$"):
        loop.run(adding([], compile=bad), 0.0, TIMES, Store(), quiet=True)


def test_pictures_are_drawn_in_time(tmp_path):
    drawn = []
    picture = lambda state: drawn.append(state) or np.zeros((8, 8, 3), np.float32)
    loop.run(adding([], picture=picture), 0.0, TIMES, Store(), tmp_path)
    assert drawn == [6.0, 21.0]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["step_0000004.png", "step_0000007.png"]
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["step", "2", "4", "6"]
