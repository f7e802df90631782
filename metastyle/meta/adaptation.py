"""The inner loop at deployment: set up in `begin`, then the meta-trained steps, then steps of Adam in `adapt`.

The gradient is compiled once, and the loop is Python, so that it can be watched, stopped and continued.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metastyle import config
from metastyle.losses import perceptual
from metastyle.meta.inner_loop import descend
from metastyle.meta.parameters import Meta, guess_start
from metastyle.meta.problem import Prepared, Targets, make_measure
from metastyle.nets import vgg
from metastyle.nets.params import Flat

ADAM_WARMUP = 5
WINDOW = 10  # `settled` compares the mean losses of so many steps
Tree = Any


class Begun(NamedTuple):
    """A task that the inner loop is ready to learn.

    start: the meta-parameters, with the fast ones that the encoder guesses for the style. target: what outputs are
    compared with; `Targets` in a style problem. support: leaves [N, ...], one for each photograph.
    """

    start: Meta
    target: Any
    support: Tree


def begin(
    settings: config.Config,
    learned: Meta,
    params: vgg.Params,
    paintings: Sequence[np.ndarray],
    photographs: Sequence[np.ndarray],
    reads: vgg.Params | None = None,
) -> Begun:
    """Sets up the adaptation to a style from pictures.

    Args:
      settings: those that `learned` was meta-trained with.
      params: the loss network to learn with.
      paintings: f32[H, W, 3] in [0, 1], at least one, of any sizes.
      photographs: f32[S, S, 3] in [0, 1], all of one size.
      reads: the loss network that the encoder reads the paintings by; by default `params`.
    """
    start, target = begin_style(settings, learned, params, paintings, reads)
    return Begun(start, target, measure_support(settings, params, photographs))


def begin_style(
    settings: config.Config,
    learned: Meta,
    params: vgg.Params,
    paintings: Sequence[np.ndarray],
    reads: vgg.Params | None = None,
) -> tuple[Meta, Targets]:
    """The half of `begin` that needs the style: where the inner loop starts, and the style's statistics."""
    measure = make_measure(settings.generator, settings.loss, settings.encoder.octaves)
    measured = [measure.style(params, picture[None]) for picture in paintings]
    codes = [style.code for style in measured]
    if reads is not None and reads is not params and learned.encoder is not None:
        codes = [measure.style(reads, picture[None]).code for picture in paintings]
    target = perceptual.mean_target([style.target for style in measured])
    return guess_start(learned, jnp.mean(jnp.stack(codes), 0)), Targets(target)


def measure_support(settings: config.Config, params: vgg.Params, photographs: Sequence[np.ndarray]) -> Tree:
    """The half of `begin` that needs the photographs: leaves [N, ...], measured one by one. None for no photographs."""
    content = make_measure(settings.generator, settings.loss).content
    batches = [content(params, picture[None]) for picture in photographs]
    return jax.tree.map(lambda *x: jnp.concatenate(x), *batches) if batches else None


def begin_prepared(learned: Meta, prepared: Prepared) -> Begun:
    """`begin` for a task that `Problem.prepare` has measured. Its support, leaves [K, B, ...], becomes [K B, ...]."""
    support = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), prepared.support)
    return Begun(guess_start(learned, prepared.code), prepared.target, support)


class Plan(NamedTuple):
    """How many steps an adaptation takes, and by which rates.

    The first `learned_steps` steps (by default `inner.steps`) are the meta-trained ones; all others are steps of Adam
    at `adam_lr`. until: see `settled`.
    """

    steps: int
    inner: config.Inner
    adam_lr: float
    learned_steps: int | None = None
    until: float = 0.0


class Step(NamedTuple):
    """What `on_step` is called with before each step: its number, from 0, and the loss there."""

    step: int
    loss: float


class AdaptState(NamedTuple):
    """The state of an adaptation after len(history) steps. `moments` is None before the first step of Adam.

    history: the loss before each step.
    """

    fast: Flat
    history: tuple[float, ...]
    moments: Tree | None


def moment_shapes(fast: Flat, adam_lr: float) -> Tree:
    """The shapes of `AdaptState.moments`, Adam's state."""
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
    begun: Begun,
    networks: Any,
    plan: Plan,
    *,
    state: AdaptState | None = None,
    on_step: Callable[[Step], None] | None = None,
    on_state: Callable[[AdaptState], None] | None = None,
) -> tuple[Flat, list[float]]:
    """Runs the steps of `plan`.

    Step k learns on `plan.inner.support` of the support photographs, which are used in turn, again and again. Adam
    begins with fresh moments, and its rate warms up over 5 steps. The loop ends early where
    `settled(history, plan.until)`.

    Args:
      loss: as in `Problem`.
      state: one of the states that `on_state` was called with; the loop goes on from there.
      on_step: called with the loss before each step.
      on_state: called with the state after 0, 1, ... steps.

    Returns:
      The adapted fast parameters, and the loss before each step.
    """
    inner, slow, log_lr = plan.inner, begun.start.slow, begun.start.log_lr
    learned_steps = inner.steps if plan.learned_steps is None else plan.learned_steps
    state = state or AdaptState(begun.start.fast, (), None)
    fast, history, moments = state.fast, list(state.history), state.moments
    size = jax.tree.leaves(begun.support)[0].shape[0] if plan.steps else 0
    if on_state:
        on_state(state)
    for k in range(len(history), plan.steps):
        if settled(history, plan.until):
            break
        chosen = (k * inner.support + np.arange(inner.support)) % size
        value, gradient = _value_and_grad(loss, fast, slow, begun.support, chosen, begun.target, networks)
        history.append(float(value))
        if on_step:
            on_step(Step(k, history[-1]))
        if k < learned_steps:
            rates = {path: x[min(k, x.shape[0] - 1)] for path, x in log_lr.items()}
            fast = _descend(fast, gradient, rates, normalize=inner.normalize)
        else:
            start, update = _adam(plan.adam_lr)
            fast, moments = update(gradient, start(fast) if moments is None else moments, fast)
        if on_state:
            on_state(AdaptState(fast, tuple(history), moments))
    return fast, history


def settled(history: Sequence[float], until: float) -> bool:
    """Whether the mean loss of the last 10 steps is less than a share `until` below that of the 10 steps before.

    It is never so with `until` 0. The loss of one step says little, because each step has photographs of its own.
    """
    if not until or len(history) < 2 * WINDOW:
        return False
    before, last = np.mean(history[-2 * WINDOW : -WINDOW]), np.mean(history[-WINDOW:])
    return bool(last > (1 - until) * before)
