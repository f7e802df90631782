"""The inner loop at deployment: the meta-trained steps, then Adam; one compiled gradient, the loop in Python."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metastyle import config
from metastyle.meta.inner_loop import descend
from metastyle.nets.params import Flat

ADAM_WARMUP = 5
WINDOW = 10  # steps, whose mean losses `settled` compares
Tree = Any


class Step(NamedTuple):
    """What `on_step` is told before each deployment step: its number from 0, and the loss there."""

    step: int
    loss: float


class AdaptState(NamedTuple):
    """Where an adaptation stands after len(history) steps: Adam's moments are None before its first step."""

    fast: Flat
    history: tuple[float, ...]
    moments: Tree | None


def moment_shapes(fast: Flat, adam_lr: float) -> Tree:
    """The shapes of AdaptState.moments."""
    return jax.eval_shape(_adam(adam_lr)[0], fast)


@functools.partial(jax.jit, static_argnums=0)
def _value_and_grad(loss, fast, slow, support, chosen, *fixed):
    batch = jax.tree.map(operator.itemgetter(chosen), support)
    return jax.value_and_grad(loss)(fast, slow, batch, *fixed)


_descend = jax.jit(descend, static_argnames="normalize")


@functools.cache
def _adam(lr: float) -> tuple[Callable, Callable]:
    tx = optax.adam(lambda count: lr * jnp.minimum(1.0, (count + 1) / ADAM_WARMUP))

    @jax.jit
    def update(gradient, state, fast):
        updates, state = tx.update(gradient, state, fast)
        return optax.apply_updates(fast, updates), state

    return jax.jit(tx.init), update


def adapt(
    loss: Callable,
    meta: dict[str, Flat],
    support: Tree,
    fixed: tuple,
    *,
    steps: int,
    inner: config.Inner,
    adam_lr: float,
    learned_steps: int | None = None,
    until: float = 0.0,
    begin: AdaptState | None = None,
    on_step: Callable[[Step], None] | None = None,
    on_state: Callable[[AdaptState], None] | None = None,
) -> tuple[Flat, list[float]]:
    """The inner loop at deployment: `steps` steps from `meta`, one compiled gradient, the loop in Python.

    support: leaves [N, ...]; step k uses `inner.support` of them, round and round. The first `learned_steps`
    (default: `inner.steps`) steps are the meta-trained ones; any further are Adam with fresh moments, a warm-up of 5
    steps and `adam_lr`. `on_step` is told the loss before each step, `on_state` the state after 0 ... `steps` steps;
    with `begin`, one of these states, the loop goes on from there. It ends early where `settled(history, until)`.
    Returns the adapted fast parameters and the loss before each step.
    """
    begin = begin or AdaptState(meta["fast"], (), None)
    fast, history, moments = begin.fast, list(begin.history), begin.moments
    learned_steps = inner.steps if learned_steps is None else learned_steps
    size = jax.tree.leaves(support)[0].shape[0] if steps else 0
    if on_state:
        on_state(begin)
    for k in range(len(history), steps):
        if settled(history, until):
            break
        chosen = (k * inner.support + np.arange(inner.support)) % size
        value, gradient = _value_and_grad(loss, fast, meta["slow"], support, chosen, *fixed)
        history.append(float(value))
        if on_step:
            on_step(Step(k, history[-1]))
        if k < learned_steps:
            rates = {path: x[min(k, x.shape[0] - 1)] for path, x in meta["log_lr"].items()}
            fast = _descend(fast, gradient, rates, normalize=inner.normalize)
        else:
            start, update = _adam(adam_lr)
            fast, moments = update(gradient, start(fast) if moments is None else moments, fast)
        if on_state:
            on_state(AdaptState(fast, tuple(history), moments))
    return fast, history


def settled(history: Sequence[float], until: float) -> bool:
    """Whether the mean loss of the last 10 steps is less than the share `until` below that of the 10 before; 0: never.

    The loss of one step tells little: each step has photographs of its own.
    """
    if not until or len(history) < 2 * WINDOW:
        return False
    before, last = np.mean(history[-2 * WINDOW : -WINDOW]), np.mean(history[-WINDOW:])
    return bool(last > (1 - until) * before)
