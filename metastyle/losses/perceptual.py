"""Perceptual losses on VGG features (Gatys et al. 2016; Johnson et al. 2016).

The default loss is relative, so it does not depend on the scale of features: styles are comparable, and one set of
learning rates serves all of them.

    content  C = |F(out) - F(photo)|^2 / |F(photo)|^2                      at relu3_3
    style    S = mean over taps of |G(out) - G(style)|_F^2 / |G(style)|_F^2
    total    J = C + 5 S

`kind="paper"` is MetaStyle's loss (Zhang et al. 2019): mean squared errors of features at relu2_2 and of Gram / C at
all four taps, on features in the units of torchvision's normalisation. Its weights are `content=1, style=1e5`.

With `octaves=3`, S is the mean of the style losses at full, half and quarter size (nets/octaves.py). A Gram matrix of
VGG-16 says nothing about shapes of more than about 90 px, so at full size alone a painting's large shapes are not asked
for.

Two terms may be added that look at the picture itself: `tv` (total variation) and `grid` (losses/grid.py). Their
weights are 0 by default, and a reported J never includes them.
"""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from metastyle.config import Loss
from metastyle.losses.grid import grid_loss
from metastyle.nets import vgg
from metastyle.nets.octaves import octaves
from metastyle.nets.params import Array

_EPS = 1e-8  # keeps a ratio finite for a picture without any features; far below any real denominator
_TINY = 1e-20  # keeps a cosine finite; gradients are small numbers
CONTENT_TAP = {"relative": "relu3_3", "paper": "relu2_2"}

# For each tap, at half size under "relu1_2/2" and so on: {"gram"}, f32[N, C, C], or {"mean", "variance"}, f32[N, C].
Target = dict[str, dict[str, jax.Array]]


class Parts(NamedTuple):
    """The parts of the loss and their weighted sum, each f32[N], one value per output picture.

    Where the weight of `grid` is 0, so is `grid`: spectra that don't count are not computed.

    by_octave: f32[N, octaves], the style losses whose mean is `style`, from the full size down.
    """

    content: jax.Array
    style: jax.Array
    tv: jax.Array
    grid: jax.Array
    total: jax.Array
    by_octave: jax.Array


@jax.custom_jvp
def gram(features: jax.Array) -> jax.Array:
    """F^T F / (h w): f32[N, h, w, C] -> f32[N, C, C]."""
    return _product(features, features)


