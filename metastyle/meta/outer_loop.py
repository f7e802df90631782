"""The outer loop's mathematics: the loss of a task after adaptation, its gradient over tasks, one optimiser step.

Of devices this module knows only the name of the axis that tasks are spread over.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metastyle import config
from metastyle.errors import InputError
from metastyle.meta import inner_loop
from metastyle.meta.device_sums import mean_over_devices, separately_rounded, sum_in_halves
from metastyle.meta.parameters import Meta, guess_start
from metastyle.meta.problem import Problem
from metastyle.nets import generator, style_encoder
from metastyle.nets.params import Flat, in_scope, split_by_scope

_MULTI_STEP_FLOOR = 0.03  # share that intermediate steps keep when the multi-step loss is annealed (MAML++)
_INVERSE_DECAY = 2.5e-5  # MetaStyle divides both learning rates by 1 + 2.5e-5 step

Metrics = dict[str, jax.Array]


class MetaState(NamedTuple):
    """The whole state of a run. Files that number the leaves depend on the order of the fields."""

    meta: Meta
    optimizer: Any
    step: jax.Array  # i32: how many outer steps are done


def initial_meta(settings: config.Config) -> Meta:
    """Meta-parameters before the first step, drawn from `run.seed`.

    Raises InputError for an encoder where none of the parameters that it guesses is fast.
    """
    return _initial(settings, generator.initial_params(settings.generator, settings.run.seed))


def meta_shapes(settings: config.Config) -> Meta:
    """The shapes and dtypes of `initial_meta`, found without starting JAX's backend. Raises the same error."""
    return jax.eval_shape(functools.partial(_initial, settings), generator.shapes(settings.generator))


def _initial(settings: config.Config, params: Flat) -> Meta:
    """Meta-parameters with these parameters of the generator."""
    scope = settings.inner.scope
    fast, slow = split_by_scope(params, scope)
    meta = Meta(fast=fast, slow=slow, log_lr=inner_loop.initial_log_lr(fast, settings.inner))
    if settings.encoder.hidden:
        if not any(in_scope(path, "norm") for path in fast):
            raise InputError(
                f'`encoder.hidden`: expected 0 where nothing that an encoder guesses adapts (`inner.scope` "{scope}"), '
                f"got {settings.encoder.hidden}; add norm to the scope"
            )
        encoder = style_encoder.initial(settings.encoder, fast, settings.run.seed)
        meta = dataclasses.replace(meta, encoder=encoder)
    return meta


def initial_state(settings: config.Config, meta: Meta | None = None) -> MetaState:
    """The state of a run before its first step. With `meta`, the run starts from these meta-parameters."""
    learned: Any = initial_meta(settings) if meta is None else meta  # optax's types know no dataclasses
    return MetaState(learned, optimizer(settings).init(learned), jnp.zeros((), jnp.int32))


def optimizer(settings: config.Config) -> optax.GradientTransformation:
    """Clipping, then Adam or SGD with warm-up and decay. Learned rates move in log space, by `outer.rate_lr` a step."""
    outer = settings.outer
    make = {"adam": optax.adam, "sgd": optax.sgd}[outer.optimizer]
    clip = optax.clip_by_global_norm(outer.clip) if outer.clip else optax.identity()
    transforms: dict[Hashable, optax.GradientTransformation] = {
        "params": make(_schedule(settings, outer.lr)),
        "rates": make(_schedule(settings, outer.rate_lr)),
    }
    return optax.chain(clip, optax.multi_transform(transforms, _labels))


def _schedule(settings: config.Config, peak: float) -> Callable:
    """The learning rate at each outer step.

    optax's warm-up and cosine round otherwise in the last bit, so a run would not go on as it began.
    """
    outer, steps = settings.outer, settings.run.steps

    def decay(count):
        if outer.decay == "inverse":
            return peak / (1 + _INVERSE_DECAY * count)
        progress = jnp.clip((count - outer.warmup) / max(steps - outer.warmup, 1), 0, 1)
        return peak * 0.5 * (1 + jnp.cos(jnp.pi * progress))

    return lambda count: decay(count) * jnp.minimum(1.0, (count + 1) / max(outer.warmup, 1))


