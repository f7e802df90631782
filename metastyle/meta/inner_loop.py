"""The inner loop: K gradient steps on the fast parameters, through which the outer loop differentiates.

    fast_0 = the meta-parameters;   fast_{k+1} = fast_k - exp(log_lr_k) * n(dL(fast_k, slow; support_k) / dfast)

If `inner.normalize`, n divides each leaf by its root mean square: the losses of different styles differ by orders of
magnitude, their normalised gradients don't, so one set of rates serves all. Otherwise n(g) = g.
`log_lr` has one leaf per fast leaf, f32[K, 1, ...] (one rate per leaf and step, MAML++, Antoniou et al. 2019) or
f32[1, *leaf.shape] (one rate per parameter, Meta-SGD, Li et al. 2017).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from metastyle import config
from metastyle.meta.parameters import Meta
from metastyle.nets.params import Flat

_TINY = 1e-20  # squared gradients below it count as none
Tree = Any


class InnerResult(NamedTuple):
    """What the inner loop leads to. All of it can be differentiated.

    fast: the adapted parameters. support_losses: f32[K], the loss on the support photographs before each step. path:
    the fast parameters before each step, leaves [K, ...].
    """

    fast: Flat
    support_losses: jax.Array
    path: Flat


def initial_log_lr(fast: Flat, inner: config.Inner) -> Flat:
    """Logarithms of the rates before the outer loop has learned any.

    The rate is `inner.lr`. With normalised gradients it is divided by the fan-in of a kernel: a normalised step moves
    every weight alike, and as many of them as the fan-in move the same output.
    """

    def leaf(x):
        fan_in = int(np.prod(x.shape[:-1])) if inner.normalize and x.ndim > 1 else 1
        shape = (1, *x.shape) if inner.rate_kind == "parameter" else (max(inner.steps, 1), *(1,) * x.ndim)
        return jnp.full(shape, np.log(max(inner.lr, 1e-12) / fan_in), jnp.float32)

    return jax.tree.map(leaf, fast)


def support_gradient(loss: Callable, mode: str, remat: bool = False) -> Callable:
    """A function `(fast, slow, *fixed) -> (loss, dloss/dfast)` that reverse mode can differentiate again.

    With mode "plain", autodiff takes the second derivative (reverse over reverse). "forward_over_reverse" uses that the
    Hessian is symmetric: the vector-Jacobian product of a gradient is the directional derivative of the full gradient
    (the mixed mode of MixFlow-MG, Kemaev et al. 2025). So only the arguments need to be stored between steps, and
    `remat` ensures that nothing else is. In this mode `fixed` gets no cotangent.
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
        if remat:  # otherwise XLA computes the activations of all steps as soon as it can, long before they are used
            fast = _after(fast, of_gradient)
        full = jax.grad(loss, argnums=(0, 1))
        first, second = jax.jvp(lambda f: full(f, slow, *fixed), (fast,), (of_gradient,))
        return *jax.tree.map(lambda a, b: of_loss * a + b, first, second), *(None for _ in fixed)

    gradient.defvjp(forward, backward)
    return gradient


def _after(tree: Tree, signal: Tree) -> Tree:
    """`tree`, but not before `signal` is computed: XLA:CPU drops optimisation barriers before it schedules."""
    zero = cast(jax.Array, 0.0 * sum(jax.lax.stop_gradient(x).ravel()[0] for x in jax.tree.leaves(signal)))
    return jax.tree.map(lambda x: x + zero.astype(x.dtype), tree)


def first_order_gradient(loss: Callable, counted: bool = True) -> Callable:
    """A function `(fast, slow, *fixed) -> (loss, dloss/dfast)`, of which only the loss can be differentiated.

    The gradients of the loss are computed with its value and stored, instead of a network's activations, so
    differentiating costs nothing extra. `fixed` gets no cotangent.
    counted: False where the loss isn't differentiated either; its gradient by `slow` isn't computed then.
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
    """Adapts `meta` on `support` (leaves [K, ...]) in K = `inner.steps` steps.

    Args:
      fixed: what `loss(fast, slow, batch, *fixed)` takes after the batch.
      first_order: stops the gradient through the inner gradient only, so that learned rates still learn. By default it
        is `inner.first_order`.
      lr_scale: the factor of all rates.
      counted: whether the support losses are differentiated too. Where they aren't, a first-order step takes less time.
    """
    first_order = inner.first_order if first_order is None else first_order
    if first_order:
        gradient = first_order_gradient(loss, counted)
    else:
        gradient = support_gradient(loss, inner.gradient, inner.remat)
    unroll = jax.default_backend() == "cpu"  # XLA:CPU runs convolutions in a while loop several times slower

    def step(fast, xs):
        batch, log_lr = xs
        value, g = gradient(fast, meta.slow, batch, *fixed)
        return descend(fast, g, log_lr, lr_scale, normalize=inner.normalize), (value, fast)

    if inner.steps == 0:
        return InnerResult(meta.fast, jnp.zeros(0), jax.tree.map(lambda x: jnp.zeros((0, *x.shape)), meta.fast))
    if inner.remat and inner.gradient == "plain" and not first_order:
        step = jax.checkpoint(step, prevent_cse=unroll)
    log_lr = jax.tree.map(lambda x: jnp.broadcast_to(x, (inner.steps, *x.shape[1:])), meta.log_lr)
    if inner.steps == 1:  # for a scan of one step, XLA:CPU compiles gradients that are three times slower
        fast, before = step(meta.fast, jax.tree.map(lambda x: x[0], (support, log_lr)))
        return InnerResult(fast, *jax.tree.map(lambda x: x[None], before))
    fast, before = jax.lax.scan(step, meta.fast, (support, log_lr), unroll=unroll)
    return InnerResult(fast, *before)


def descend(fast: Flat, gradient: Flat, log_lr: Flat, lr_scale: jax.Array | float = 1.0, *, normalize: bool) -> Flat:
    """One step of (normalised) gradient descent, with the rates of this step."""
    gradient = normalized(gradient) if normalize else gradient
    return jax.tree.map(lambda w, g, a: w - lr_scale * jnp.exp(a) * g, fast, gradient, log_lr)


def normalized(gradient: Flat) -> Flat:
    """Each leaf divided by its root mean square."""
    return jax.tree.map(lambda g: g * jax.lax.rsqrt(jnp.square(g).mean() + _TINY), gradient)
