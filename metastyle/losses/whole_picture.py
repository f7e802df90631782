"""J and its gradient for one picture of any size, in bounded memory and by a few compiled programs.

A program is compiled for a shape, so that photographs of twenty sizes would need twenty of them. Here a picture is
padded below and on the right (nets/extent.py), and a mask takes the padding out again: features in it are 0
(vgg.features), as beyond the border of a picture, and no sum counts them. The result is exact.

The gradient of a network holds its features at every layer: a process takes 2.9 GiB with VGG-16 and 1,024 x 1,024 px. A
larger picture, or octave of one, goes through in windows that overlap. The Gram matrix of the whole is the sum over the
windows' cores, the parts that no border of a window is near to: the first pass computes it. From it follows the
derivative of J by each Gram matrix, and the second pass takes that back to the pixels, window by window.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from metastyle.config import Loss
from metastyle.losses import perceptual
from metastyle.nets import vgg
from metastyle.nets.extent import Extent
from metastyle.nets.octaves import octaves
from metastyle.system.programs import bounded_jit

WHOLE = 1024 * 1024  # px: pictures of so many go through the network as a whole
_WINDOW = 768  # px, the side of windows of larger ones
_MARGIN = 56  # px, a multiple of 8: no feature at relu4_3 sees further than 49 px
_TAP = perceptual.CONTENT_TAP["relative"]

Grams = dict[str, jax.Array]  # by tap: f32[C, C]
Objective = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


def style_grams(params: vgg.Params, painting: np.ndarray, count: int) -> list[Grams]:
    """The Gram matrices at the taps of a painting f32[H, W, 3] in [0, 1], for each of `count` octaves."""
    place = Extent.of(*painting.shape[:2])
    inside = place.inside()
    scaled, masks = _octaves(count, inside, place.pad(painting)), _masks(count, inside)
    return [_normalised(_sums(params, *one), one[1]) for one in zip(scaled, masks, strict=True)]


def weighted_sum(every: Sequence[list[Grams]], weights: Sequence[float]) -> list[Grams]:
    """The sum, with these weights, of the `style_grams` of several pictures."""
    return jax.tree.map(lambda *x: sum(w * y for w, y in zip(weights, x, strict=True)), *every)


def objective(params: vgg.Params, photograph: np.ndarray, goal: list[Grams], loss: Loss) -> Objective:
    """J = C + 5 S, with S the mean over the octaves of `goal`, as a function of a padded picture (`Extent.pad`).

    It returns J and its gradient, f32[H', W', 3], which is 0 in the padding. J is that of losses/perceptual.py.

    Args:
      photograph: f32[H, W, 3] in [0, 1], whose content is kept. No side may be shorter than 8 px at any octave.
      goal: a `weighted_sum`.
      loss: its weights of content and style count.
    """
    place = Extent.of(*photograph.shape[:2])
    padded, inside = place.pad(photograph), place.inside()
    weights = loss.content, loss.style / (len(goal) * len(vgg.TAPS))
    if math.prod(place.padded) <= WHOLE:
        kept, _ = _content(params, padded, inside, inside)
        return functools.partial(_whole, params, goal, inside, kept, weights)
    kept = [_content(params, *_cut(window, padded, inside)) for window in _windows(*place.padded)]
    return functools.partial(_in_windows, params, goal, inside, kept, weights)


@functools.partial(bounded_jit, static_argnums=0)
def _octaves(count: int, inside: jax.Array, picture: jax.Array) -> list[jax.Array]:
    return [x[0] for x in octaves(picture[None], count, inside)]


def _masks(count: int, inside: jax.Array) -> list[jax.Array]:
    masks = [inside]
    while len(masks) < count:
        masks.append(vgg.halved_mask(masks[-1]))
    return masks


@bounded_jit
def _whole(params, goal, inside, kept, weights, picture):
    def value(picture):
        total, masks = 0.0, _masks(len(goal), inside)
        for octave, scaled in enumerate(_octaves(len(goal), inside, picture)):
            features = vgg.features(params, scaled[None], inside=masks[octave])
            sums = _products(features, masks[octave])
            total += weights[1] * _style_loss(_normalised(sums, masks[octave]), goal[octave])
            if octave == 0:
                total += weights[0] * perceptual.ratio(features[_TAP], kept)[0]
        return total

    return jax.value_and_grad(value)(picture)


def _in_windows(params, goal, inside, kept, weights, picture) -> tuple[jax.Array, jax.Array]:
    """`_whole` in two passes over windows."""
    scaled, back = jax.vjp(functools.partial(_octaves, len(goal), inside), picture)
    squares = sum(squares for _, squares in kept)
    total, gradients = jnp.zeros(()), []
    for octave, (one, mask) in enumerate(zip(scaled, _masks(len(goal), inside), strict=True)):
        style, slopes = _slopes(_sums(params, one, mask), mask, goal[octave], weights[1])
        total, gradient = total + style, jnp.zeros_like(one)
        for i, window in enumerate(_windows(*one.shape[:2])):
            content = None if octave else (kept[i][0], weights[0] / squares)
            value, part = _window_gradient(params, slopes, content, *_cut(window, one, mask))
            total, gradient = total + value, gradient.at[window.rows, window.columns].add(part)
        gradients.append(gradient)
    return total, back(gradients)[0]


class _Window(NamedTuple):
    """A part of a padded picture. core: f32[1, h, w, 1], 1 where no border of the window is near."""

    rows: slice
    columns: slice
    core: jax.Array


def _windows(height: int, width: int) -> Iterator[_Window]:
    """Windows of one shape, whose cores cover a padded picture of this size and don't overlap."""
    if height * width <= WHOLE:
        yield _Window(slice(0, height), slice(0, width), jnp.ones((1, height, width, 1)))
        return
    for rows, tall in _spans(height):
        for columns, wide in _spans(width):
            yield _Window(rows, columns, jnp.asarray(tall[None, :, None, None] * wide[None, None, :, None]))


