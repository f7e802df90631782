"""Per-style training from scratch (Johnson et al. 2016), with which adaptation competes: one network for one style.

It is the outer loop without inner steps on a single style, so loss, optimiser and data pipeline are shared.
"""

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from safetensors import SafetensorError, safe_open

from metastyle import config
from metastyle.data.tasks import Task, TaskSampler
from metastyle.errors import InputError
from metastyle.meta import outer_loop
from metastyle.meta.problem import Networks, style_problem
from metastyle.nets import vgg
from metastyle.nets.params import Flat
from metastyle.system import files
from metastyle.system.tensor_file import to_bytes
from metastyle.train import loop
from metastyle.train.checkpoint import Store
from metastyle.train.multihost import STOP_FLAGS

SAVE_EVERY = 50


class Trained(NamedTuple):
    """The flat parameters after `steps` steps, and the seconds that these steps took."""

    steps: int
    params: Flat
    seconds: float


def settings(
    contents: str,
    *,
    size: int = 256,
    steps: int = 2000,
    batch: int = 4,
    arch: str = "johnson",
    lr: float = 1e-3,
    seed: int = 0,
) -> config.Config:
    """The paper's recipe: Adam at 1e-3, batches of 4 photographs of `contents` (a spec of sources.open_source)."""
    outer = {"tasks": 1, "query": batch, "objective": "mean", "lr": lr, "warmup": 0, "decay": "inverse", "clip": 0.0}
    return config.from_dict(
        {
            "run": {"steps": steps, "seed": seed},
            "data": {"content": contents, "style": "procedural", "size": size, "zoom": 1.0, "rotate": 0.0},
            "generator": {"arch": arch},
            "inner": {"steps": 0, "scope": "all"},
            "outer": outer,
        }
    )


def train(
    settings: config.Config,
    style: np.ndarray,
    params: vgg.Params,
    state_file: str | os.PathLike,
    looks: Collection[int],
    key: str = "",
) -> Iterator[Trained]:
    """Trains on one style and yields the parameters after each of `looks` steps.

    style: f32[S, S, 3] in [0, 1]. The state is written to `state_file` every 50 steps and at every look but 0. If that
    file exists already, training continues from it, and earlier looks are not repeated. key: what else, besides the
    settings, a state file must belong to.

    Raises InputError for a state file of something else, FloatingPointError when the loss is not finite, and Stopped
    when the training was asked to stop.
    """
    training = _training(settings, style, params)
    store = StateFile(Path(state_file), f"{config.identify(settings)} {key}")
    for look in sorted(looks):
        times = dataclasses.replace(settings.run, steps=look, checkpoint_every=SAVE_EVERY)
        state = Timed(0.0, outer_loop.initial_state(settings))
        start, state = loop.run(training, state, times, store, quiet=True)
        if start <= look:
            learned = state.learner.meta
            yield Trained(look, jax.tree.map(np.asarray, learned.fast | learned.slow), state.seconds)


def _training(settings: config.Config, style: np.ndarray, params: vgg.Params) -> loop.Training:
    problem, sampler = style_problem(settings.generator, settings.loss), TaskSampler(settings)
    networks = Networks(params)
    step = jax.jit(functools.partial(outer_loop.outer_step, problem, settings, True), donate_argnums=0)
    compiled: list[Callable] = []  # at most one: each look is a run of the loop, which compiles only the first time

    def task(k: int, index: int) -> Task:
        return sampler.task(k, index) | {"style": style[None]}

    def prepare(k: int, state: Timed, batch: Task) -> tuple[Timed, Task]:
        return state, {name: x for name, x in batch.items() if name != STOP_FLAGS}

    def compile_(_: Any, state: Timed, batch: Task) -> loop.Program:
        if not compiled:
            compiled.append(step.lower(state.learner, batch, networks).compile())
        return loop.Program(take)

    def take(state: Timed, batch: Task) -> tuple[Timed, loop.Metrics]:
        began = time.perf_counter()
        learner, metrics = jax.block_until_ready(compiled[0](state.learner, batch, networks))
        return Timed(state.seconds + time.perf_counter() - began, learner), metrics

    return loop.Training(
        task=task,
        indices=[0],
        columns=["loss"],
        shown="loss",
        prepare=prepare,
        compile=compile_,
        threads=settings.data.threads,
    )


class Timed(NamedTuple):
    """The state of the learner, and the seconds that its steps took."""

    seconds: float
    learner: outer_loop.MetaState


class StateFile(Store):
    """Keeps the state of a training in one file. key: what the state belongs to."""

    keeps = True

    def __init__(self, path: Path, key: str):
        self._path, self._key = path, key

    def resume(self, template: Timed) -> tuple[int, Timed]:
        if not self._path.exists():
            return 0, template
        try:
            with safe_open(self._path, "numpy") as file:
                metadata = file.metadata() or {}
                leaves = [file.get_tensor(name) for name in sorted(file.keys())]
        except SafetensorError as error:
            raise InputError(f"`state_file`: {self._path} is damaged ({error}); delete it to start again") from None
        if metadata.get("key") != self._key:
            raise InputError(
                f"`state_file`: {self._path} is of other settings or another style; delete it to start again"
            )
        learner = jax.tree.unflatten(jax.tree.structure(template.learner), leaves)
        return int(learner.step), Timed(float(metadata["seconds"]), learner)

    def save(self, step: int, state: Timed) -> None:
        leaves = {f"{i:04d}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(state.learner))}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        data = to_bytes(leaves, {"key": self._key, "seconds": repr(state.seconds)})
        files.write(self._path, data, name="state_file")
