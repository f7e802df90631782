"""The stylisation networks in Flax: one `Network` for every string of the architecture language."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from metastyle import config
from metastyle.nets.architecture import Conv, Head, Residual, check_size, parse, run, walk
from metastyle.nets.layers import InstanceNorm, ReflectConv, SubpixelConv, space_to_depth, upsample
from metastyle.nets.params import Flat, flatten, unflatten

_SIDE = 32  # px, of the picture that parameters' shapes are found with: a multiple for every net


class Network(nn.Module):
    """The network of one architecture string: f32[N, H, W, 3] in [0, 1] -> the same; H and W multiples of the net's.

    head: with "patch" it is a discriminator: f32[N, H / s, W / s, 1], without bounds. side_by_side: adapters and a
    last p are products of their own (`reflect_product`), for kernels that differ from task to task: where `jax.vmap`
    goes over them, convolutions are grouped, which is slow everywhere.
    """

    arch: str
    dtype: jnp.dtype = jnp.float32
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
    """The layers of `architecture.walk` as Flax modules, each named by the last part of its path."""

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

    def sigmoid(self, x: jax.Array) -> jax.Array:
        return nn.sigmoid(x)


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def network(settings: config.Generator, side_by_side: bool = False) -> Network:
    """The Flax module of a config; `side_by_side`: see `Network`."""
    parse(settings.arch)
    return Network(settings.arch, jnp.dtype(settings.dtype), side_by_side)


def initial_params(settings: config.Generator, seed: int) -> Flat:
    """Freshly drawn params, float32, as a flat dict of paths ("block1/conv1/kernel")."""
    module = network(settings)
    key, image = jax.random.key(seed), jnp.zeros((1, _SIDE, _SIDE, 3))
    return flatten(module.init(key, image)["params"])


def shapes(settings: config.Generator) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of the params, without computing them."""
    module = network(settings)
    tree = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, _SIDE, _SIDE, 3)))
    return flatten(tree["params"])


def apply(settings: config.Generator, params: Flat, images: jax.Array, side_by_side: bool = False) -> jax.Array:
    """Stylised pictures: f32[N, H, W, 3] in [0, 1] -> the same, any H, W >= 16; `side_by_side`: see `Network`.

    Sides that are not multiples of the net's (of 4, down to a quarter of the size) are padded by reflection and the
    result is cropped. Deeper nets take larger pictures: see `Net.min_side`.
    """
    net, (height, width) = parse(settings.arch), images.shape[1:3]
    check_size(height, width, least=net.min_side)
    padding = ((0, 0), (0, -height % net.multiple), (0, -width % net.multiple), (0, 0))
    padded = jnp.pad(images, padding, "reflect")
    return network(settings, side_by_side).apply({"params": unflatten(params)}, padded)[:, :height, :width]


@functools.partial(jax.jit, static_argnums=0)
def stylize(settings: config.Generator, params: Flat, images: jax.Array) -> jax.Array:
    """`apply`, compiled."""
    return apply(settings, params, images)


@functools.partial(jax.jit, static_argnums=0)
def stylize_each(settings: config.Generator, fast: Flat, slow: Flat, images: jax.Array) -> jax.Array:
    """f32[N, H, W, 3] -> the same, each picture by fast parameters of its own: leaves of `fast` are [N, ...].

    On CPUs one after the other in one program: kernels that differ from picture to picture make grouped convolutions,
    which take two to three times as long there.
    """
    one = lambda fast, image: apply(settings, fast | slow, image[None])[0]
    if jax.default_backend() != "cpu":
        return jax.vmap(one)(fast, images)
    return jnp.stack([one(jax.tree.map(lambda x: x[i], fast), images[i]) for i in range(len(images))])  # noqa: B023
