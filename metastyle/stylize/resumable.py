"""An adaptation that can be stopped: its state is kept in a file, and the same call goes on from there."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metastyle.errors import InputError, Stopped
from metastyle.meta import adaptation
from metastyle.meta.adaptation import AdaptState
from metastyle.nets.params import Flat
from metastyle.system import resume
from metastyle.system.signals import StopSignal

KEEP_EVERY = 20  # seconds between writes of a state file
OnState = Callable[[AdaptState], None]


def adapt(
    learn: Callable[..., tuple[Flat, list[float]]],
    path: Path,
    identity: dict[str, Any],
    start: Flat,
    plan: adaptation.Plan,
    on_state: OnState,
) -> tuple[Flat, list[float]]:
    """Returns `learn(state=..., on_state=...)`, which goes on from the state in the file `path`, if there is one.

    Args:
      learn: `adaptation.adapt` with all other arguments bound.
      identity: tells this work from other work (system/resume.py).
      start: the fast parameters before the first step.
      on_state: called with every state. Where it raises, the state is not kept: it would raise for ever.

    Raises `errors.Stopped` after SIGTERM or SIGINT, and InputError where the file has more steps than `plan`, is
    damaged or of other work.
    """
    state = resume.read(path, identity, functools.partial(_from_tensors, start, plan.adam_lr))
    if state and len(state.history) > plan.steps:
        done = len(state.history)
        raise InputError(
            f"`steps`: the work that {path} continues has done {done}, got {plan.steps}; ask for at least {done}, use "
            "another --out, or delete that file to start afresh"
        )
    with StopSignal() as stop:
        keeper = _Keeper(path, identity, plan.steps, on_state, stop)
        return learn(state=state, on_state=keeper.see)


class _Keeper:
    """Writes states to the file: every KEEP_EVERY seconds, and when the work is asked to stop, which it then does."""

    def __init__(self, path: Path, identity: dict[str, Any], steps: int, on_state: OnState, stop: StopSignal):
        self._path, self._identity, self._steps = path, identity, steps
        self._on_state, self._stop, self._last = on_state, stop, time.monotonic()

    def see(self, state: AdaptState) -> None:
        self._on_state(state)
        done, asked = len(state.history), self._stop.requested
        if asked or time.monotonic() - self._last > KEEP_EVERY:
            resume.write(self._path, self._identity, _to_tensors(state))
            self._last = time.monotonic()
        if asked and done < self._steps:
            raise Stopped(f"stopped after step {done} of {self._steps}; the same line continues")


def _to_tensors(state: AdaptState) -> dict[str, np.ndarray]:
    tensors = {f"fast/{name}": np.asarray(x) for name, x in state.fast.items()}
    tensors |= {f"moments/{i}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(state.moments))}
    return tensors | {"history": np.array(state.history, np.float64)}


def _from_tensors(start: Flat, adam_lr: float, saved: dict[str, np.ndarray]) -> AdaptState:
    """The state of an adaptation from `start`. Raises KeyError or ValueError for tensors of another."""
    moments, structure = jax.tree.flatten(adaptation.moment_shapes(start, adam_lr))
    names = [f"moments/{i}" for i in range(len(moments))] if "moments/0" in saved else []
    wanted = {f"fast/{name}": x.shape for name, x in start.items()}
    wanted |= {name: x.shape for name, x in zip(names, moments, strict=bool(names))}
    if any(saved[name].shape != shape for name, shape in wanted.items()):
        raise ValueError("other shapes")
    return AdaptState(
        {name: jnp.asarray(saved[f"fast/{name}"]) for name in start},
        tuple(saved["history"].tolist()),
        jax.tree.unflatten(structure, [jnp.asarray(saved[name]) for name in names]) if names else None,
    )