def _spans(length: int) -> list[tuple[slice, np.ndarray]]:
    """The windows along one side, each with its core, f32[window]."""
    size = min(length, _WINDOW)
    step = size - 2 * _MARGIN
    starts = [min(step * i, length - size) for i in range(1 + -(-(length - size) // step))]
    ends = [start + _MARGIN for start in starts[1:]] + [length]
    found = []
    for start, begin, end in zip(starts, [0, *ends], ends, strict=False):
        core = np.zeros(size, np.float32)
        core[begin - start : end - start] = 1
        found.append((slice(start, start + size), core))
    return found


def _cut(window: _Window, picture: jax.Array, inside: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The picture in a window, and where the window has the picture and not padding; and its core without padding."""
    there = inside[:, window.rows, window.columns]
    return picture[window.rows, window.columns], there, window.core * there


def _sums(params: vgg.Params, picture: jax.Array, inside: jax.Array) -> Grams:
    """The sums over all positions of one octave of a picture, window by window."""
    total = None
    for window in _windows(*picture.shape[:2]):
        found = _window_sums(params, *_cut(window, picture, inside))
        total = found if total is None else jax.tree.map(jnp.add, total, found)
    return cast(Grams, total)


@bounded_jit
def _window_sums(params, picture, inside, core):
    return _products(vgg.features(params, picture[None], inside=inside), core)


@bounded_jit
def _window_gradient(params, slopes, content, picture, inside, core):
    """The content's share of J, and the gradient by the pixels of what the window adds to J."""

    def value(picture):
        features = vgg.features(params, picture[None], inside=inside)
        sums = _products(features, core)
        style = sum(jnp.vdot(slopes[tap], sums[tap]) for tap in vgg.TAPS)
        if content is None:
            return style, jnp.zeros(())
        kept, weight = content
        change = weight * jnp.square((features[_TAP] - kept) * _at(features[_TAP], core)).sum()
        return style + change, change

    (_, change), gradient = jax.value_and_grad(value, has_aux=True)(picture)
    return change, gradient


@bounded_jit
def _content(params, picture, inside, core):
    """The photograph's features at the content tap, and the sum of their squares in the core."""
    features = vgg.features(params, picture[None], (_TAP,), inside=inside)[_TAP]
    return features, jnp.square(features * _at(features, core)).sum()


def _products(features: dict[str, jax.Array], core: jax.Array) -> Grams:
    """The sums over the positions in the core of the products of features."""
    return {tap: perceptual.gram(x * _at(x, core))[0] * (x.shape[1] * x.shape[2]) for tap, x in features.items()}


def _at(features: jax.Array, mask: jax.Array) -> jax.Array:
    """A mask of pixels at the resolution of features."""
    while mask.shape[1] > features.shape[1]:
        mask = vgg.halved_mask(mask)
    return mask


def _normalised(sums: Grams, inside: jax.Array) -> Grams:
    """The Gram matrices, from the sums over all positions of a picture."""
    found = {}
    for tap in vgg.TAPS:
        found[tap] = sums[tap] / inside.sum()
        inside = vgg.halved_mask(inside)
    return found


def _style_loss(grams: Grams, goal: Grams) -> jax.Array:
    return cast(jax.Array, sum(perceptual.ratio(grams[tap][None], goal[tap][None])[0] for tap in vgg.TAPS))


@bounded_jit
def _slopes(sums, inside, goal, weight):
    return jax.value_and_grad(lambda sums: weight * _style_loss(_normalised(sums, inside), goal))(sums)
