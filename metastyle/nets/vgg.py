"""VGG-16 features (Simonyan and Zisserman 2014) as a pure function of a params tree.

A params tree is `{"input": {"mean", "std"}, "conv1_1": {"kernel", "bias"}, ..., "conv4_3": {...}}`: pictures enter as
RGB in [0, 1] and the network's own normalisation, `(x - mean) / std`, lives in `input`. Kernels are HWIO, and any
width per layer is allowed, and so is a kernel of low rank, which a 1x1 kernel `mix` [rank, C] follows: a slim network
of the same shape is a params tree like any other.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from metastyle.errors import InputError

Params = dict[str, dict[str, jax.Array]]

TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv4_1", "conv4_2", "conv4_3")
POOLED = ("conv2_1", "conv3_1", "conv4_1")  # what these see is pooled first
CAFFE = {"channels": "bgr", "mean": [103.939 / 255, 116.779 / 255, 123.68 / 255], "std": [1 / 255] * 3}
TORCHVISION = {"channels": "rgb", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
_SLIM_WIDTHS = (8, 8, 16, 16, 32, 32, 32, 64, 64, 64)
_FULL_RANK = (0,) * len(LAYERS)


def features(
    params: Params, images: jax.Array, taps: tuple[str, ...] = TAPS, dtype=jnp.float32
) -> dict[str, jax.Array]:
    """Activations after the named ReLUs.

    images: f32[N, H, W, 3] in [0, 1], sides of at least 8 px. Returns f32[N, H / 2^(b-1), W / 2^(b-1), C] for each
    `relub_i` in `taps`. Convolutions compute in `dtype`; what is returned is float32 or wider. Raises InputError for
    unknown taps.
    """
    relus = [f"relu{layer[4:]}" for layer in LAYERS]
    if not taps or len(set(taps)) < len(taps) or not set(taps) <= set(relus):
        raise InputError(f"`taps`: expected some of {', '.join(relus)}, each once, got {', '.join(taps) or 'none'}")
    x = ((images - params["input"]["mean"]) / params["input"]["std"]).astype(dtype)
    out = {}
    for layer, tap in zip(LAYERS, relus, strict=True):
        if layer in POOLED:
            x = max_pool(x)
        x = jax.nn.relu(response(params[layer], x, dtype))
        if tap in taps:
            out[tap] = x.astype(jnp.promote_types(dtype, jnp.float32))
        if len(out) == len(taps):
            break
    return out


def response(layer: dict[str, jax.Array], x: jax.Array, dtype=jnp.float32) -> jax.Array:
    """What one convolution makes of [N, H, W, C], before its ReLU."""
    weights = {part: w.astype(dtype) for part, w in layer.items()}
    x = lax.conv_general_dilated(x, weights["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return (x @ weights["mix"] if "mix" in weights else x) + weights["bias"]


def max_pool(x: jax.Array) -> jax.Array:
    """2x2, stride 2, as the maximum of four slices: its gradient avoids XLA:CPU's slow select-and-scatter."""
    x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def random_params(seed: int = 0, widths: tuple[int, ...] = _SLIM_WIDTHS, ranks: tuple[int, ...] = _FULL_RANK) -> Params:
    """He-initialised weights with torchvision's normalisation: random features, for tests and dry runs.

    ranks: of the kernels; 0 is full.
    """
    rng = np.random.default_rng(seed)
    params = {"input": {k: jnp.asarray(TORCHVISION[k], jnp.float32) for k in ("mean", "std")}}
    for layer, fan_in, width, rank in zip(LAYERS, (3, *widths[:-1]), widths, ranks, strict=True):
        draw = lambda *shape: jnp.asarray(rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1])), jnp.float32)
        params[layer] = {"kernel": draw(3, 3, fan_in, rank or width), "bias": jnp.zeros(width, jnp.float32)}
        if rank:
            params[layer]["mix"] = draw(rank, width)
    return params
