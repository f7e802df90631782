"""Stylisation networks (Flax linen), described in fast-neural-style's architecture language.

    c9s1-32   9x9 convolution, stride 1, 32 channels     d64   3x3 convolution, stride 2
    R128x5    5 residual blocks of two 3x3 convolutions  u64   nearest 2x up-sampling, 3x3 convolution
    s4        space to depth, 4x4                        p4-3  3x3 convolution, then depth to space, 4x4, to 3 channels
    R64x5a    blocks with adapters    skip   last of all: the instance-normed input is added before the sigmoid

Every convolution is padded by reflection and followed by instance norm and ReLU, except the last of a block (no ReLU)
and the last of the net (a bias and a sigmoid). A convolution before an instance norm has no bias: it would cancel.
An adapter is a 1x1 kernel, zero at first, that is added to the centre of a block's second convolution: more to adapt
than the norms, in a small file, at no cost in stylising. Modules are named by kind and place
(`conv1`, `norm1`, `block1/conv1`, ..., `out`): params can be picked by path.
"""

import functools
import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from metastyle import config
from metastyle.errors import InputError

ARCHITECTURES = {
    "johnson": "c9s1-32,d64,d128,R128x5,u64,u32,c9s1-3",  # Johnson et al. 2016, as in MetaStyle
    "compact": "s4,c3s1-64,R64x5,p4-3,skip",  # every convolution at a quarter of the resolution, for CPUs
    "compact_half": "s4,c3s1-64,R64x5a,u32,p2-3,skip",  # the last one at half of it, and adapters: the default bundle's
}
MIN_SIDE = 16
EPSILON = 1e-5  # of the instance norms
MULTIPLE = 4  # pictures are padded to multiples of it
_TOKEN = re.compile(
    r"c(?P<kernel>[3579])s1-(?P<conv>N)|d(?P<down>N)|R(?P<res>N)x(?P<blocks>N)(?P<adapter>a?)|u(?P<up>N)"
    r"|s(?P<pack>[24])|p(?P<unpack>[24])-(?P<out>N)|(?P<skip>skip)".replace("N", "[1-9][0-9]*")
)
_HE = nn.initializers.he_normal()
_QUIET = nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")  # the last: a sigmoid must not start full

Flat = dict[str, jax.Array]
X = TypeVar("X")


