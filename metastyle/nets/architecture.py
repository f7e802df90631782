"""The architecture language of the networks: `parse` reads a string into operations, `walk` runs them.

The tokens are those of fast-neural-style, and more:

    c9s1-32   9x9 convolution, stride 1, to 32 channels
    d64       3x3 convolution, stride 2
    u64       nearest 2x up-sampling, then a 3x3 convolution
    p4-3      sub-pixel convolution: a 3x3 convolution, then depth to space by 4x4, to 3 channels
    s4        space to depth by 4x4
    R128x5    5 residual blocks of two 3x3 convolutions; R128x5a: with adapters
    save-a    keeps the features under the name a
    add-a     adds the features that save-a kept
    cat-a     appends the channels of the features that save-a kept
    n4x3      adds noise: 4 maps each with cells of 1, 2 and 4 features, times a matrix that is zero at first
    skip      at the very end: adds the instance-normed input, before the sigmoid
    c4s2-64   4x4 convolution, stride 2 or 1; only in discriminators, since it shifts features by half a pixel

Every convolution is padded by reflection and followed by an instance norm and a ReLU, except the last one of a block,
which has no ReLU, and the last one of the net. Words behind a token change this:

    .leaky     a leaky ReLU of slope 0.2                .blur      d only: a binomial blur before the stride, which
    .linear    no ReLU (not for R)                                 prevents aliasing
    .bare      a bias instead of the instance norm      .bilinear  u only: bilinear up-sampling

"c3s1-16.leaky,save-a,d32.blur.leaky,u16.bilinear.leaky,cat-a,c3s1-3" is a U-Net of two levels.

A generator ends with a c or a p to 3 channels (with a bias and a sigmoid) at its input's size. A discriminator of
patches ends with a c to 1 channel (with a bias alone) below its input's size. A convolution before a norm has no bias,
because the norm would cancel it. An adapter is a 1x1 kernel, zero at first, that is added to the centre of a block's
second convolution: more to adapt than the norms, in a small file, at no cost in stylising. Parameters are named by kind
and place (`conv1`, `norm1`, `block1/conv1`, ..., `out`, `norm_skip`), so that they can be picked by path.

How to add a layer: add a line to `_TOKENS`, with a method of `_Reader`. If the layer needs a new operation, add a
dataclass to `Op`, a method to the protocol `Layers`, a case to `_step`, and that method to each backend:
`generator.FlaxLayers`, `generator.ShapeLayers`, `padded.PaddedLayers`, `tiled_layers.Tiles`, `onnx_export.GraphLayers`,
and `tiling.Sizes`, which estimates memory.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, NoReturn, Protocol, TypeVar

from metastyle.errors import InputError

ARCHITECTURES = {
    "johnson": "c9s1-32,d64,d128,R128x5,u64,u32,c9s1-3",  # Johnson et al. 2016, as in MetaStyle
    "compact": "s4,c3s1-64,R64x5,p4-3,skip",  # every convolution at a quarter of the resolution, for CPUs
    "compact_half": "s4,c3s1-64,R64x5a,u32,p2-3,skip",  # the last one at half of it, and adapters: the default bundle's
    # With noise, and a last convolution at full size that smooths what sub-pixels leave.
    "compact_noise": "s4,c3s1-64,n4x4,R64x2a,n4x4,R64x3a,u32.bilinear,p2-8,c3s1-3,skip",
}
MIN_SIDE = 16  # px: the least side of a picture for nets that go down to a quarter of its size
LEAKY_SLOPE = 0.2
_LEAST_MULTIPLE, _DEEPEST = 4, 16
_INPUT = "-"  # the name under which `skip` keeps the picture; `save-` can't spell it
_ENDS = {
    "picture": "a net that ends in c9s1-3 or p4-3, at its input's size, and then skip at most",
    "patch": "a discriminator that ends in c4s1-1, below its input's size, without skip",
}

Head = Literal["picture", "patch"]
X = TypeVar("X")


@dataclass(frozen=True)
class Conv:
    """A convolution padded by reflection.

    path: where its parameters are. subpixels: the factor of the depth to space that follows; `features` counts the
    channels after it. blur: a binomial 3x3 filter goes before the convolution. head: this is the net's last
    convolution, whose initial kernel is small and whose output is float32 or wider.
    """

    path: str
    features: int
    kernel: int = 3
    stride: int = 1
    subpixels: int = 1
    blur: bool = False
    adapter: bool = False
    bias: bool = False
    head: bool = False


@dataclass(frozen=True)
class Norm:
    """An instance norm with the scale and the bias at `path`."""

    path: str


@dataclass(frozen=True)
class Relu:
    """x where x is positive, else slope * x."""

    slope: float = 0.0


@dataclass(frozen=True)
class Residual:
    """x + body(x). The body's parameters are below `path`. keeps_input: x is used again after the block."""

    path: str
    body: "tuple[Op, ...]"
    keeps_input: bool = False


