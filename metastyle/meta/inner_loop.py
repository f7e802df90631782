"""The inner loop: K gradient steps on the fast parameters, differentiable through; and the same steps at deployment.

    fast_0 = the meta-parameters;   fast_{k+1} = fast_k - exp(log_lr_k) * n(dL(fast_k, slow; support_k) / dfast)

n divides each leaf by its root mean square if `inner.normalize`: losses of different styles differ by orders of
magnitude, their normalised gradients don't, so one set of rates serves all. Otherwise n(g) = g.
`log_lr` has one leaf per fast leaf, f32[K, 1, ...] (one rate per leaf and step, MAML++, Antoniou et al. 2019) or
f32[1, *leaf.shape] (one per parameter, Meta-SGD, Li et al. 2017).
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
from metastyle.nets import generator, style_encoder, vgg
from metastyle.nets.generator import Flat

ADAM_WARMUP = 5
WINDOW = 10  # steps, whose mean losses `settled` compares
_TINY = 1e-20  # squared gradients below it count as none
Tree = Any


class Prepared(NamedTuple):
    """What stays fixed while a task is learned: computed once, not per step."""

    target: Tree  # of the style
    support: Tree  # leaves [K, ...], one batch per inner step
    query: Tree
    code: Tree = None  # what the encoder reads of the style


class Problem(NamedTuple):
    """A family of tasks: `prepare(task, vgg) -> Prepared` and `loss(fast, slow, batch, target, vgg) -> scalar`.

    The loss must be a function of its arguments alone; only `fast` and `slow` may depend on meta-parameters.
    `query_loss` takes the same, and the query batch; where it is None, it is the loss.
    """

    prepare: Callable[[Tree, Tree], Prepared]
    loss: Callable[[Flat, Flat, Tree, Tree, Tree], jax.Array]
    query_loss: Callable[[Flat, Flat, Tree, Tree, Tree], jax.Array] | None = None

    @property
    def outer_loss(self) -> Callable:
        """What the outer loop minimises."""
        return self.query_loss or self.loss


class InnerResult(NamedTuple):
    """Adapted parameters; the support loss f32[K] and the parameters, leaves [K, ...], before each step.

    All can be differentiated.
    """

    fast: Flat
    support: jax.Array
    path: Flat


@functools.cache
def style_problem(
    net: config.Generator, loss: config.Loss, judged: bool = False, side_by_side: bool = False
) -> Problem:
    """Stylise photographs in one style. A task is {"style", "support", "query"}, as in tasks.py.

    judged: the query loss is that of another network than the inner loop's. `vgg` then is {"inner", "outer"}, and so
    is the target. side_by_side: in the form that is fast where `jax.vmap` goes over tasks (`generator.Network`).
    """
    dtype = jnp.dtype(net.dtype)

    def prepare(task, params):
        inner, outer = (params["inner"], params["outer"]) if judged else (params, params)
        # Batch by batch: together, the features of all photographs take K times the memory of a step.
        support = _map(lambda pictures: content_batch(inner, pictures, loss, dtype), task["support"])
        query = content_batch(outer, task["query"], loss, dtype)
        target = perceptual.style_target(inner, task["style"], loss, dtype)
        if judged:
            target = {"inner": target, "outer": perceptual.style_target(outer, task["style"], loss, dtype)}
        return Prepared(target, support, query, style_encoder.code(inner, task["style"], dtype))

    def style_loss(fast, slow, batch, target, params):
        outputs = generator.apply(net, fast | slow, batch["images"], apart=side_by_side)
        return perceptual.perceptual(params, outputs, batch["content"], target, loss, dtype).total.mean()

    def of(place):
        return lambda fast, slow, batch, target, params: style_loss(fast, slow, batch, target[place], params[place])

    return Problem(prepare, of("inner"), of("outer")) if judged else Problem(prepare, style_loss)


def _map(function: Callable, xs: jax.Array) -> Tree:
    """`function` of each x, stacked; without a while loop on CPU, where convolutions in one are slow."""
    if jax.default_backend() != "cpu" or len(xs) == 0:
        return jax.lax.map(function, xs)
    return jax.tree.map(lambda *x: jnp.stack(x), *map(function, xs))


def content_batch(params: vgg.Params, pictures: jax.Array, loss: config.Loss, dtype=jnp.float32) -> Tree:
    """Photographs f32[N, H, W, 3] with the features that the loss compares their stylisations with."""
    return {"images": pictures, "content": perceptual.content_target(params, pictures, loss, dtype)}


class Measure(NamedTuple):
    """What the loss compares with, compiled: `style(vgg, pictures)`, with the code, and `content(vgg, pictures)`."""

    style: Callable[[vgg.Params, jax.Array], tuple[perceptual.Target, jax.Array]]
    content: Callable[[vgg.Params, jax.Array], Tree]


@functools.cache
def measure(net: config.Generator, loss: config.Loss) -> Measure:
    """The once-per-task part of a style problem, for deployment, where pictures come one by one."""
    dtype = jnp.dtype(net.dtype)

    def style(params, pictures):
        return perceptual.style_target(params, pictures, loss, dtype), style_encoder.code(params, pictures, dtype)

    return Measure(
        jax.jit(style),
        jax.jit(lambda params, pictures: content_batch(params, pictures, loss, dtype)),
    )


def initial_log_lr(fast: Flat, inner: config.Inner) -> Flat:
    """Rates before any is learned: `inner.lr`; with normalised gradients, divided by the fan-in of a kernel.

    A normalised step moves every weight alike, and the fan-in many of them move the same output.
    """

    def leaf(x):
        fan_in = int(np.prod(x.shape[:-1])) if inner.normalize and x.ndim > 1 else 1
        shape = (1, *x.shape) if inner.lrs == "parameter" else (max(inner.steps, 1), *(1,) * x.ndim)
        return jnp.full(shape, np.log(max(inner.lr, 1e-12) / fan_in), jnp.float32)

    return jax.tree.map(leaf, fast)


def support_gradient(loss: Callable, mode: str, remat: bool = False) -> Callable:
    """`(fast, slow, *fixed) -> (loss, dloss/dfast)`, ready to be differentiated again by reverse mode.

    mode "plain" leaves the second derivative to autodiff (reverse over reverse). "forward_over_reverse" uses that the
    Hessian is symmetric: the vector-Jacobian product of a gradient is the directional derivative of the full gradient
    (the mixed mode of MixFlow-MG, Kemaev et al. 2025), so nothing but the arguments need be stored between steps;
    `remat` sees to it that nothing is. `fixed` gets no cotangent there.
    """
    value_and_grad = jax.value_and_grad(loss)
    if mode == "plain":
        return value_and_grad

    @jax.custom_vjp
    def gradient(fast, slow, *fixed):
        return value_and_grad(fast, slow, *fixed)

    def forward(fast, slow, *fixed):
        return value_and_grad(fast, slow, *fixed), (fast, slow, fixed)

    def backward(residuals, cotangents):
        fast, slow, fixed = residuals
        of_loss, of_gradient = cotangents
        if remat:  # or else XLA computes the activations of all steps as soon as it can, long before they are used
            fast = _after(fast, of_gradient)
        full = jax.grad(loss, argnums=(0, 1))
        first, second = jax.jvp(lambda f: full(f, slow, *fixed), (fast,), (of_gradient,))
        return *jax.tree.map(lambda a, b: of_loss * a + b, first, second), *(None for _ in fixed)

    gradient.defvjp(forward, backward)
    return gradient


def _after(tree: Tree, signal: Tree) -> Tree:
    """`tree`, but not before `signal` is computed: XLA:CPU drops optimisation barriers before it schedules."""
    zero = 0.0 * sum(jax.lax.stop_gradient(x).ravel()[0] for x in jax.tree.leaves(signal))
    return jax.tree.map(lambda x: x + zero.astype(x.dtype), tree)


def first_order_gradient(loss: Callable, counted: bool = True) -> Callable:
    """`(fast, slow, *fixed) -> (loss, dloss/dfast)` of which only the loss can be differentiated, at no further cost.

    Its gradients are computed with its value and kept, instead of a network's activations. `fixed` gets no cotangent.
    counted: False where the loss isn't differentiated either: its gradient with respect to `slow` isn't computed then.
    """
    if not counted:
        return lambda *arguments: jax.value_and_grad(loss)(*jax.lax.stop_gradient(arguments))
    value_and_grad = jax.value_and_grad(loss, argnums=(0, 1))

    @jax.custom_vjp
    def gradient(fast, slow, *fixed):
        value, (of_fast, _) = value_and_grad(fast, slow, *fixed)
        return value, of_fast

    def forward(fast, slow, *fixed):
        value, gradients = value_and_grad(fast, slow, *fixed)
        return (value, gradients[0]), (gradients, len(fixed))

    def backward(residuals, cotangents):
        gradients, count = residuals
        return *jax.tree.map(lambda g: cotangents[0] * g, gradients), *([None] * count)

    gradient.defvjp(forward, backward)
    return gradient


def inner_loop(
    loss: Callable,
    meta: dict[str, Flat],
    support: Tree,
    fixed: tuple,
    inner: config.Inner,
    *,
    first_order: bool | None = None,
    lr_scale: jax.Array | float = 1.0,
    counted: bool = True,
) -> InnerResult:
    """Adapts `meta` ({"fast", "slow", "log_lr"}) on `support` (leaves [K, ...]), K = `inner.steps`.

    fixed: what `loss(fast, slow, batch, *fixed)` takes after the batch. first_order (default: the config's) stops the
    gradient through the inner gradient only, so that learned rates still learn. counted: whether the support losses are
    differentiated too; where they aren't, a first-order step takes less.
    """
    first_order = inner.first_order if first_order is None else first_order
    if first_order:
        gradient = first_order_gradient(loss, counted)
    else:
        gradient = support_gradient(loss, inner.gradient, inner.remat)
    slow = meta["slow"]
    unroll = jax.default_backend() == "cpu"  # XLA:CPU runs convolutions in a while loop several times slower

    def step(fast, xs):
        batch, log_lr = xs
        value, g = gradient(fast, slow, batch, *fixed)
        return descend(fast, g, log_lr, lr_scale, normalize=inner.normalize), (value, fast)

    if inner.steps == 0:
        return InnerResult(meta["fast"], jnp.zeros(0), jax.tree.map(lambda x: jnp.zeros((0, *x.shape)), meta["fast"]))
    if inner.remat and inner.gradient == "plain" and not first_order:
        step = jax.checkpoint(step, prevent_cse=unroll)
    log_lr = jax.tree.map(lambda x: jnp.broadcast_to(x, (inner.steps, *x.shape[1:])), meta["log_lr"])
    if inner.steps == 1:  # of a scan of one step, XLA:CPU compiles gradients that are three times slower
        fast, before = step(meta["fast"], jax.tree.map(lambda x: x[0], (support, log_lr)))
        return InnerResult(fast, *jax.tree.map(lambda x: x[None], before))
    fast, before = jax.lax.scan(step, meta["fast"], (support, log_lr), unroll=unroll)
    return InnerResult(fast, *before)


def descend(fast: Flat, gradient: Flat, log_lr: Flat, lr_scale: jax.Array | float = 1.0, *, normalize: bool) -> Flat:
    """One step of (normalised) gradient descent with this step's rates."""
    gradient = normalized(gradient) if normalize else gradient
    return jax.tree.map(lambda w, g, a: w - lr_scale * jnp.exp(a) * g, fast, gradient, log_lr)


def normalized(gradient: Flat) -> Flat:
    """Each leaf divided by its root mean square."""
    return jax.tree.map(lambda g: g * jax.lax.rsqrt(jnp.square(g).mean() + _TINY), gradient)


class Step(NamedTuple):
    """What `on_step` is told before each deployment step: its number from 0, and the loss there."""

    step: int
    loss: float


class State(NamedTuple):
    """Where an adaptation stands after len(history) steps: Adam's moments are None before its first step."""

    fast: Flat
    history: tuple[float, ...]
    moments: Tree | None


def moment_shapes(fast: Flat, adam_lr: float) -> Tree:
    """The shapes of State.moments."""
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
    begin: State | None = None,
    on_step: Callable[[Step], None] | None = None,
    on_state: Callable[[State], None] | None = None,
) -> tuple[Flat, list[float]]:
    """The inner loop at deployment: `steps` steps from `meta`, one compiled gradient, the loop in Python.

    support: leaves [N, ...]; step k uses `inner.support` of them, round and round. The first `learned_steps`
    (default: `inner.steps`) steps are the meta-trained ones; any further are Adam with fresh moments, a warm-up of 5
    steps and `adam_lr`. `on_step` is told the loss before each step, `on_state` the state after 0 ... `steps` steps;
    with `begin`, one of these states, the loop goes on from there. It ends early where `settled(history, until)`.
    Returns the adapted fast parameters and the loss before each step.
    """
    begin = begin or State(meta["fast"], (), None)
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
            on_state(State(fast, tuple(history), moments))
    return fast, history


def settled(history: Sequence[float], until: float) -> bool:
    """Whether the mean loss of the last 10 steps is less than the share `until` below that of the 10 before; 0: never.

    The loss of one step tells little: each step has photographs of its own.
    """
    if not until or len(history) < 2 * WINDOW:
        return False
    before, last = np.mean(history[-2 * WINDOW : -WINDOW]), np.mean(history[-WINDOW:])
    return bool(last > (1 - until) * before)
