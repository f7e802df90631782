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
from typing import Any, NoReturn, TypeVar

import jax.numpy as jnp

from metastyle.errors import InputError
from metastyle.nets.layers import common_sum, with_adapter
from metastyle.nets.params import Flat

ARCHITECTURES = {
    "johnson": "c9s1-32,d64,d128,R128x5,u64,u32,c9s1-3",  # Johnson et al. 2016, as in MetaStyle
    "compact": "s4,c3s1-64,R64x5,p4-3,skip",  # every convolution at a quarter of the resolution, for CPUs
    "compact_half": "s4,c3s1-64,R64x5a,u32,p2-3,skip",  # the last one at half of it, and adapters: the default bundle's
}
MIN_SIDE = 16
MULTIPLE = 4  # pictures are padded to multiples of it
_TOKEN = re.compile(
    r"c(?P<kernel>[3579])s1-(?P<conv>N)|d(?P<down>N)|R(?P<res>N)x(?P<blocks>N)(?P<adapter>a?)|u(?P<up>N)"
    r"|s(?P<pack>[24])|p(?P<unpack>[24])-(?P<out>N)|(?P<skip>skip)".replace("N", "[1-9][0-9]*")
)

X = TypeVar("X")


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


def check_size(height: int, width: int, name: str = "content") -> None:
    """Raises InputError, naming that argument, unless a photograph is large enough for a network."""
    if min(height, width) < MIN_SIDE:
        raise InputError(
            f"`{name}`: expected sides of at least {MIN_SIDE} px, got {width} x {height}; use a larger picture"
        )