@dataclass(frozen=True)
class Up:
    """Doubles height and width. A 3x3 convolution always follows."""

    bilinear: bool = False


@dataclass(frozen=True)
class Pack:
    """Space to depth by this factor."""

    factor: int


@dataclass(frozen=True)
class Save:
    """Keeps the features under a name."""

    name: str


@dataclass(frozen=True)
class Add:
    """Adds the features kept under a name. norm: they are instance-normed first, with the parameters at this path."""

    name: str
    norm: str | None = None


@dataclass(frozen=True)
class Concat:
    """Appends the channels of the features kept under a name."""

    name: str


@dataclass(frozen=True)
class Sigmoid:
    """Ends a generator, so that its output is a picture in [0, 1]."""


@dataclass(frozen=True)
class Noise:
    """Adds noise maps (nets/noise.py) times the matrix at `path`: `count` maps for each of `sizes` sizes of cells.

    number: counts the net's operations of this kind from 1; it is the initial seed, so that their noise differs.
    """

    path: str
    count: int
    sizes: int
    number: int


Op = Conv | Norm | Relu | Residual | Up | Pack | Save | Add | Concat | Noise | Sigmoid


@dataclass(frozen=True)
class Net:
    """A network, read from a string. multiple: both sides of its input must be multiples of this many px."""

    ops: tuple[Op, ...]
    multiple: int

    @property
    def min_side(self) -> int:
        """The least side of a picture, px: four features wide at the net's lowest resolution."""
        return 4 * self.multiple


class Layers(Protocol[X]):
    """A backend, which computes networks: one method for each operation, on features of its own type X.

    `add` and `concat` take two features of the same height and width. No method may overwrite its arguments, except
    `residual`, and only if the block does not keep its input.
    """

    def conv(self, x: X, op: Conv, /) -> X: ...
    def norm(self, x: X, path: str, /) -> X: ...
    def relu(self, x: X, slope: float, /) -> X: ...
    def residual(self, x: X, op: Residual, /) -> X: ...
    def up(self, x: X, bilinear: bool, /) -> X: ...
    def pack(self, x: X, factor: int, /) -> X: ...
    def add(self, x: X, y: X, /) -> X: ...
    def concat(self, x: X, y: X, /) -> X: ...
    def noise(self, x: X, op: Noise, /) -> X: ...
    def sigmoid(self, x: X, /) -> X: ...


def walk(net: Net, layers: Layers[X], picture: X) -> X:
    """Runs a network on a picture and returns its output. Features are held only until their last use."""
    return run(net.ops, layers, picture)


def run(ops: tuple[Op, ...], layers: Layers[X], x: X) -> X:
    """Runs operations in turn: those of a network, or those of a residual block."""
    last_use = {op.name: place for place, op in enumerate(ops) if isinstance(op, Add | Concat)}
    saved: dict[str, X] = {}
    for place, op in enumerate(ops):
        if isinstance(op, Save):
            saved[op.name] = x
        elif isinstance(op, Add | Concat):
            kept = saved.pop if last_use[op.name] == place else saved.__getitem__
            x = _join(op, layers, x, kept(op.name))
        else:
            x = _step(op, layers, x)
    return x


def _join(op: Add | Concat, layers: Layers[X], x: X, kept: X) -> X:
    if isinstance(op, Concat):
        return layers.concat(x, kept)
    return layers.add(x, kept if op.norm is None else layers.norm(kept, op.norm))


def _step(op: Op, layers: Layers[X], x: X) -> X:
    match op:
        case Conv():
            return layers.conv(x, op)
        case Norm(path):
            return layers.norm(x, path)
        case Relu(slope):
            return layers.relu(x, slope)
        case Residual():
            return layers.residual(x, op)
        case Up(bilinear):
            return layers.up(x, bilinear)
        case Pack(factor):
            return layers.pack(x, factor)
        case Noise():
            return layers.noise(x, op)
        case Sigmoid():
            return layers.sigmoid(x)
    raise TypeError(f"`op`: expected an operation that stands alone, got {op!r}")


