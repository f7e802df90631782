"""The training loop that all runs share: it resumes, takes steps, logs, saves, writes pictures and stops.

A run describes itself as a `Training`, and a `checkpoint.Store` keeps its state. Tasks are a function of (seed, step),
so a run continues bit for bit from its state and the number of steps that are done.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from metastyle.config import PEER_TIMEOUT, Run
from metastyle.data.prefetch import Batch, Prefetcher
from metastyle.errors import Stopped
from metastyle.system.signals import StopSignal
from metastyle.train.checkpoint import Store
from metastyle.train.multihost import STOP_FLAGS, Lockstep
from metastyle.train.run_log import Row, RunLog

State = Any  # a pytree, whatever the run trains
Metrics = dict[str, Any]  # scalars by name
Step = Callable[[State, Any], tuple[State, Metrics]]


class Program(NamedTuple):
    """A compiled step, a line for the log, and numbers about it for speed.json."""

    step: Step
    line: str = ""
    facts: Mapping[str, float] = {}


def compiled(step: Callable, state: State, batch: Any, *constants: Any) -> tuple[Callable, str]:
    """Compiles `step(state, batch, *constants)` for constants that never change; a state can't be used after a step.

    Returns the compiled function of (state, batch), and a line for the log.
    """
    began = time.monotonic()
    program = jax.jit(step, donate_argnums=0).lower(state, batch, *constants).compile()
    line = f"compiled the step in {time.monotonic() - began:.0f} s"
    return lambda state, batch: program(state, batch, *constants), line


def _unchanged(step: int, state: State, batch: Batch) -> tuple[State, Any]:
    return state, batch


@dataclasses.dataclass(frozen=True)
class Training:
    """What a run trains, and what it shows on the way.

    task: (step, index) -> the task `index` of the step, as numpy arrays. Threads compute tasks ahead of their use.
    indices: the indices of the tasks that this process computes for each step.
    columns: the names of the metrics that are logged.
    shown: the name of the metric beside the progress bar.
    compile: (key, state, batch) -> the program of that key. Its step maps (state, batch) to the new state and the
      metrics, and may donate the state. When several processes train, the metrics contain the mean of the batch's
      STOP_FLAGS over all of them.
    program: step -> the key of the program that takes this step. A new key lets the next program be compiled.
    prepare: (step, state, stacked tasks) -> the state and the batch for the program.
    describe: the step that the run starts at -> a text for the first line of the log.
    export: writes the files that belong to a checkpoint.
    picture: state -> the grid f32[H, W, 3] that is written every `picture_every` steps.
    threads: how many tasks are computed at the same time.
    """

    task: Callable[[int, int], Batch]
    indices: Sequence[int]
    columns: Sequence[str]
    shown: str
    compile: Callable[[Any, State, Any], Program]
    program: Callable[[int], Any] = lambda step: None
    prepare: Callable[[int, State, Batch], tuple[State, Any]] = _unchanged
    describe: Callable[[int], str] = lambda start: ""
    export: Callable[[State], None] = lambda state: None
    picture: Callable[[State], np.ndarray] | None = None
    threads: int = 2


class Ended(NamedTuple):
    """How a run ended: the step that it started at, and its last state."""

    start: int
    state: State


class _Due(NamedTuple):
    """What has to be done after a step."""

    log: bool
    save: bool
    picture: bool


def run(
    training: Training,
    state: State,
    times: Run,
    store: Store,
    workdir: Path | None = None,
    *,
    timeout: float = PEER_TIMEOUT,
    quiet: bool = False,
) -> Ended:
    """Trains until `times.steps` steps are done, from the state in `store`, or from `state` if it has none.

    If there is a `workdir`, process 0 writes metrics.csv, speed.json, TensorBoard events/ and pictures/ there. Several
    processes (multihost.join) take each step together, and each ends when another does not answer for `timeout`
    seconds. quiet: prints nothing.

    Raises Stopped, after saving, when SIGTERM or SIGINT has reached any of the processes, and FloatingPointError when a
    metric is not finite. Where `store` keeps nothing, signals are left alone: they end the process at once.
    """
    main, done, stopping = jax.process_index() == 0, 0, False
    with StopSignal(listen=store.keeps) as stop:
        # Resume policy: 1. the newest state that can be read; 2. else the start. Rows of metrics.csv beyond that state
        # are dropped, to be written again. 3. A run whose steps are all done touches nothing.
        start, state = store.resume(state)
        if start and start >= times.steps:
            return Ended(start, state)
        with (
            RunLog(workdir, start, times.steps, training.columns, training.shown, main and not quiet) as log,
            Prefetcher(training.task, training.indices, start, times.steps, threads=training.threads) as batches,
            Lockstep(stop, timeout) as lockstep,
        ):
            programs = _Programs(training, start, log, lockstep)
            before: Metrics = {}
            pending: list[Row] = []
            for k, batch in batches:
                batch = batch | {STOP_FLAGS: lockstep.stop_flags(len(training.indices))}
                state, batch = training.prepare(k, state, batch)
                state, metrics = programs.of(k, state, batch)(state, batch)
                jax.block_until_ready(before)  # at most two steps are under way at any time
                stopping = lockstep.should_stop(before.get(STOP_FLAGS))
                done, before = k + 1, metrics
                pending.append((done, metrics))
                due = _due(done, times, stopping)
                if due.log:
                    store.check()
                    log.write(jax.device_get(pending), times.log_every, store.latest(), batches.waited)
                    pending = []
                if due.save:
                    store.save(done, state)
                    training.export(state)
                if due.picture and main and training.picture:
                    log.write_picture(training.picture(state), done)
                if stopping:
                    break
        store.wait()
    if stopping:
        raise Stopped(f"stopped after step {done} of {times.steps}; the same line continues" if main else "")
    return Ended(start, state)


def _due(done: int, times: Run, stopping: bool) -> _Due:
    save = stopping or done == times.steps or done % times.checkpoint_every == 0
    picture = done == times.steps or done % times.picture_every == 0
    return _Due(save or picture or done % times.log_every == 0, save, picture)


class _Programs:
    """Compiles each program when its first step comes, and reports this in the log."""

    def __init__(self, training: Training, start: int, log: RunLog, lockstep: Lockstep):
        self._training, self._log, self._lockstep = training, log, lockstep
        self._key: Any = None
        self._step: Step | None = None
        self._first_line = training.describe(start)

    def of(self, k: int, state: State, batch: Any) -> Step:
        """The compiled function for step `k`; all its arguments have the shapes of `state` and `batch`."""
        key = self._training.program(k)
        if self._step is None or key != self._key:
            with self._lockstep.busy():
                self._step, line, facts = self._training.compile(key, state, batch)
            self._key = key
            if line:
                self._log.print_line("; ".join(filter(None, (self._first_line, line))))
            self._log.note(facts)
            self._first_line = ""
        return self._step