class _Norm(nn.Module):
    """Instance norm (Ulyanov et al. 2016), biased variance, in float32 or wider whatever the input."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        centred = wide - wide.mean((1, 2), keepdims=True)
        variance = jnp.square(centred).mean((1, 2), keepdims=True)  # two passes: the one-pass form cancels
        return (centred * (jax.lax.rsqrt(variance + EPSILON) * scale) + bias).astype(x.dtype)


class _Conv(nn.Module):
    """Convolution padded by reflection."""

    features: int
    kernel: int
    dtype: jnp.dtype
    stride: int = 1
    init: Callable = _HE
    bias: bool = False
    adapter: bool = False
    apart: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", self.init, shape, jnp.float32)  # else other numbers are drawn where x64 is on
        adapter = self.param("adapter", nn.initializers.zeros, shape[2:], jnp.float32) if self.adapter else None
        if self.adapter and not self.apart:
            kernel = with_adapter(kernel, adapter)
        y = reflect_conv(x, kernel.astype(self.dtype), self.stride)
        y = y + x @ adapter.astype(self.dtype) if self.adapter and self.apart else y
        return y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype) if self.bias else y


def with_adapter(kernel: jax.Array, adapter: jax.Array) -> jax.Array:
    """The odd [k, k, C, D] with the [C, D] added to its centre."""
    centre = kernel.shape[0] // 2
    return kernel.at[centre, centre].add(adapter)


def reflect_conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """[N, H, W, C] padded by reflection, convolved with the odd [k, k, C, D]: [N, H / stride, W / stride, D]."""
    pad = kernel.shape[0] // 2
    return valid_conv(jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), "reflect"), kernel, stride)


def valid_conv(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """[N, H, W, C] convolved with the [k, k, C, D] where that lies in it: at stride 1 [N, H - k + 1, W - k + 1, D].

    There, on CPUs, with one row of zeros below, and off again: without any, XLA takes up to six times as long.
    """
    row = stride == 1 and jax.default_backend() == "cpu"
    y = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), ((0, int(row)), (0, 0)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y[:, :-1] if row else y


def reflect_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """What `reflect_conv` computes at stride 1, as one matrix product of the k k shifted pictures, side by side."""
    side, (height, width) = kernel.shape[0], x.shape[1:3]
    pad = side // 2
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), "reflect")
    shifted = [padded[:, i : i + height, j : j + width] for i in range(side) for j in range(side)]
    return jnp.concatenate(shifted, -1) @ kernel.reshape(-1, kernel.shape[-1])


class _Block(nn.Module):
    """x + norm(conv(relu(norm(conv(x)))))."""

    features: int
    dtype: jnp.dtype
    adapter: bool
    apart: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = _Conv(self.features, 3, self.dtype, name="conv1")(x)
        y = nn.relu(_Norm(name="norm1")(y))
        y = _Conv(self.features, 3, self.dtype, adapter=self.adapter, apart=self.apart, name="conv2")(y)
        return x + _Norm(name="norm2")(y)


class Network(nn.Module):
    """The network of one architecture string: f32[N, H, W, 3] in [0, 1] -> the same; H and W multiples of 4.

    apart: adapters and a last p are products of their own (`reflect_product`), for kernels that differ from task to
    task: where `jax.vmap` goes over them, convolutions are grouped, which is slow everywhere.
    """

    arch: str
    dtype: jnp.dtype = jnp.float32
    apart: bool = False

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
                    x = _Block(features, self.dtype, adapter, self.apart, name=f"block{blocks}")(x)
            else:
                convs += 1
                features = int(token["conv"] or token["down"] or token["up"])
                if token["up"]:
                    x = x.repeat(2, 1).repeat(2, 2)
                kernel, stride = int(token["kernel"] or 3), 2 if token["down"] else 1
                x = _Conv(features, kernel, self.dtype, stride, name=f"conv{convs}")(x)
                x = nn.relu(_Norm(name=f"norm{convs}")(x))
        if last["unpack"]:
            features, factor = int(last["out"]), int(last["unpack"])
            x = _Unpack(features, factor, self.dtype, self.apart, name="out")(x)
        else:
            features, kernel = int(last["conv"]), int(last["kernel"])
            x = _Conv(features, kernel, self.dtype, init=_QUIET, bias=True, name="out")(x)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if tokens[-1]["skip"]:
            x = x + _Norm(name="norm_skip")(picture).astype(x.dtype)
        return nn.sigmoid(x)


class _Unpack(nn.Module):
    """3x3 convolution, then depth to space: `features` channels at `factor` times the resolution.

    Left free, the sub-pixels learn a tile that repeats all over the picture, for it is the cheapest texture. So their
    kernels are shifted to one common sum: whatever is constant in the input is constant in the output, and structure
    at the period of the grid can only come from structure in the input.
    """

    features: int
    factor: int
    dtype: jnp.dtype
    apart: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        tile = self.factor**2
        kernel = self.param("kernel", _equal_subpixels(tile), (3, 3, x.shape[-1], tile * self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        kernel = common_sum(kernel, tile).astype(self.dtype)
        y = reflect_product(x, kernel) if self.apart else reflect_conv(x, kernel)
        return depth_to_space(y, self.factor) + bias.astype(self.dtype)


def common_sum(kernel: jax.Array, tile: int) -> jax.Array:
    """[3, 3, C, tile D] with what its `tile` sub-pixels of a channel sum to more than their mean taken off each."""
    sums = kernel.sum((0, 1)).reshape(kernel.shape[2], tile, -1)
    excess = (sums - sums.mean(1, keepdims=True)).reshape(kernel.shape[2:])
    return kernel - excess / 9


def _equal_subpixels(tile: int) -> Callable:
    """All sub-pixels of a colour start with the same kernel."""

    def init(key, shape, dtype=jnp.float32):
        base = _QUIET(key, (*shape[:3], shape[3] // tile), dtype)
        return jnp.tile(base, (1, 1, 1, tile))

    return init


def space_to_depth(x: jax.Array, factor: int) -> jax.Array:
    """[N, H, W, C] -> [N, H / f, W / f, f f C]; channels are ordered row, column, colour."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // factor, factor, w // factor, factor, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // factor, w // factor, factor * factor * c)


