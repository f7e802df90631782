"""What a task asks for: the loss that the inner loop lowers, and what is computed once, before the first step.

A task is a style and photographs. The inner loop learns on the support photographs; the query photographs judge it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metastyle import config
from metastyle.losses import perceptual
from metastyle.losses.shift import shift_loss
from metastyle.nets import generator, noise, style_encoder, vgg
from metastyle.nets.params import Flat
from metastyle.system.programs import bounded_jit

Tree = Any
LossFunction = Callable[[Flat, Flat, Tree, Tree, Any], jax.Array]  # (fast, slow, batch, target, networks) -> f32[]


class Networks(NamedTuple):
    """The loss networks. `inner` leads the inner loop; it judges the query too, unless there is an `outer` network."""

    inner: vgg.Params
    outer: vgg.Params | None = None

    @property
    def judge(self) -> vgg.Params:
        """The network that judges the query."""
        return self.inner if self.outer is None else self.outer


class Targets(NamedTuple):
    """The style's statistics as each of the `Networks` measures them; `outer` is None where that network is."""

    inner: perceptual.Target
    outer: perceptual.Target | None = None

    @property
    def judge(self) -> perceptual.Target:
        """The statistics that the query is compared with."""
        return self.inner if self.outer is None else self.outer


class Prepared(NamedTuple):
    """What stays fixed while a task is learned. It is computed once, not at every step.

    target: what outputs are compared with; `Targets` in a style problem. support: leaves [K, ...], one batch for each
    inner step. query: one batch. code: what the encoder reads (nets/style_encoder.py).
    """

    target: Tree
    support: Tree
    query: Tree
    code: Tree = None


class Problem(NamedTuple):
    """A family of tasks.

    prepare: `prepare(task, networks) -> Prepared`. loss: `loss(fast, slow, batch, target, networks) -> scalar`. It must
    be a function of its arguments alone; only `fast` and `slow` may depend on meta-parameters. query_loss: takes the
    same arguments, with the query batch; None where it is `loss`.

    In a style problem `networks` are the `Networks`. Tests pass something simpler.
    """

    prepare: Callable[[Tree, Any], Prepared]
    loss: LossFunction
    query_loss: LossFunction | None = None

    @property
    def outer_loss(self) -> LossFunction:
        """What the outer loop minimises."""
        return self.query_loss or self.loss


@functools.cache
def style_problem(
    net: config.Generator,
    loss: config.Loss,
    other_judge: bool = False,
    side_by_side: bool = False,
    code_octaves: int = 1,
) -> Problem:
    """The problem of stylising photographs in one style. A task is {"style", "support", "query"}, as in data/tasks.py.

    Args:
      other_judge: whether the query loss is that of another network than the inner loop's: `Networks.outer`.
      side_by_side: computes in the form that is fast where `jax.vmap` goes over tasks (`generator.Network`).
      code_octaves: of the codes that the encoder reads.
    """
    dtype = jnp.dtype(net.dtype)

    def prepare(task, networks):
        # Batch by batch, because the features of all photographs together take K times the memory of one step.
        support = _map(lambda pictures: content_batch(networks.inner, pictures, loss, dtype), task["support"])
        query = content_batch(networks.judge, task["query"], loss, dtype)
        target = Targets(perceptual.style_target(networks.inner, task["style"], loss, dtype))
        if networks.outer is not None:
            target = target._replace(outer=perceptual.style_target(networks.outer, task["style"], loss, dtype))
        return Prepared(target, support, query, style_encoder.code(networks.inner, task["style"], dtype, code_octaves))

    def style_loss(fast, slow, batch, target, params):
        photographs, seed = batch["images"], batch["seed"][0]
        drawn = generator.with_seed(fast | slow, seed)
        stylize = lambda pictures: generator.apply(net, drawn, pictures, side_by_side=side_by_side)
        outputs = stylize(photographs)
        total = perceptual.perceptual(params, outputs, batch["content"], target, loss, dtype).total
        if loss.shift:
            total = total + loss.shift * shift_loss(stylize, photographs, outputs, seed)
        return total.mean()

    def support_loss(fast, slow, batch, target, networks):
        return style_loss(fast, slow, batch, target.inner, networks.inner)

    def query_loss(fast, slow, batch, target, networks):
        return style_loss(fast, slow, batch, target.judge, networks.judge)

    return Problem(prepare, support_loss, query_loss if other_judge else None)


def _map(function: Callable, xs: jax.Array) -> Tree:
    """`function` of each x, stacked. On CPUs it uses no while loop, in which convolutions are slow."""
    if jax.default_backend() != "cpu" or len(xs) == 0:
        return jax.lax.map(function, xs)
    return jax.tree.map(lambda *x: jnp.stack(x), *map(function, xs))


def content_batch(params: vgg.Params, pictures: perceptual.Array, loss: config.Loss, dtype: Any = jnp.float32) -> Tree:
    """Photographs f32[N, H, W, 3], with the features that their stylisations are compared with, and seeds f32[N].

    A style shall hold for every drawing of the noise, so each batch has its own: that of its first photograph.
    """
    kept = perceptual.content_target(params, pictures, loss, dtype)
    return {"images": pictures, "content": kept, "seed": noise.drawn_seed(pictures)}


class StyleMeasure(NamedTuple):
    """A style's statistics, and the code that the encoder reads."""

    target: perceptual.Target
    code: jax.Array


class Measure(NamedTuple):
    """What a style problem computes once per task, compiled, for pictures that come one by one.

    `style(params, pictures)` measures pictures of a style. `content(params, pictures)` is `content_batch`.
    """

    style: Callable[[vgg.Params, perceptual.Array], StyleMeasure]
    content: Callable[[vgg.Params, perceptual.Array], Tree]


@functools.cache
def make_measure(net: config.Generator, loss: config.Loss, code_octaves: int = 1) -> Measure:
    """The `Measure` for outputs of this generator under this loss, with codes of so many octaves."""
    dtype = jnp.dtype(net.dtype)

    def style(params, pictures):
        target = perceptual.style_target(params, pictures, loss, dtype)
        return StyleMeasure(target, style_encoder.code(params, pictures, dtype, code_octaves))

    def content(params, pictures):
        return content_batch(params, pictures, loss, dtype)

    return Measure(bounded_jit(style), bounded_jit(content))
