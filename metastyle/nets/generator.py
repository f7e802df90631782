"""The networks in Flax: one `Network` for every string of the architecture language."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from metastyle import config
from metastyle.nets.architecture import Conv, Head, Noise, Residual, check_size, parse, run, walk
from metastyle.nets.layers import InstanceNorm, NoiseMaps, ReflectConv, SubpixelConv, space_to_depth, upsample
from metastyle.nets.params import Array, Flat, flatten, unflatten
from metastyle.nets.phases import shifts

_SIDE = 32  # px: the side of the picture on which a network is initialised, which suits every net


class Network(nn.Module):
    """The network of an architecture: f32[N, H, W, 3] in [0, 1] -> the same. H and W are multiples of `Net.multiple`.

    head: with "patch", the network is a discriminator and returns f32[N, H / s, W / s, 1], unbounded. side_by_side: the
    network is meant for `jax.vmap` over kernels that differ from task to task. Convolutions would be grouped then,
    which is slow everywhere, so adapters and a last p are computed as matrix products (`reflect_product`).
    """

    arch: str
    dtype: Any = jnp.float32
    side_by_side: bool = False
    head: Head = "picture"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        net = parse(self.arch, head=self.head)
        return walk(net, FlaxLayers(self.dtype, self.side_by_side), x.astype(self.dtype))


class ResidualBlock(nn.Module):
    """x + body(x), for example x + norm(conv(relu(norm(conv(x)))))."""

    op: Residual
    layers: "FlaxLayers"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return x + run(self.op.body, self.layers, x)


@dataclasses.dataclass(frozen=True)
class FlaxLayers:
    """The Flax backend of `architecture.walk`. Each module bears the last part of its path as its name."""

    dtype: jnp.dtype
    side_by_side: bool

    def conv(self, x: jax.Array, op: Conv) -> jax.Array:
        module = ReflectConv if op.subpixels == 1 else SubpixelConv
        y = module(op, self.dtype, self.side_by_side, name=_last(op.path))(x)
        return y.astype(jnp.promote_types(y.dtype, jnp.float32)) if op.head else y

    def norm(self, x: jax.Array, path: str) -> jax.Array:
        return InstanceNorm(name=_last(path))(x)

    def relu(self, x: jax.Array, slope: float) -> jax.Array:
        return nn.leaky_relu(x, slope) if slope else nn.relu(x)

    def residual(self, x: jax.Array, op: Residual) -> jax.Array:
        return ResidualBlock(op, self, name=op.path)(x)

    def up(self, x: jax.Array, bilinear: bool) -> jax.Array:
        return upsample(x, bilinear)

    def pack(self, x: jax.Array, factor: int) -> jax.Array:
        return space_to_depth(x, factor)

    def add(self, x: jax.Array, y: jax.Array) -> jax.Array:
        return x + y.astype(x.dtype)

    def concat(self, x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.concatenate([x, y], -1)

    def noise(self, x: jax.Array, op: Noise) -> jax.Array:
        return NoiseMaps(op, self.dtype, name=op.path)(x)

    def sigmoid(self, x: jax.Array) -> jax.Array:
        return nn.sigmoid(x)


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def network(settings: config.Generator, side_by_side: bool = False) -> Network:
    """Makes the Flax module of these settings. side_by_side: see `Network`."""
    parse(settings.arch)
    return Network(settings.arch, jnp.dtype(settings.dtype), side_by_side)


def initial_params(settings: config.Generator, seed: int) -> Flat:
    """Draws float32 parameters, as a flat dict sorted by path."""
    module = network(settings)
    key, image = jax.random.key(seed), jnp.zeros((1, _SIDE, _SIDE, 3))
    return flatten(dict(module.init(key, image)["params"]))


class ShapeLayers:
    """The backend of `architecture.walk` that only notes the shapes of parameters; features are numbers of channels.

    Tracing the module in Flax instead would start JAX's backend, after which a process must not fork.
    """

    def __init__(self):
        self.shapes: dict[str, tuple[int, ...]] = {}

    def conv(self, channels: int, op: Conv) -> int:
        self.shapes[f"{op.path}/kernel"] = op.kernel, op.kernel, channels, op.features * op.subpixels**2
        if op.adapter:
            self.shapes[f"{op.path}/adapter"] = channels, op.features
        if op.bias:
            self.shapes[f"{op.path}/bias"] = (op.features,)
        return op.features

    def norm(self, channels: int, path: str) -> int:
        self.shapes |= {f"{path}/{name}": (channels,) for name in ("scale", "bias")}
        return channels

    def relu(self, channels: int, slope: float) -> int:
        return channels

    def residual(self, channels: int, op: Residual) -> int:
        return run(op.body, self, channels)

    def up(self, channels: int, bilinear: bool) -> int:
        return channels

    def pack(self, channels: int, factor: int) -> int:
        return channels * factor**2

    def add(self, channels: int, others: int) -> int:
        return channels

    def concat(self, channels: int, others: int) -> int:
        return channels + others

    def noise(self, channels: int, op: Noise) -> int:
        self.shapes |= {f"{op.path}/kernel": (op.count * op.sizes, channels), f"{op.path}/seed": ()}
        return channels

    def sigmoid(self, channels: int) -> int:
        return channels


def shapes(settings: config.Generator) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes and dtypes of the parameters, sorted by path, without computing any."""
    layers = ShapeLayers()
    walk(parse(settings.arch), layers, 3)
    return {path: jax.ShapeDtypeStruct(shape, jnp.float32) for path, shape in sorted(layers.shapes.items())}


def apply(settings: config.Generator, params: Flat, images: jax.Array, side_by_side: bool = False) -> jax.Array:
    """Stylises pictures of any size from the net's `min_side` on: f32[N, H, W, 3] in [0, 1] -> the same.

    Sides that are not multiples of the net's `multiple` (4 px, unless the net goes below a quarter of its input's size)
    are padded by reflection, and the result is cropped. The result is the mean over `settings.phases` shifts
    (nets/phases.py). side_by_side: see `Network`.
    """
    net, (height, width) = parse(settings.arch), images.shape[1:3]
    check_size(height, width, net.min_side)
    every = shifts(settings.phases, height, width, net.multiple)
    pads = [((0, 0), *zip(before, after, strict=True), (0, 0)) for before, after in every]
    padded = [jnp.pad(images, pad, "reflect") for pad in pads]
    module = network(settings, side_by_side)
    run = lambda x: jnp.asarray(module.apply({"params": unflatten(params)}, x))
    if len(every) == 1:
        return run(padded[0])[:, :height, :width]
    stylised = run(jnp.concatenate(padded)).reshape(len(every), *images.shape[:1], *padded[0].shape[1:])
    cut = [y[:, top : top + height, left : left + width] for y, ((top, left), _) in zip(stylised, every, strict=True)]
    return functools.reduce(jnp.add, cut) / len(cut)


def with_seed(params: Flat, seed: Array) -> Flat:
    """These parameters with another drawing of the noise: all its seeds are `seed`, f32[], more than they are."""
    return {path: x + seed if path.endswith("/seed") else x for path, x in params.items()}


@functools.partial(jax.jit, static_argnums=0)
def stylize(settings: config.Generator, params: Flat, images: jax.Array) -> jax.Array:
    """Computes `apply`, compiled for pictures of this size; for many sizes there is nets/padded.py."""
    return apply(settings, params, images)