@gram.defjvp
def _gram_tangent(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Computes F^T dF once. Autodiff alone would compute dF^T F as a second product, in its gradients too."""
    (features,), (change,) = primals, tangents
    product = _product(features, change)
    return gram(features), product + product.mT


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    n, h, w, c = a.shape
    a, b = a.reshape(n, h * w, c), b.reshape(n, h * w, c)
    if n == 1:  # on CPUs, XLA's gradient of a product with a batch axis takes twice as long
        return (a[0].T @ b[0])[None] / (h * w)
    return jnp.einsum("npc,npd->ncd", a, b) / (h * w)


def moments(features: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance over positions: f32[N, h, w, C] -> two f32[N, C]."""
    return features.mean((1, 2)), features.var((1, 2))


def total_variation(images: jax.Array) -> jax.Array:
    """Mean absolute difference of horizontal neighbours plus that of vertical ones: f32[N, H, W, 3] -> f32[N]."""
    return jnp.abs(jnp.diff(images, axis=1)).mean((1, 2, 3)) + jnp.abs(jnp.diff(images, axis=2)).mean((1, 2, 3))


def style_target(params: vgg.Params, pictures: Array, loss: Loss, dtype: Any = jnp.float32) -> Target:
    """The statistics of one style, which those of an output are compared with.

    pictures: f32[shots, H, W, 3] in [0, 1]. The Gram matrix is the unweighted mean of those of the pictures. The mean
    and the standard deviation are those of all pictures' pixels pooled, with equal weight per picture.
    """
    return jax.tree.map(lambda x: x[None], _pool(_see(params, pictures, loss, dtype).statistics))


def mean_target(targets: list[Target]) -> Target:
    """Combines targets of pictures that were measured one by one, which may have different sizes.

    For pictures of one size it is `style_target` of all of them.
    """
    if len(targets) == 1:
        return targets[0]
    return jax.tree.map(lambda x: x[None], _pool(jax.tree.map(lambda *x: jnp.concatenate(x), *targets)))


def content_target(params: vgg.Params, photographs: Array, loss: Loss, dtype: Any = jnp.float32) -> jax.Array:
    """The features that an output should keep: f32[N, H, W, 3] in [0, 1] -> f32[N, h, w, C]."""
    tap = CONTENT_TAP[loss.kind]
    return _features(params, cast(jax.Array, photographs), (tap,), loss, dtype)[tap]


def perceptual(
    params: vgg.Params, outputs: jax.Array, content: jax.Array, style: Target, loss: Loss, dtype: Any = jnp.float32
) -> Parts:
    """The loss of each of `outputs`, f32[N, H, W, 3] in [0, 1].

    content: a `content_target`. style: a `style_target`.
    """
    kept, statistics = _see(params, outputs, loss, dtype)
    relative = loss.kind == "relative"
    content_loss = ratio(kept, content) if relative else jnp.square(kept - content).mean((1, 2, 3))
    by_octave = []
    for octave in range(loss.octaves):
        names = [_name(tap, octave) for tap in vgg.TAPS]
        if relative:
            errors = [ratio(_comparable(statistics[name]), _comparable(style[name])) for name in names]
            by_octave.append(sum(errors) / len(errors))
        else:
            by_octave.append(sum(_style_error(statistics[name], style[name]) for name in names))
    style_loss = cast(jax.Array, sum(by_octave) / loss.octaves)
    tv = total_variation(outputs)
    grid = grid_loss(outputs) if loss.grid else jnp.zeros_like(tv)
    total = loss.content * content_loss + loss.style * style_loss + loss.tv * tv + loss.grid * grid
    return Parts(content_loss, style_loss, tv, grid, total, jnp.stack(by_octave, -1))


class _Seen(NamedTuple):
    """What the loss compares of pictures: features at full size for the content, statistics at every octave."""

    kept: jax.Array
    statistics: Target


def _see(params: vgg.Params, pictures: Array, loss: Loss, dtype: Any) -> _Seen:
    kept, statistics = None, {}
    for octave, scaled in enumerate(octaves(cast(jax.Array, pictures), loss.octaves)):  # numpy arrays will do, too
        features = _features(params, scaled, vgg.TAPS, loss, dtype)
        kept = features[CONTENT_TAP[loss.kind]] if kept is None else kept
        statistics |= {_name(tap, octave): _statistic(x, loss) for tap, x in features.items()}
    return _Seen(cast(jax.Array, kept), statistics)


def _name(tap: str, octave: int) -> str:
    """The key in `Target` of the statistics at this tap for pictures that were halved `octave` times."""
    return f"{tap}/{2**octave}" if octave else tap


def _features(
    params: vgg.Params, pictures: jax.Array, taps: tuple[str, ...], loss: Loss, dtype: Any
) -> dict[str, jax.Array]:
    """The features in the units that the loss is for."""
    features = vgg.features(params, pictures, taps, dtype)
    if loss.kind == "relative":
        return features
    # The paper's weights hold for torchvision's units; Caffe's network sees pixels about 57 times as large.
    scale = params["input"]["std"].mean() / (sum(vgg.TORCHVISION.std) / 3)
    return jax.tree.map(lambda x: x * scale, features)


def _statistic(features: jax.Array, loss: Loss) -> dict[str, jax.Array]:
    if loss.statistic == "gram":
        return {"gram": gram(features)}
    mean, variance = moments(features)
    return {"mean": mean, "variance": variance}


def _pool(statistics: Target) -> Target:
    """The statistics of all N pictures together, without the first axis."""
    pooled = jax.tree.map(lambda x: x.mean(0), statistics)
    for tap, s in statistics.items():
        if "variance" in s:  # by the law of total variance, because E[x^2] - mean^2 would cancel
            pooled[tap]["variance"] += s["mean"].var(0)
    return pooled


def _comparable(statistic: dict[str, jax.Array]) -> jax.Array:
    """One array of a tap's statistics: the Gram matrix, or means and standard deviations."""
    if "gram" in statistic:
        return statistic["gram"]
    return jnp.stack([statistic["mean"], jnp.sqrt(statistic["variance"] + _EPS)], -1)


def ratio(value: jax.Array, target: jax.Array) -> jax.Array:
    """|value - target|^2 / |target|^2: two arrays [N, ...] -> [N]."""
    axes = tuple(range(1, value.ndim))
    return jnp.square(value - target).sum(axes) / (jnp.square(target).sum(axes) + _EPS)


def cosine(a: jax.Array, b: jax.Array) -> jax.Array:
    """The cosine of the angle between two arrays [N, ...]: [N]."""
    axes = tuple(range(1, a.ndim))
    return (a * b).sum(axes) * jax.lax.rsqrt(jnp.square(a).sum(axes) * jnp.square(b).sum(axes) + _TINY)


def _style_error(statistic: dict[str, jax.Array], target: dict[str, jax.Array]) -> jax.Array:
    error = jnp.square(_comparable(statistic) - _comparable(target))
    # The paper divides each Gram matrix by C h w, `gram` by h w.
    scale = statistic["gram"].shape[-1] ** 2 if "gram" in statistic else 1
    return error.mean(tuple(range(1, error.ndim))) / scale