def _labels(meta: Meta) -> Any:
    """The name of the optimiser's transform for each part of `meta`."""
    encoder: Any = None if meta.encoder is None else "params"
    label: Any = {"fast": "params", "slow": "params", "log_lr": "rates", "encoder": encoder}
    return Meta(**label)


def is_first_order(settings: config.Config, step: int) -> bool:
    """Whether the meta-gradient of this outer step is first order. Only this makes a run compile its step again."""
    if settings.outer.update == "reptile":
        return True
    return settings.inner.first_order or step < settings.outer.second_order_from


def step_weights(outer: config.Outer, steps: int, step: jax.Array | int) -> jax.Array:
    """Weights of the losses after 0 ... K inner steps, f32[K + 1], summing to 1.

    They are uniform at first, and move towards the last loss over `outer.multi_step` outer steps (MAML++, section 4).
    """
    last = jnp.zeros(steps + 1).at[-1].set(1.0)
    if not outer.multi_step:
        return last
    progress = jnp.minimum(step / outer.multi_step, 1 - _MULTI_STEP_FLOOR)
    return progress * last + (1 - progress) / (steps + 1)


def task_loss(
    problem: Problem,
    settings: config.Config,
    meta: Meta,
    task: Any,
    networks: Any,
    step: jax.Array | int,
    first_order: bool,
) -> tuple[jax.Array, Metrics]:
    """Query loss of one task after adaptation (MAML, Finn et al. 2017), and the metrics that are logged.

    The multi-step loss (MAML++) costs nothing extra: every inner step has photographs of its own, so the support loss
    before a step, which is computed anyway, is measured on photographs that the parameters haven't seen. This does not
    hold where another network judges the query: then it judges one earlier step as well, in turn; every second time
    that is the start.

    With `outer.objective` "log" the mean over tasks is one of logarithms, that is of relative improvements. Otherwise
    the few styles whose loss is ten times that of others would dominate it.
    """
    inner, outer = settings.inner, settings.outer
    prepared = problem.prepare(task, networks)
    fixed, meta = (prepared.target, networks), guess_start(meta, prepared.code)
    if inner.rate_kind == "fixed":
        meta = dataclasses.replace(meta, log_lr=jax.lax.stop_gradient(meta.log_lr))
    judged = problem.query_loss is not None
    scale, counted = lr_scale(outer, step), bool(outer.multi_step) and not judged
    result = inner_loop.inner_loop(
        problem.loss, meta, prepared.support, fixed, inner, first_order=first_order, lr_scale=scale, counted=counted
    )
    judge = lambda fast: problem.outer_loss(fast, meta.slow, prepared.query, *fixed)
    query, weights = judge(result.fast), step_weights(outer, inner.steps, step)
    curve = jnp.append(result.support_losses, query)
    support = curve[: max(inner.steps, 1)]
    if judged and outer.multi_step and inner.steps:
        k = jnp.where(step % 2, step // 2 % inner.steps, 0)
        before = jax.tree.map(lambda x: x[k], result.path)
        curve, weights = jnp.stack([judge(before), query]), jnp.stack([1 - weights[-1], weights[-1]])
    objective = {"mean": lambda x: x, "log": jnp.log}[outer.objective]
    loss = weights @ objective(curve)
    return loss, {"loss": loss, "query": query, "support_first": support[0], "support_mean": support.mean()}


def reptile_gradient(
    problem: Problem, settings: config.Config, meta: Meta, task: Any, networks: Any, step: jax.Array | int
) -> tuple[Metrics, Meta]:
    """Metrics and gradient of Reptile (Nichol et al. 2018): from where the inner loop ends to where it began."""
    prepared = problem.prepare(task, networks)
    fixed, scale = (prepared.target, networks), lr_scale(settings.outer, step)
    result = inner_loop.inner_loop(problem.loss, meta, prepared.support, fixed, settings.inner, lr_scale=scale)
    query = problem.outer_loss(result.fast, meta.slow, prepared.query, *fixed)
    metrics = {
        "loss": query,
        "query": query,
        "support_first": result.support_losses[0],
        "support_mean": result.support_losses.mean(),
    }
    gradient = jax.tree.map(jnp.zeros_like, meta)
    return metrics, dataclasses.replace(gradient, fast=jax.tree.map(jnp.subtract, meta.fast, result.fast))


def lr_scale(outer: config.Outer, step: jax.Array | int) -> jax.Array | float:
    """The factor of the inner rates at this outer step."""
    return 1 / (1 + _INVERSE_DECAY * step) if outer.decay == "inverse" else 1.0


def deployed(outer: config.Outer, state: MetaState) -> Meta:
    """The meta-parameters of a state for deployment, numpy arrays: their rates include the decay so far."""
    learned = jax.tree.map(np.asarray, state.meta)
    shift = np.float32(np.log(lr_scale(outer, int(state.step))))
    return dataclasses.replace(learned, log_lr={path: x + shift for path, x in learned.log_lr.items()})


def meta_gradient(
    problem: Problem,
    settings: config.Config,
    meta: Meta,
    tasks: Any,
    networks: Any,
    step: jax.Array | int,
    first_order: bool,
) -> tuple[Metrics, Meta]:
    """Metrics and meta-gradient, averaged over `tasks` (leaves [T, ...]).

    They are accumulated over groups of `outer.tasks_side_by_side` tasks, so that memory does not grow with T. On CPUs
    the groups are added as `mean_over_devices` adds devices, so the bits do not depend on how tasks are spread, as long
    as each device has the same number of tasks and there are 1, 2, 4, ... devices.
    """
    together = settings.outer.tasks_side_by_side

    def one(group):
        return jax.tree.map(separately_rounded, of_group(group))

    def of_group(group):
        if settings.outer.update == "reptile":
            return reptile_gradient(problem, settings, meta, group, networks, step)
        loss = lambda m, task: task_loss(problem, settings, m, task, networks, step, first_order)
        if together > 1:
            # The mean is differentiated, not each loss: then the gradients of a kernel for all tasks are one
            # convolution.
            each = jax.vmap(loss, (None, 0))
            loss = lambda m, group: jax.tree.map(lambda x: x.mean(0), each(m, group))
        (_, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(meta, group)
        return metrics, gradient

    count = jax.tree.leaves(tasks)[0].shape[0]
    if together > 1:
        count //= together
        tasks = jax.tree.map(lambda x: x.reshape(count, together, *x.shape[1:]), tasks)
    if jax.default_backend() == "cpu":  # no while loop, for the reason given in inner_loop.py
        total = sum_in_halves([one(jax.tree.map(operator.itemgetter(i), tasks)) for i in range(count)])
    else:
        shapes = jax.eval_shape(one, jax.tree.map(lambda x: x[0], tasks))
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype) + _varying_zero(tasks, s.dtype), shapes)
        total, _ = jax.lax.scan(lambda sum_, task: (jax.tree.map(jnp.add, sum_, one(task)), None), zeros, tasks)
    return jax.tree.map(lambda x: x / count, total)


