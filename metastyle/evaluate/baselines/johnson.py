"""Per-style training from scratch (Johnson et al. 2016): one network for one style, what adaptation competes with.

It is the outer loop with no inner step on a single style, so it shares the loss, the optimiser and the data pipeline.
"""

import functools
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from metastyle import config
from metastyle.data.prefetch import Prefetcher
from metastyle.data.tasks import TaskSampler
from metastyle.errors import InputError
from metastyle.meta import outer_loop
from metastyle.meta.problem import Networks, style_problem
from metastyle.nets import vgg
from metastyle.system.files import atomic

SAVE_EVERY = 50


class Trained(NamedTuple):
    """The parameters (flat) after `steps` steps, and the seconds that these took."""

    steps: int
    params: dict[str, np.ndarray]
    seconds: float


def settings(
    contents: str, *, size: int = 256, steps: int = 2000, batch: int = 4, arch: str = "johnson", lr: float = 1e-3,
    seed: int = 0,
) -> config.Config:  # fmt: skip
    """The paper's recipe: Adam at 1e-3, batches of 4 photographs of `contents` (a spec of sources.open_source)."""
    return config.from_dict(
        {
            "run": {"steps": steps, "seed": seed},
            "data": {"content": contents, "style": "procedural", "size": size, "zoom": 1.0, "rotate": 0.0},
            "generator": {"arch": arch},
            "inner": {"steps": 0, "scope": "all"},
            "outer": {
                "tasks": 1, "query": batch, "objective": "mean", "lr": lr, "warmup": 0, "decay": "inverse", "clip": 0.0,
            },
        }
    )  # fmt: skip


def train(
    settings: config.Config, style: np.ndarray, params: vgg.Params, state_file: str | os.PathLike,
    looks: Collection[int], key: str = "",
) -> Iterator[Trained]:  # fmt: skip
    """Trains on one style and yields the parameters after each of `looks` steps.

    style: f32[S, S, 3] in [0, 1]. The state is written to `state_file` every 50 steps and after every look, when the
    caller asks for the next; where that file is there already, training goes on from it, and past looks don't
    repeat. `key` says what the state belongs to besides `settings`: a file of something else raises InputError. Raises
    FloatingPointError when the loss is not finite.
    """
    key = f"{config.identify(settings)} {key}"
    state, seconds = _restore(Path(state_file), outer_loop.initial_state(settings), key)
    start = int(state.step)
    if start == 0 and 0 in looks:
        yield _trained(state, seconds)
    problem, networks = style_problem(settings.generator, settings.loss), Networks(params)
    step = jax.jit(functools.partial(outer_loop.outer_step, problem, settings, True), donate_argnums=0)
    sampler = TaskSampler(settings)

    def task(step, index):
        return sampler.task(step, index) | {"style": style[None]}

    with Prefetcher(task, [0], start, settings.run.steps, threads=settings.data.threads) as batches:
        for k, batch in batches:
            if k == start:
                step = step.lower(state, batch, networks).compile()  # not counted as training
            began = time.perf_counter()
            state, metrics = jax.block_until_ready(step(state, batch, networks))
            seconds += time.perf_counter() - began
            if not np.isfinite(metrics["loss"]):
                raise FloatingPointError(f"step {k + 1}: the loss is {metrics['loss']}; try a lower rate")
            done = k + 1
            if done in looks:
                yield _trained(state, seconds)
            if done in looks or done % SAVE_EVERY == 0 or done == settings.run.steps:
                _save(Path(state_file), state, seconds, key)


def _trained(state: outer_loop.MetaState, seconds: float) -> Trained:
    learned = state.meta
    return Trained(int(state.step), jax.tree.map(np.asarray, learned.fast | learned.slow), seconds)


def _save(path: Path, state: outer_loop.MetaState, seconds: float, key: str) -> None:
    leaves = {f"{i:04d}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(state))}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_bytes(save(leaves, {"key": key, "seconds": repr(seconds)}))


def _restore(path: Path, template: outer_loop.MetaState, key: str) -> tuple[outer_loop.MetaState, float]:
    if not path.exists():
        return template, 0.0
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            leaves = [file.get_tensor(name) for name in sorted(file.keys())]
    except SafetensorError as error:
        raise InputError(f"`state_file`: {path} is damaged ({error}); delete it to start again") from None
    if metadata.get("key") != key:
        raise InputError(f"`state_file`: {path} is of other settings or another style; delete it to start again")
    state: Any = jax.tree.unflatten(jax.tree.structure(template), leaves)
    return state, float(metadata["seconds"])