@functools.cache
def parse(arch: str, name: str = "generator.arch", head: Head = "picture") -> Net:
    """Reads the name of an architecture, or its string.

    head: "picture" for a generator, "patch" for a discriminator. Raises InputError, naming the argument `name`, for a
    token that is not in the language, for shapes that don't fit together, and for names that are saved but never used,
    or used but never saved.
    """
    *body, last = ARCHITECTURES.get(arch, arch).split(",")
    skip = last == "skip" and bool(body)
    if skip:
        *body, last = body
    reader = _Reader(arch, name, head)
    for text in body:
        reader.read(text)
    return reader.finish(last, skip)


class _Shape(NamedTuple):
    """The channels of features, and their height and width relative to the input's."""

    channels: int
    scale: float

    def __str__(self) -> str:
        return f"{self.channels} channels at {self.scale:g} of the input's size"


class _Token(NamedTuple):
    """A recognised token: the method of `_Reader` that reads it, the method's arguments, and the words behind it."""

    method: "Callable[..., None]"
    arguments: tuple[str, ...]
    words: frozenset[str]


class _Reader:
    """Turns tokens into operations, one after the other, and checks that the shapes of the features fit."""

    def __init__(self, arch: str, name: str, head: Head):
        self._arch, self._name, self._head = arch, name, head
        self._ops: list[Op] = []
        self._shape, self._lowest = _Shape(3, 1.0), 1.0
        self._convs = self._blocks = self._noises = 0
        self._saved: dict[str, _Shape] = {}
        self._unused: dict[str, str] = {}  # names that nothing has used so far -> their tokens
        self._text, self._words, self._at_head = "", frozenset[str](), False

    def read(self, text: str) -> None:
        """Appends the operations of one token."""
        token = self._recognise(text)
        self._words = token.words
        token.method(self, *token.arguments)

    def finish(self, text: str, skip: bool) -> Net:
        """Returns the whole network, whose last convolution is the token `text`."""
        token, picture = self._recognise(text), self._head == "picture"
        ends = (_Reader.conv, _Reader.unpack) if picture else (_Reader.conv,)
        if token.words or token.method not in ends or (skip and not picture):
            self._refuse(_ENDS[self._head])
        self._words, self._at_head = token.words, True
        token.method(self, *token.arguments)
        if not (self._shape == _Shape(3, 1.0) if picture else self._shape.channels == 1 and self._shape.scale < 1):
            self._refuse(_ENDS[self._head])
        for unused in self._unused.values():
            self._text = unused
            self._refuse("an add- or a cat- of the same name behind it")
        before, after = [Save(_INPUT)] if skip else [], [Add(_INPUT, "norm_skip")] if skip else []
        ops = (*before, *self._ops, *after, *([Sigmoid()] if picture else []))
        return Net(ops, max(_LEAST_MULTIPLE, round(1 / self._lowest)))

    def conv(self, kernel: str, stride: str, features: str) -> None:
        if self._head == "picture" and int(kernel) % 2 == 0:
            self._refuse("an odd kernel in a generator, since a 4x4 one shifts the picture by half a pixel")
        self._convolve(int(features), kernel=int(kernel), stride=int(stride))

    def down(self, features: str) -> None:
        self._convolve(int(features), stride=2, blur="blur" in self._words)

    def up(self, features: str) -> None:
        self._ops.append(Up("bilinear" in self._words))
        self._rescale(2)
        self._convolve(int(features))

    def unpack(self, factor: str, features: str) -> None:
        self._convolve(int(features), subpixels=int(factor))

    def pack(self, factor: str) -> None:
        self._ops.append(Pack(int(factor)))
        self._shape = self._shape._replace(channels=self._shape.channels * int(factor) ** 2)
        self._rescale(1 / int(factor))

    def residual(self, features: str, blocks: str, adapter: str) -> None:
        channels, bare = self._shape.channels, "bare" in self._words
        if int(features) != channels:
            self._refuse(f"as many channels as come in, R{channels}x{blocks}")
        for _ in range(int(blocks)):
            self._blocks += 1
            path = f"block{self._blocks}"
            first = Conv(f"{path}/conv1", channels, bias=bare)
            second = Conv(f"{path}/conv2", channels, adapter=bool(adapter), bias=bare)
            norms = [() if bare else (Norm(f"{path}/norm{i}"),) for i in (1, 2)]
            body = (first, *norms[0], *self._activation(), second, *norms[1])
            self._ops.append(Residual(path, body, not self._ops or isinstance(self._ops[-1], Save)))

    def save(self, name: str) -> None:
        if name in self._saved:
            self._refuse("a name that no save- before it has")
        self._saved[name], self._unused[name] = self._shape, self._text
        self._ops.append(Save(name))

    def add(self, name: str) -> None:
        if self._kept(name) != self._shape:
            self._refuse(f"{self._kept(name)}, as save-{name} keeps, not {self._shape}")
        self._ops.append(Add(name))

    def concat(self, name: str) -> None:
        kept = self._kept(name)
        if kept.scale != self._shape.scale:
            self._refuse(f"the same size as save-{name} keeps, {kept}, not {self._shape}")
        self._shape = self._shape._replace(channels=self._shape.channels + kept.channels)
        self._ops.append(Concat(name))

    def noise(self, count: str, sizes: str) -> None:
        self._noises += 1
        self._ops.append(Noise(f"noise{self._noises}", int(count), int(sizes), self._noises))

    def misplaced(self) -> None:
        self._refuse(_ENDS[self._head])

    def _recognise(self, text: str) -> _Token:
        self._text = text
        core, *words = text.split(".")
        for pattern, allowed, method in _TOKENS:
            match = re.fullmatch(pattern, core)
            if not match:
                continue
            if len(set(words)) < len(words) or not set(words) <= set(allowed) or {"leaky", "linear"} <= set(words):
                behind = f"at most {', '.join(f'.{word}' for word in allowed)}" if allowed else "no words"
                apart = ", and not both .leaky and .linear" if "linear" in allowed else ""
                self._refuse(f"{behind} behind {core}, each once{apart}")
            return _Token(method, match.groups(), frozenset(words))
        example = "c9s1-32, d64, R128x5, u64, s4, p4-3, save-a, cat-a, d64.blur.leaky"
        self._refuse(f"{', '.join(ARCHITECTURES)} or tokens such as {example}")

    def _convolve(
        self, features: int, *, kernel: int = 3, stride: int = 1, subpixels: int = 1, blur: bool = False
    ) -> None:
        """Appends a convolution, and its norm and ReLU unless it is the head."""
        self._convs += 1
        bare = self._at_head or "bare" in self._words
        path = "out" if self._at_head else f"conv{self._convs}"
        self._ops.append(Conv(path, features, kernel, stride, subpixels, blur, bias=bare, head=self._at_head))
        if not bare:
            self._ops.append(Norm(f"norm{self._convs}"))
        if not self._at_head:
            self._ops += self._activation()
        self._shape = self._shape._replace(channels=features)
        self._rescale(subpixels / stride)

    def _activation(self) -> tuple[Op, ...]:
        if "linear" in self._words:
            return ()
        return (Relu(LEAKY_SLOPE if "leaky" in self._words else 0.0),)

    def _rescale(self, factor: float) -> None:
        self._shape = self._shape._replace(scale=self._shape.scale * factor)
        self._lowest = min(self._lowest, self._shape.scale)
        if self._lowest < 1 / _DEEPEST:
            self._refuse(f"a net that goes down to 1/{_DEEPEST} of its input's size at most")

    def _kept(self, name: str) -> _Shape:
        if name not in self._saved:
            self._refuse(f"a name that a save- before it has ({', '.join(self._saved) or 'none so far'})")
        self._unused.pop(name, None)
        return self._saved[name]

    def _refuse(self, expected: str) -> NoReturn:
        raise InputError(f'`{self._name}`: expected {expected}, got "{self._text}" in "{self._arch}"')


