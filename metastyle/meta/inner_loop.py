"""The inner loop: K gradient steps on the fast parameters, differentiable through.

    fast_0 = the meta-parameters;   fast_{k+1} = fast_k - exp(log_lr_k) * n(dL(fast_k, slow; support_k) / dfast)

n divides each leaf by its root mean square if `inner.normalize`: losses of different styles differ by orders of
magnitude, their normalised gradients don't, so one set of rates serves all. Otherwise n(g) = g.
`log_lr` has one leaf per fast leaf, f32[K, 1, ...] (one rate per leaf and step, MAML++, Antoniou et al. 2019) or
f32[1, *leaf.shape] (one per parameter, Meta-SGD, Li et al. 2017).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metastyle import config
from metastyle.meta.parameters import Meta
from metastyle.nets.params import Flat

_TINY = 1e-20  # squared gradients below it count as none
Tree = Any


class InnerResult(NamedTuple):
    """Adapted parameters; the support loss f32[K] and the parameters, leaves [K, ...], before each step.

    All can be differentiated.
    """

    fast: Flat
    support: jax.Array
    path: Flat


def initial_log_lr(fast: Flat, inner: config.Inner) -> Flat:
    """Rates before any is learned: `inner.lr`; with normalised gradients, divided by the fan-in of a kernel.

    A normalised step moves every weight alike, and the fan-in many of them move the same output.
    """

    def leaf(x):
        fan_in = int(np.prod(x.shape[:-1])) if inner.normalize and x.ndim > 1 else 1
        shape = (1, *x.shape) if inner.rate_kind == "parameter" else (max(inner.steps, 1), *(1,) * x.ndim)
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
    meta: Meta,
    support: Tree,
    fixed: tuple,
    inner: config.Inner,
    *,
    first_order: bool | None = None,
    lr_scale: jax.Array | float = 1.0,
    counted: bool = True,
) -> InnerResult:
    """Adapts `meta` on `support` (leaves [K, ...]), K = `inner.steps`.

    fixed: what `loss(fast, slow, batch, *fixed)` takes after the batch. first_order (default: the config's) stops the
    gradient through the inner gradient only, so that learned rates still learn. counted: whether the support losses are
    differentiated too; where they aren't, a first-order step takes less.
    """
    first_order = inner.first_order if first_order is None else first_order
    if first_order:
        gradient = first_order_gradient(loss, counted)
    else:
        gradient = support_gradient(loss, inner.gradient, inner.remat)
    slow = meta.slow
    unroll = jax.default_backend() == "cpu"  # XLA:CPU runs convolutions in a while loop several times slower

    def step(fast, xs):
        batch, log_lr = xs
        value, g = gradient(fast, slow, batch, *fixed)
        return descend(fast, g, log_lr, lr_scale, normalize=inner.normalize), (value, fast)

    if inner.steps == 0:
        return InnerResult(meta.fast, jnp.zeros(0), jax.tree.map(lambda x: jnp.zeros((0, *x.shape)), meta.fast))
    if inner.remat and inner.gradient == "plain" and not first_order:
        step = jax.checkpoint(step, prevent_cse=unroll)
    log_lr = jax.tree.map(lambda x: jnp.broadcast_to(x, (inner.steps, *x.shape[1:])), meta.log_lr)
    if inner.steps == 1:  # of a scan of one step, XLA:CPU compiles gradients that are three times slower
        fast, before = step(meta.fast, jax.tree.map(lambda x: x[0], (support, log_lr)))
        return InnerResult(fast, *jax.tree.map(lambda x: x[None], before))
    fast, before = jax.lax.scan(step, meta.fast, (support, log_lr), unroll=unroll)
    return InnerResult(fast, *before)


def descend(fast: Flat, gradient: Flat, log_lr: Flat, lr_scale: jax.Array | float = 1.0, *, normalize: bool) -> Flat:
    """One step of (normalised) gradient descent with this step's rates."""
    gradient = normalized(gradient) if normalize else gradient
    return jax.tree.map(lambda w, g, a: w - lr_scale * jnp.exp(a) * g, fast, gradient, log_lr)


def normalized(gradient: Flat) -> Flat:
    """Each leaf divided by its root mean square."""
    return jax.tree.map(lambda g: g * jax.lax.rsqrt(jnp.square(g).mean() + _TINY), gradient)
