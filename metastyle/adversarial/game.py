"""One step of adversarial training, whatever the system: gradients of both players, and their optimisers.

A system (`Loss`) says what both players' losses are for one sample. Both are differentiated at once: what belongs to
one player is stopped in the other's loss, so the gradient of the sum has that of each in its place.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metastyle.config import Adversarial
from metastyle.meta.device_sums import mean_over_devices, separately_rounded, sum_in_halves
from metastyle.nets import spectral
from metastyle.nets.params import Flat

Metrics = dict[str, jax.Array]
Sample = dict[str, jax.Array]
Pictures = dict[str, jax.Array]


class Players(NamedTuple):
    """The parameters that learn against each other."""

    generator: Flat
    critic: Flat


class Memory(NamedTuple):
    """What a run remembers besides its players.

    vectors: of the spectral normalisation of the critic's kernels. pool: pictures that were made in earlier steps, by
    name, f32[`pool`, S, S, 3]; a system may have none.
    """

    vectors: Flat
    pool: Pictures


class State(NamedTuple):
    """The whole state of a run.

    average: the moving average of the generator's parameters, which is deployed. step: how many are done, i32.
    """

    players: Players
    average: Flat
    memory: Memory
    optimizer: Any
    step: jax.Array


class Outcome(NamedTuple):
    """What a sample brings beside its loss: metrics, and the pictures that the pool may keep, f32[S, S, 3]."""

    metrics: Metrics
    made: Pictures


# (players, memory, sample, constants, step) -> the sum of both players' losses, and the outcome.
Loss = Callable[[Players, Memory, Sample, Any, jax.Array], tuple[jax.Array, Outcome]]


def initial_state(settings: Adversarial, players: Players, pool: Sequence[str] = ()) -> State:
    """The state before the first step. pool: the names of the pictures that the system keeps."""
    size = settings.data.size
    empty = {name: jnp.zeros((settings.pool, size, size, 3)) for name in pool if settings.pool}
    memory = Memory(spectral.initial_vectors(players.critic, settings.run.seed), empty)
    begun: Any = (players, players.generator, memory, optimizer(settings).init(players), jnp.int32(0))
    return State(*jax.tree.map(jnp.array, begun))


def optimizer(settings: Adversarial) -> optax.GradientTransformation:
    """Adam for each player, whose rates rise over `warmup` steps and fall to 0 at the end of the run."""

    def adam(lr: float) -> optax.GradientTransformation:
        decay = optax.cosine_decay_schedule(lr, max(settings.run.steps, 1))
        rising = lambda count: jnp.minimum(1.0, (count + 1) / max(settings.warmup, 1))
        return optax.adam(lambda count: decay(count) * rising(count), b1=settings.b1, b2=settings.b2)

    parts: Any = {"generator": adam(settings.lr), "critic": adam(settings.critic_lr)}
    labels: Any = Players(*parts)
    return optax.multi_transform(parts, labels)


def step(
    settings: Adversarial,
    loss: Loss,
    state: State,
    samples: Sample,
    constants: Any,
    axis: str | None = None,
    noted: Metrics | None = None,
) -> tuple[State, Metrics]:
    """One step of both players on this device's samples, leaves [N, ...]; with several devices, a mean over `axis`.

    noted: numbers of this device that are averaged with its metrics.
    """
    vectors = spectral.iterate(state.players.critic, state.memory.vectors)
    players, memory, count = state.players, Memory(vectors, state.memory.pool), state.step
    if axis:  # see meta/outer_loop.py
        players, memory, count = jax.tree.map(lambda x: jax.lax.pcast(x, axis, to="varying"), (players, memory, count))

    def one(sample: Sample) -> Any:
        gradient, (metrics, made) = jax.grad(loss, has_aux=True)(players, memory, sample, constants, count)
        return jax.tree.map(separately_rounded, (metrics, gradient, _replaced(memory.pool, made, sample)))

    number = len(jax.tree.leaves(samples)[0])
    total = sum_in_halves([one(jax.tree.map(operator.itemgetter(i), samples)) for i in range(number)])
    metrics, gradient, replaced = jax.tree.map(lambda x: x / number, total)
    metrics |= noted or {}
    if axis:
        metrics, gradient, replaced = mean_over_devices((metrics, gradient, replaced), axis)
    gradient = jax.tree.map(separately_rounded, gradient)
    updates, moments = optimizer(settings).update(gradient, state.optimizer, state.players)
    after: Any = optax.apply_updates(state.players, jax.tree.map(separately_rounded, updates))
    average: Any = optax.incremental_update(after.generator, state.average, 1 - settings.average)
    pool = jax.tree.map(lambda x, change: x + settings.batch * change, state.memory.pool, replaced)
    return State(after, average, Memory(vectors, pool), moments, state.step + 1), metrics


def _replaced(pool: Pictures, made: Pictures, sample: Sample) -> Pictures:
    """What is added to the pool for the picture of a sample to take its place there, if "write" says so."""
    if not pool:
        return {}
    place = jax.nn.one_hot(sample["slot"], len(next(iter(pool.values())))) * sample["write"]
    return {name: place[:, None, None, None] * (made[name] - pool[name][sample["slot"]]) for name in pool}