_N, _NAME = "([1-9][0-9]*)", "([a-z][a-z0-9_]*)"
_BEHIND_CONV = ("leaky", "linear", "bare")
_TOKENS: tuple[tuple[str, tuple[str, ...], Callable[..., None]], ...] = (  # form, the words allowed behind it, method
    (f"c(?=[3579]s1-|4s[12]-)([0-9])s([12])-{_N}", _BEHIND_CONV, _Reader.conv),
    (f"d{_N}", ("blur", *_BEHIND_CONV), _Reader.down),
    (f"u{_N}", ("bilinear", *_BEHIND_CONV), _Reader.up),
    (f"p([24])-{_N}", _BEHIND_CONV, _Reader.unpack),
    ("s([24])", (), _Reader.pack),
    (f"R{_N}x{_N}(a?)", ("leaky", "bare"), _Reader.residual),
    (f"save-{_NAME}", (), _Reader.save),
    (f"add-{_NAME}", (), _Reader.add),
    (f"cat-{_NAME}", (), _Reader.concat),
    ("n([1-9])x([1-5])", (), _Reader.noise),
    ("skip", (), _Reader.misplaced),
)


def check_size(height: int, width: int, least: int, name: str = "content") -> None:
    """Raises InputError, naming the argument `name`, if a side of a photograph has fewer than `least` px."""
    if min(height, width) < least:
        raise InputError(
            f"`{name}`: expected sides of at least {least} px, got {width} x {height}; use a larger picture"
        )
