"""VGG-16 features (Simonyan and Zisserman 2014) as a pure function of a params tree.

A params tree is `{"input": {"mean", "std"}, "conv1_1": {"kernel", "bias"}, ..., "conv4_3": {...}}`. Pictures enter as
RGB in [0, 1], and `input` holds the network's own normalisation, `(x - mean) / std`. Kernels are HWIO. Layers may have
any width, and a kernel may have a low rank: a 1x1 kernel `mix` [rank, C] then follows it. So a slim network, with fewer
channels and ranks, is a params tree of the same form.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from metastyle.errors import InputError

Params = dict[str, dict[str, jax.Array]]

TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv4_1", "conv4_2", "conv4_3")
POOLED = ("conv2_1", "conv3_1", "conv4_1")  # max-pooling comes before these


class Convention(NamedTuple):
    """The input that weights were trained with: `(x - mean) / std` of pictures in [0, 1], in this order of channels."""

    channels: str  # "rgb" or "bgr"
    mean: tuple[float, ...]  # three numbers, in that order
    std: tuple[float, ...]


CAFFE = Convention("bgr", (103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255, 1 / 255, 1 / 255))
TORCHVISION = Convention("rgb", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_SLIM_WIDTHS = (8, 8, 16, 16, 32, 32, 32, 64, 64, 64)
_FULL_RANK = (0,) * len(LAYERS)


def features(
    params: Params,
    images: jax.Array,
    taps: tuple[str, ...] = TAPS,
    dtype=jnp.float32,
    inside: jax.Array | None = None,
) -> dict[str, jax.Array]:
    """Computes the activations after the named ReLUs.

    Args:
      images: f32[N, H, W, 3] in [0, 1], with sides of at least 8 px.
      taps: ReLUs "relub_i" of layers "convb_i".
      dtype: in which convolutions compute.
      inside: f32[N or 1, H, W, 1], for pictures that were padded below and on the right: 1 in the picture, 0 in the
        padding. The features in the picture are as they are without the padding, and those in the padding are 0.

    Returns:
      f32[N, H / 2^(b-1), W / 2^(b-1), C] (or wider floats, if `dtype` is) for each "relub_i" in `taps`.

    Raises:
      InputError: no taps, or one that is unknown or repeated.
    """
    relus = [f"relu{layer[4:]}" for layer in LAYERS]
    if not taps or len(set(taps)) < len(taps) or not set(taps) <= set(relus):
        raise InputError(f"`taps`: expected some of {', '.join(relus)}, each once, got {', '.join(taps) or 'none'}")
    x = ((images - params["input"]["mean"]) / params["input"]["std"]).astype(dtype)
    x, out = _masked(x, inside), {}
    for layer, tap in zip(LAYERS, relus, strict=True):
        if layer in POOLED:
            inside = None if inside is None else halved_mask(inside)
            x = _masked(max_pool(x), inside)
        x = _masked(jax.nn.relu(response(params[layer], x, dtype)), inside)
        if tap in taps:
            out[tap] = x.astype(jnp.promote_types(dtype, jnp.float32))
        if len(out) == len(taps):
            break
    return out


def halved_mask(inside: jax.Array) -> jax.Array:
    """The mask of pictures after a halving that drops an odd last row or column: [N, H, W, 1] -> [N, H//2, W//2, 1]."""
    return inside[:, 1::2, 1::2]


def _masked(x: jax.Array, inside: jax.Array | None) -> jax.Array:
    return x if inside is None else x * inside.astype(x.dtype)


def response(layer: dict[str, jax.Array], x: jax.Array, dtype=jnp.float32) -> jax.Array:
    """Applies one convolution to [N, H, W, C], without the ReLU that follows it."""
    weights = {part: w.astype(dtype) for part, w in layer.items()}
    x = lax.conv_general_dilated(x, weights["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return (x @ weights["mix"] if "mix" in weights else x) + weights["bias"]


def max_pool(x: jax.Array) -> jax.Array:
    """Max-pools 2x2 with stride 2, as the maximum of four slices: XLA:CPU's gradient of its own pooling is slow."""
    x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def random_params(seed: int = 0, widths: tuple[int, ...] = _SLIM_WIDTHS, ranks: tuple[int, ...] = _FULL_RANK) -> Params:
    """Draws He-initialised weights, with torchvision's normalisation: random features for tests and dry runs.

    ranks: those of the kernels; 0 is the full rank.
    """
    rng = np.random.default_rng(seed)
    mean, std = (jnp.asarray(values, jnp.float32) for values in (TORCHVISION.mean, TORCHVISION.std))
    params = {"input": {"mean": mean, "std": std}}
    for layer, fan_in, width, rank in zip(LAYERS, (3, *widths[:-1]), widths, ranks, strict=True):
        draw = lambda *shape: jnp.asarray(rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1])), jnp.float32)
        params[layer] = {"kernel": draw(3, 3, fan_in, rank or width), "bias": jnp.zeros(width, jnp.float32)}
        if rank:
            params[layer]["mix"] = draw(rank, width)
    return params