def _varying_zero(tasks: Any, dtype: Any) -> jax.Array:
    """A zero that varies over devices as the tasks do: a scan's carry must start with the type it ends with."""
    return (jax.tree.leaves(tasks)[0].ravel()[0] * 0).astype(dtype)


def outer_step(
    problem: Problem,
    settings: config.Config,
    first_order: bool,
    state: MetaState,
    tasks: Any,
    networks: Any,
    axis: str | None = None,
    noted: Metrics | None = None,
) -> tuple[MetaState, Metrics]:
    """One step of meta-training on this device's `tasks`; with several devices, it averages over `axis`.

    noted: numbers of this device that are averaged with its metrics.
    """
    meta = state.meta
    if axis:
        # Without this, gradients with respect to replicated values are summed over devices, inside the inner loop too.
        meta = jax.tree.map(lambda x: jax.lax.pcast(x, axis, to="varying"), meta)
    metrics, gradient = meta_gradient(problem, settings, meta, tasks, networks, state.step, first_order)
    metrics |= noted or {}
    if axis:
        metrics, gradient = mean_over_devices((metrics, gradient), axis)
    metrics["gradient_norm"] = optax.tree.norm(gradient)
    before: Any = state.meta
    change: Any = gradient
    updates, optimizer_state = optimizer(settings).update(change, state.optimizer, before)
    after: Any = optax.apply_updates(before, jax.tree.map(separately_rounded, updates))
    return MetaState(after, optimizer_state, state.step + 1), metrics
