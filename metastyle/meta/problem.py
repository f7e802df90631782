"""What is learned for a task: the loss, and what of a task is computed once, before its first step."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metastyle import config
from metastyle.losses import perceptual
from metastyle.nets import generator, style_encoder, vgg
from metastyle.nets.params import Flat

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
def make_measure(net: config.Generator, loss: config.Loss) -> Measure:
    """The once-per-task part of a style problem, for deployment, where pictures come one by one."""
    dtype = jnp.dtype(net.dtype)

    def style(params, pictures):
        return perceptual.style_target(params, pictures, loss, dtype), style_encoder.code(params, pictures, dtype)

    return Measure(
        jax.jit(style),
        jax.jit(lambda params, pictures: content_batch(params, pictures, loss, dtype)),
    )
