"""The stylisation networks in Flax: one `Network` for every string of the architecture language."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from metastyle import config
from metastyle.nets.architecture import MULTIPLE, check_size, parse
from metastyle.nets.layers import QUIET, Block, Conv, Norm, Unpack, space_to_depth
from metastyle.nets.params import Flat, flatten, unflatten


class Network(nn.Module):
    """The network of one architecture string: f32[N, H, W, 3] in [0, 1] -> the same; H and W multiples of 4.

    side_by_side: adapters and a last p are products of their own (`reflect_product`), for kernels that differ from
    task to task: where `jax.vmap` goes over them, convolutions are grouped, which is slow everywhere.
    """

    arch: str
    dtype: jnp.dtype = jnp.float32
    side_by_side: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        tokens = parse(self.arch)
        x = x.astype(self.dtype)
        convs = blocks = 0
        picture, (*body, last) = x, [token for token in tokens if not token["skip"]]
        for token in body:
            if token["pack"]:
                x = space_to_depth(x, int(token["pack"]))
            elif token["res"]:
                for _ in range(int(token["blocks"])):
                    blocks += 1
                    features, adapter = int(token["res"]), bool(token["adapter"])
                    x = Block(features, self.dtype, adapter, self.side_by_side, name=f"block{blocks}")(x)
            else:
                convs += 1
                features = int(token["conv"] or token["down"] or token["up"])
                if token["up"]:
                    x = x.repeat(2, 1).repeat(2, 2)
                kernel, stride = int(token["kernel"] or 3), 2 if token["down"] else 1
                x = Conv(features, kernel, self.dtype, stride, name=f"conv{convs}")(x)
                x = nn.relu(Norm(name=f"norm{convs}")(x))
        if last["unpack"]:
            features, factor = int(last["out"]), int(last["unpack"])
            x = Unpack(features, factor, self.dtype, self.side_by_side, name="out")(x)
        else:
            features, kernel = int(last["conv"]), int(last["kernel"])
            x = Conv(features, kernel, self.dtype, init=QUIET, bias=True, name="out")(x)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if tokens[-1]["skip"]:
            x = x + Norm(name="norm_skip")(picture).astype(x.dtype)
        return nn.sigmoid(x)


def network(settings: config.Generator, side_by_side: bool = False) -> Network:
    """The Flax module of a config; `side_by_side`: see `Network`."""
    parse(settings.arch)
    return Network(settings.arch, jnp.dtype(settings.dtype), side_by_side)


def initial_params(settings: config.Generator, seed: int) -> Flat:
    """Freshly drawn params, float32, as a flat dict of paths ("block1/conv1/kernel")."""
    module = network(settings)
    key, image = jax.random.key(seed), jnp.zeros((1, 32, 32, 3))
    return flatten(module.init(key, image)["params"])


def shapes(settings: config.Generator) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of the params, without computing them."""
    module = network(settings)
    tree = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    return flatten(tree["params"])


def apply(settings: config.Generator, params: Flat, images: jax.Array, side_by_side: bool = False) -> jax.Array:
    """Stylised pictures: f32[N, H, W, 3] in [0, 1] -> the same, any H, W >= 16; `side_by_side`: see `Network`.

    Sides that are not multiples of 4 are padded by reflection and the result is cropped.
    """
    height, width = images.shape[1:3]
    check_size(height, width)
    padding = ((0, 0), (0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0))
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