def depth_to_space(x: jax.Array, factor: int) -> jax.Array:
    """The inverse of `space_to_depth`."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, factor, factor, c // factor**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h * factor, w * factor, c // factor**2)


def parse(arch: str, name: str = "generator.arch") -> list[dict[str, str | None]]:
    """The tokens of an architecture name or string. Raises InputError, naming `name`, for what is none."""
    tokens, scale, channels = [], 1.0, 3
    refuse = functools.partial(_refuse, name, arch)
    for text in ARCHITECTURES.get(arch, arch).split(","):
        match = _TOKEN.fullmatch(text)
        if not match:
            refuse(text, f"{', '.join(ARCHITECTURES)} or tokens such as c9s1-32, d64, R128x5, u64, s4, p4-3")
        token = match.groupdict()
        if token["res"] and int(token["res"]) != channels:
            refuse(text, f"as many channels as come in, R{channels}x{token['blocks']}")
        if token["pack"]:
            channels *= int(token["pack"]) ** 2
        elif not (token["res"] or token["skip"]):
            channels = int(token["conv"] or token["down"] or token["up"] or token["out"])
        scale *= 2.0 if token["up"] else 0.5 if token["down"] else int(token["unpack"] or 1) / int(token["pack"] or 1)
        if scale < 1 / MULTIPLE:
            refuse(text, f"a net that goes down to 1/{MULTIPLE} of its input's size at most")
        tokens.append(token)
    *body, last = (tokens[:-1] if tokens[-1]["skip"] else tokens) or tokens
    misplaced = any(token["unpack"] or token["skip"] for token in body)
    if scale != 1 or channels != 3 or not (last["conv"] or last["unpack"]) or misplaced:
        refuse(text, "a net that ends in c9s1-3 or p4-3, its only p, at its input's size, and then skip at most")
    return tokens


def _refuse(name: str, arch: str, token: str, expected: str) -> NoReturn:
    raise InputError(f'`{name}`: expected {expected}, got "{token}" in "{arch}"')


def walk(arch: str, params: Flat, layers: Any, picture: X) -> X:
    """What `layers` makes of `picture`, one after the other: `Network`, for what isn't computed by Flax.

    layers: has conv(x, kernel, stride=1, bias=None), padded by reflection, norm(x, scale, bias), relu(x), add(x, y),
    up(x), nearest and by 2, pack(x, factor) and unpack(x, factor), space to depth and back, and sigmoid(x). Adapters
    and the common sum of sub-pixels are folded into kernels. Of what was added to, only `picture` is used again, and
    nothing is held longer than it is used.
    """

    def conv(x, name, stride=1):
        kernel, adapter = params[f"{name}/kernel"], params.get(f"{name}/adapter")
        folded = kernel if adapter is None else with_adapter(jnp.asarray(kernel), adapter)
        return layers.conv(x, folded, stride)

    def norm(x, name):
        return layers.norm(x, params[f"{name}/scale"], params[f"{name}/bias"])

    def block(x, name):
        y = conv(x, f"{name}/conv1")
        y = layers.relu(norm(y, f"{name}/norm1"))
        y = conv(y, f"{name}/conv2")
        return layers.add(x, norm(y, f"{name}/norm2"))

    tokens = parse(arch)
    *body, last = [token for token in tokens if not token["skip"]]
    x, convs, blocks = picture, 0, 0
    for token in body:
        if token["pack"]:
            x = layers.pack(x, int(token["pack"]))
        elif token["res"]:
            for _ in range(int(token["blocks"])):
                blocks += 1
                x = block(x, f"block{blocks}")
        else:
            convs += 1
            x = layers.up(x) if token["up"] else x
            x = conv(x, f"conv{convs}", 2 if token["down"] else 1)
            x = layers.relu(norm(x, f"norm{convs}"))
    kernel, bias = params["out/kernel"], params["out/bias"]
    if last["unpack"]:
        factor = int(last["unpack"])
        x = layers.conv(x, common_sum(kernel, factor**2), bias=jnp.tile(bias, factor**2))
        x = layers.unpack(x, factor)
    else:
        x = layers.conv(x, kernel, bias=bias)
    if tokens[-1]["skip"]:
        x = layers.add(x, norm(picture, "norm_skip"))
    return layers.sigmoid(x)


def network(settings: config.Generator, apart: bool = False) -> Network:
    """The Flax module of a config; `apart`: see `Network`."""
    parse(settings.arch)
    return Network(settings.arch, jnp.dtype(settings.dtype), apart)


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


def apply(settings: config.Generator, params: Flat, images: jax.Array, apart: bool = False) -> jax.Array:
    """Stylised pictures: f32[N, H, W, 3] in [0, 1] -> the same, any H, W >= 16; `apart`: see `Network`.

    Sides that are not multiples of 4 are padded by reflection and the result is cropped.
    """
    height, width = images.shape[1:3]
    check_size(height, width)
    padding = ((0, 0), (0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0))
    padded = jnp.pad(images, padding, "reflect")
    return network(settings, apart).apply({"params": unflatten(params)}, padded)[:, :height, :width]


def check_size(height: int, width: int, name: str = "content") -> None:
    """Raises InputError, naming that argument, unless a photograph is large enough for a network."""
    if min(height, width) < MIN_SIDE:
        raise InputError(
            f"`{name}`: expected sides of at least {MIN_SIDE} px, got {width} x {height}; use a larger picture"
        )


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


def split(params: Flat, scope: str) -> tuple[Flat, Flat]:
    """(fast, slow): what the inner loop adapts, and what it does not.

    scope: "norm" (every instance norm), "adapter" (every adapter), "all", or a comma-separated list of these and of
    path prefixes ("block5,out").
    Raises InputError for a part that picks nothing.
    """
    parts = [part.strip() for part in scope.split(",")]
    for part in parts:
        if not any(in_scope(path, part) for path in params):
            top = sorted({path.split("/")[0] for path in params})
            raise InputError(
                f'`inner.scope`: expected norm, adapter, all or prefixes of {", ".join(top)}, got "{part}"'
            )
    fast = {path: x for path, x in params.items() if any(in_scope(path, part) for part in parts)}
    return fast, {path: x for path, x in params.items() if path not in fast}


def in_scope(path: str, part: str) -> bool:
    """Whether a part of a scope, as for `split`, picks the parameter at this path."""
    if part in ("norm", "adapter"):
        return any(name.startswith(part) for name in path.split("/"))
    return part == "all" or f"{path}/".startswith(f"{part}/")


def flatten(tree: dict) -> Flat:
    """Nested params -> {"a/b/c": array}, sorted by path."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return dict(sorted(("/".join(key.key for key in path), leaf) for path, leaf in leaves))


def unflatten(flat: Flat) -> dict:
    """The inverse of `flatten`."""
    tree: dict = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def count(params: Flat) -> int:
    """Number of parameters."""
    return sum(int(np.prod(x.shape)) for x in params.values())
