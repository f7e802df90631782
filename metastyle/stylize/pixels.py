"""Optimises the pixels of a picture by a loss of it, such as J (Gatys, Ecker and Bethge 2016).

    settings = pixels.Settings(iterations=10)
    for state in pixels.optimise(objective, settings, pixels.init(objective, picture, settings)):
        print(state.iteration, state.loss)  # state.picture is in [0, 1]

The paper leaves the pixels free and clips them at the end; here they stay in [0, 1] at each iteration.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metastyle.config.checks import added_later
from metastyle.errors import InputError
from metastyle.system.programs import bounded_jit

_MEMORY = 10  # pairs of steps and gradient changes that L-BFGS remembers
_TRIES = 10  # lengths that are tried along one direction
_TINY = 1e-30
_DECREASE = 1e-4  # a step must lower the loss by this share of what the slope promises (Armijo 1966)

Objective = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


@dataclass(frozen=True)
class Settings:
    """How a picture is optimised. A value out of range raises InputError."""

    iterations: int = 150
    optimizer: str = "lbfgs"  # or "adam"
    lr: float = 0.05  # of Adam, in units of the pixels
    # The root mean square, over all values, of a step of L-BFGS that has no memory yet.
    first: float = field(default=0.03, metadata=added_later())

    def rules(self) -> tuple[tuple[str, str, bool], ...]:
        """What is expected of each value: its name, what it shall be, and whether it is that."""
        return (
            ("iterations", "at least 0", self.iterations >= 0),
            ("optimizer", "lbfgs or adam", self.optimizer in ("lbfgs", "adam")),
            ("lr", "a positive number", 0 < self.lr < np.inf),
            ("first", "a positive number", 0 < self.first < np.inf),
        )

    def __post_init__(self) -> None:
        for name, expected, holds in self.rules():
            if not holds:
                raise InputError(f"`{name}`: expected {expected}, got {getattr(self, name)!r}")


class State(NamedTuple):
    """The whole state after an iteration: a pytree, from which the optimisation continues bit for bit."""

    iteration: int
    picture: jax.Array  # f32[H, W, 3] in [0, 1]
    loss: float  # of the picture
    gradient: jax.Array  # of the loss, f32[H, W, 3]
    memory: Any  # the optimiser's
    converged: bool  # L-BFGS found no lower loss, so the picture no longer changes


def optimise(objective: Objective, settings: Settings, state: State) -> Iterator[State]:
    """Yields `state`, as from `init` or later, and then the state after each iteration up to `settings.iterations`.

    Raises FloatingPointError when the loss or its gradient is not finite.
    """
    yield state
    while state.iteration < settings.iterations:
        state = step(objective, settings, state)
        yield state


def init(objective: Objective, picture: np.ndarray | jax.Array, settings: Settings) -> State:
    """The first state, whose picture is f32[H, W, 3] in [0, 1].

    Raises FloatingPointError when the loss or its gradient is not finite.
    """
    picture = jnp.asarray(picture, jnp.float32)
    loss, gradient = _evaluate(objective, picture, 0)
    return State(0, picture, loss, gradient, _optimizer(settings).init(picture), False)


def step(objective: Objective, settings: Settings, state: State) -> State:
    """One iteration: an evaluation of `objective`, or now and then a few with L-BFGS, which never raises the loss."""
    count, tx = state.iteration + 1, _optimizer(settings)
    if state.converged:
        return state._replace(iteration=count)
    if settings.optimizer == "adam":
        direction, memory = _direction(tx, state, state.memory)
        picture, _ = _move(state, direction, 1.0)
        return State(count, picture, *_evaluate(objective, picture, count), memory, False)
    for afresh in (False, True) if state.iteration else (True,):  # where the memory misleads, again without it
        memory = tx.init(state.picture) if afresh else state.memory
        direction, memory = _direction(tx, state, memory)
        length = settings.first / max(float(jnp.sqrt(jnp.square(direction).mean())), _TINY) if afresh else 1.0
        found = _search(objective, state, direction, length)
        if found:
            return State(count, *found, memory, False)
    return state._replace(iteration=count, converged=True)


def _direction(tx: optax.GradientTransformation, state: State, memory: Any) -> tuple[jax.Array, Any]:
    direction, memory = tx.update(state.gradient, memory, state.picture)
    return cast(jax.Array, direction), memory


def _search(
    objective: Objective, state: State, direction: jax.Array, length: float
) -> tuple[jax.Array, float, jax.Array] | None:
    """The first picture along `direction` with a low enough loss, its loss and gradient; None if none is found.

    The search is a loop in Python. That of optax.lbfgs is a while loop of XLA, in which XLA:CPU runs convolutions
    slowly: an iteration took 2.5 times as long. The length 1 that L-BFGS proposes is nearly always good enough, so
    most searches take one evaluation.

    The bounds are kept by projecting the path. After 150 iterations on three held-out pairs at 128 px the mean J was
    0.848 in this way, 0.849 with scipy's L-BFGS-B or with a search among the pixels off their bounds alone, 0.860 with
    clipping inside the loss, and 1.104 with clipping of the result alone.
    """
    for _ in range(_TRIES):
        picture, slope = _move(state, direction, length)
        if not slope < 0:  # because of the bounds the path leads up, or nowhere
            return None
        loss, gradient = _evaluate(objective, picture, state.iteration + 1)
        if loss <= state.loss + _DECREASE * slope:
            return picture, loss, gradient
        lowest = slope / (2 * (slope + state.loss - loss))  # of the parabola through both losses and the slope
        length *= min(max(lowest, 0.1), 0.5)
    return None


def _evaluate(objective: Objective, picture: jax.Array, iteration: int) -> tuple[float, jax.Array]:
    loss, gradient = objective(picture)
    if not (np.isfinite(loss) and jnp.isfinite(gradient).all()):
        what = "gradient of the loss is not finite" if np.isfinite(loss) else f"loss is {float(loss)}"
        raise FloatingPointError(
            f"iteration {iteration}: the {what}; check the VGG weights and the weights of the loss"
        )
    return float(loss), gradient


@bounded_jit
def _moved(picture, gradient, direction, length):
    moved = jnp.clip(picture + length * direction, 0, 1)
    return moved, jnp.vdot(gradient, moved - picture)


def _move(state: State, direction: jax.Array, length: float) -> tuple[jax.Array, float]:
    """The picture moved by `length` times `direction` and clipped to [0, 1], and the change of loss that the gradient
    predicts."""
    picture, slope = _moved(state.picture, state.gradient, direction, length)
    return picture, float(slope)


def state_shapes(size: tuple[int, int], settings: Settings) -> State:
    """The shapes and types of a state for a picture of this (height, width), for restoring a saved state."""
    picture = jax.ShapeDtypeStruct((*size, 3), jnp.float32)
    return jax.eval_shape(lambda x: State(0, x, 0.0, x, _optimizer(settings).init(x), False), picture)


def to_tensors(state: State) -> dict[str, np.ndarray]:
    """The numbers of a state, to be kept in a file."""
    return {str(i): np.asarray(x) for i, x in enumerate(jax.tree.leaves(state))}


def from_tensors(shapes: State, tensors: dict[str, np.ndarray]) -> State:
    """The state from `to_tensors`; KeyError or ValueError if it has other shapes than `state_shapes`."""
    leaves, structure = jax.tree.flatten(shapes)
    saved = [tensors[str(i)] for i in range(len(leaves))]
    if [x.shape for x in saved] != [x.shape for x in leaves]:
        raise ValueError("other shapes")
    state = jax.tree.unflatten(structure, map(jnp.asarray, saved))
    return state._replace(iteration=int(state.iteration), loss=float(state.loss), converged=bool(state.converged))


def _optimizer(settings: Settings) -> optax.GradientTransformation:
    return _compiled(settings.optimizer, settings.lr)


@functools.cache
def _compiled(optimizer: str, lr: float) -> optax.GradientTransformation:
    lbfgs = optax.chain(optax.scale_by_lbfgs(_MEMORY), optax.scale(-1.0))
    tx = {"lbfgs": lbfgs, "adam": optax.adam(lr)}[optimizer]
    return optax.GradientTransformation(bounded_jit(tx.init), bounded_jit(tx.update))
