"""An adapted style, and all that can be done with it afterwards: strength, blends, regions, colours, any size.

A style is a small set of fast parameters, so it can be moved and mixed after adaptation. Strength s interpolates from
the bundle's plain parameters theta_0 (plain.py) to the style's theta_1, and beyond it:

    theta(s) = theta_0 + s (theta_1 - theta_0)
    y(s)     = G(theta(s), x) + max(0, 1 - s) (x - G(theta_0, x))        clipped to [0, 1]

The second term is what the network cannot give back of a photograph, such as its colours, which the instance norms
remove: so y(0) is the photograph itself, and y(1) the style.
"""

import dataclasses
import functools
import math
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metastyle import __version__, config
from metastyle.errors import Adjusted, InputError
from metastyle.images import codec, masks
from metastyle.images.codec import MAX_PIXELS, Picture
from metastyle.images.color import COLORS, transfer
from metastyle.images.resize import resize_short
from metastyle.nets import architecture, generator
from metastyle.nets.params import Flat
from metastyle.stylize import onnx_export, tiling
from metastyle.system import files
from metastyle.weights import bundles, style_files
from metastyle.weights.style_files import StyleFile

MAX_STRENGTH = 1.5
_FEATHER = 0.01  # of the shorter side, unless told otherwise
_TOLERANCE = 1e-6  # within which weights sum to 1


@dataclass(frozen=True)
class Knobs:
    """How styles are applied to a photograph; InputError for a value that is out of range.

    strength: 0 is the photograph, 1 the style, up to 1.5; between, parameters are interpolated (docs/control.md).
    feather: px, the standard deviation by which the edges of masks are blurred; by default a hundredth of the shorter
      side.
    color: "style"; "content" keeps the photograph's colours, "histogram" its palette (color.transfer).
    content_size: px, to which the shorter side is brought before; the result has that size. Smaller gives strokes that
      are larger in the picture.
    tile: px, of tiles that are exact at their seams and bound the memory; 0: the whole picture at once; by default what
      fits the free memory (tiling.stylize).
    backend: "jax"; "onnx", the same to a 255th, by onnxruntime; or "onnx-int8", coarser and faster on CPUs.
    progress: whether tiles show their progress and time left.
    max_pixels: a larger photograph is refused.
    """

    strength: float = 1.0
    feather: float | None = None
    color: str = "style"
    content_size: int | None = None
    tile: int | None = None
    backend: str = "jax"
    progress: bool = False
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if not (isinstance(self.strength, Real) and 0 <= self.strength <= MAX_STRENGTH):
            raise InputError(f"`strength`: expected a number from 0 to {MAX_STRENGTH}, got {self.strength!r}")
        for name, choices in (("color", COLORS), ("backend", config.BACKENDS)):
            if getattr(self, name) not in choices:
                raise InputError(f"`{name}`: expected one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.feather is not None and not (isinstance(self.feather, Real) and 0 <= self.feather < math.inf):
            raise InputError(f"`feather`: expected px of at least 0, got {self.feather!r}")
        size = self.content_size
        if size is not None and not (isinstance(size, int | np.integer) and size >= architecture.MIN_SIDE):
            raise InputError(f"`content_size`: expected whole px, at least {architecture.MIN_SIDE}, got {size!r}")
        tiling.check_tile(self.tile)
        if self.tile and self.backend != "jax":
            raise InputError(f"`tile`: expected none, for {self.backend} takes whole pictures; use --backend=jax")


@dataclass(frozen=True)
class Style:
    """An adapted style: stylises photographs of any size. `plain`: see plain.py; None where the bundle has none."""

    config: config.Config
    slow: Flat
    file: StyleFile
    plain: Flat | None = None

    @property
    def history(self) -> tuple[float, ...]:
        """The loss before each step, on that step's support photographs."""
        return self.file.history

    def stylize(
        self,
        photograph: Picture,
        *,
        strength: float = 1.0,
        mask: Picture | None = None,
        feather: float | None = None,
        color: str = "style",
        content_size: int | None = None,
        tile: int | None = None,
        backend: str = "jax",
        progress: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> np.ndarray:
        """The photograph in this style: uint8 [H, W, 3], of the photograph's size (sides of at least 16 px).

        photograph: a path, PIL image, array, or the bytes of a file (images.load). mask: a picture, white where the
        style goes, black where the photograph stays, grey in between. The others: see `Knobs`.

        Raises InputError or FileNotFoundError, in one line, for bad input.
        """
        knobs = Knobs(strength, feather, color, content_size, tile, backend, progress, max_pixels)
        return codec.to_uint8(stylized(photograph, [(self, mask)], knobs)[0])

    def stylize_file(
        self, photograph: Picture, out: str | os.PathLike, *, mask: Picture | None = None, quality: int | None = None,
        **knobs: Any,
    ) -> None:  # fmt: skip
        """Writes the stylised photograph; where the photograph was transparent, so is the output.

        quality: 1 to 100, of JPEG and WebP. knobs: as `stylize` takes. The file records style and knobs (`record`).
        """
        files.check_output(out, suffixes=codec.IMAGE_SUFFIXES, name="out", inputs=(photograph, mask))
        codec.check_quality(quality)
        chosen = Knobs(**knobs)
        pixels, alpha = stylized(photograph, [(self, mask)], chosen)
        codec.save(out, pixels, alpha=alpha, quality=quality, metadata=record([self], chosen), name="out")

    def params(self, strength: float = 1.0) -> Flat:
        """All parameters of the network at a strength."""
        if strength == 1:
            return self.slow | self.file.fast
        theta = {path: x + strength * (self.file.fast[path] - x) for path, x in self._plain().items()}
        return self.slow | {path: np.float32(x) for path, x in theta.items()}

    def _plain(self) -> Flat:
        if self.plain is None:
            raise InputError(
                "`strength`: expected 1, for the bundle of this style has no plain parameters to start from; "
                "make them with `python -m experiments.plain --bundle=...`"
            )
        return self.plain

    def apply(self, content: np.ndarray, knobs: Knobs) -> np.ndarray:
        """y(strength) of this module's docstring: f32[H, W, 3] in [0, 1] -> the same."""
        if knobs.strength == 0:
            return content
        output = self._network(content, knobs.strength, knobs)
        if knobs.strength >= 1:
            return output
        mixed = content - self._network(content, 0.0, knobs)
        mixed *= 1 - knobs.strength
        mixed += output
        return np.clip(mixed, 0, 1, out=mixed)

    def _network(self, content: np.ndarray, strength: float, knobs: Knobs) -> np.ndarray:
        if knobs.backend == "jax":
            params = self.params(strength)
            return tiling.stylize(self.config.generator, params, content, knobs.tile, progress=knobs.progress)
        return self._session(strength, knobs.backend == "onnx-int8")(content[None])[0]

    def onnx(self, *, int8: bool = False, strength: float = 1.0, floats: bool = False) -> Any:
        """G(theta(strength)) as an onnx.ModelProto (onnx_export.model)."""
        return onnx_export.model(self.config.generator, self.params(strength), int8=int8, floats=floats)

    def _session(self, strength: float, int8: bool) -> Callable[[np.ndarray], np.ndarray]:
        if (strength, int8) not in self._sessions:
            self._sessions[strength, int8] = onnx_export.session(self.onnx(int8=int8, strength=strength, floats=True))
        return self._sessions[strength, int8]

    @functools.cached_property
    def _sessions(self) -> dict[tuple[float, bool], Callable]:
        return {}

    def export(self, out: str | os.PathLike, *, int8: bool = False) -> None:
        """Writes the style as an ONNX file: input `photograph`, output `stylised`, both uint8 [N, height, width, 3]."""
        files.check_output(out, suffixes={".onnx"}, name="out")
        files.write(out, self.onnx(int8=int8).SerializeToString())

    def save(self, path: str | os.PathLike, *, self_contained: bool = False) -> None:
        """Writes the style file: the fast parameters, or with `self_contained` all that `stylize` needs.

        Where the bundle that the style records is gone, it is self-contained in any case (errors.Adjusted).
        """
        check_style_path(path)
        bundle = self.file.bundle
        if bundle and not self_contained and not bundles.exists(bundle):
            warnings.warn(f"`self_contained`: {path} is, for its bundle {bundle} is gone", Adjusted, stacklevel=2)
            self_contained = True
        extra = {"slow": self.slow, "config": self.config, "plain": self.plain} if self_contained else {}
        style_files.save_style(path, dataclasses.replace(self.file, **extra))


def check_style_path(path: str | os.PathLike) -> None:
    """Raises InputError or FileNotFoundError unless a style file can be written there."""
    files.check_output(path, suffixes={".safetensors"}, name="out")


def blend(parts: Sequence[tuple[Style, float]]) -> Style:
    """The convex combination of styles: the weighted mean of their fast parameters, each `(style, weight)`.

    Weights of at least 0 that don't sum to 1 are divided by their sum, which is said (errors.Adjusted). Where one
    weight is 1 and all others 0, the result is that style, bit for bit. Raises InputError for no style, styles of
    different bundles, or weights that are negative or all zero.
    """
    if not parts:
        raise InputError("`weights`: expected at least one style and its weight, got none")
    styles, weights = [style for style, _ in parts], [float(weight) for _, weight in parts]
    first, total = styles[0], sum(weights)
    for style in styles:
        if _of(style) != _of(first):
            raise InputError(
                "`style_file`: expected styles adapted from one bundle, got styles of "
                f"{first.file.bundle or 'an unnamed one'} ({first.file.slow_sha256[:12]}) and "
                f"{style.file.bundle or 'an unnamed one'} ({style.file.slow_sha256[:12]}); adapt both from the same"
            )
    if not all(math.isfinite(w) and w >= 0 for w in weights) or total == 0:
        raise InputError(f"`weights`: expected numbers of at least 0, not all of them 0, got {_numbers(weights)}")
    if abs(total - 1) > _TOLERANCE:
        weights = [weight / total for weight in weights]
        warnings.warn(f"`weights`: divided by their sum, {total:g}, to {_numbers(weights)}", Adjusted, stacklevel=2)
    used = [(style, weight) for style, weight in zip(styles, weights, strict=True) if weight]
    if len(used) == 1:
        return used[0][0]
    fast = {path: sum(weight * np.float64(style.file.fast[path]) for style, weight in used) for path in first.file.fast}
    file = dataclasses.replace(
        first.file,
        fast={path: np.float32(np.float16(x)) for path, x in fast.items()},  # as the style file holds them
        steps=max(style.file.steps for style in styles),
        history=(),
    )
    return dataclasses.replace(first, file=file)


def compose(photograph: Picture, parts: Sequence[tuple[Style, Picture | None]], **knobs: Any) -> np.ndarray:
    """The photograph with each `(style, mask)` of `parts` in its region: uint8 [H, W, 3]; knobs: as `Style.stylize`.

    A mask is a picture: white where its style goes, grey partly, or None for everywhere; of another size than the
    photograph, it is resized, which is said (errors.Adjusted). Edges are feathered. Where masks overlap so that they
    sum to more than 1, they are divided by their sum; what they leave stays the photograph.
    """
    return codec.to_uint8(stylized(photograph, parts, Knobs(**knobs))[0])


def stylized(
    photograph: Picture, parts: Sequence[tuple[Style, Picture | None]], knobs: Knobs
) -> tuple[np.ndarray, np.ndarray | None]:
    """What `compose` returns, as f32[H, W, 3], and the photograph's alpha, f32[H, W], or None where it is opaque."""
    if not parts:
        raise InputError("`style_file`: expected at least one style, got none")
    content, alpha = codec.load(photograph, max_pixels=knobs.max_pixels)
    size = content.shape[:2]
    regions = [None if mask is None else masks.load(mask, *size, max_pixels=knobs.max_pixels) for _, mask in parts]
    if knobs.content_size is not None:
        _check_scaled(size, knobs)
        scaled = lambda x: None if x is None else resize_short(x, knobs.content_size)
        content, alpha, regions = scaled(content), scaled(alpha), [scaled(mask) for mask in regions]
    least = max(architecture.parse(style.config.generator.arch).min_side for style, _ in parts)
    architecture.check_size(*content.shape[:2], least=least)
    shares = _shares(content.shape[:2], regions, knobs.feather)
    outputs = (transfer(knobs.color, style.apply(content, knobs), content) for style, _ in parts)
    if shares is None:
        return next(outputs), alpha
    mixed = content.copy()
    for output, share in zip(outputs, shares, strict=True):
        mixed += share[..., None] * (output - content)  # what no mask takes stays the photograph
    return mixed, alpha


def _check_scaled(size: tuple[int, int], knobs: Knobs) -> None:
    pixels = math.prod(size) * (knobs.content_size / min(size)) ** 2
    if pixels > knobs.max_pixels:
        height, width = size
        raise InputError(
            f"`content_size`: expected at most {knobs.max_pixels} pixels, got {pixels:.0f} for a photograph of "
            f"{width} x {height} px; use a smaller one, or pass a larger max_pixels"
        )


def _shares(
    size: tuple[int, int], regions: Sequence[np.ndarray | None], feather: float | None
) -> list[np.ndarray] | None:
    """Each mask's share of every pixel, f32[H, W]; None where the only style goes everywhere."""
    if len(regions) == 1 and regions[0] is None:
        return None
    radius = _FEATHER * min(size) if feather is None else feather
    shares = [np.ones(size, np.float32) if mask is None else masks.feather(mask, radius) for mask in regions]
    total = np.maximum(sum(shares), 1)
    return [share / total for share in shares]


def stylize_batch(photographs: Sequence[Picture], styles: Sequence[Style]) -> list[np.ndarray]:
    """Each photograph in the style at its place, all of one size, in one forward pass: a list of uint8 [H, W, 3].

    On accelerators this is faster than one by one; on CPUs about as fast. Raises InputError for numbers or sizes that
    don't match, and styles of different bundles.
    """
    if len(photographs) != len(styles) or not styles:
        raise InputError(
            f"`styles`: expected one for each photograph, got {len(styles)} for {len(photographs)} photographs"
        )
    if len({_of(style) for style in styles}) > 1:
        raise InputError("`styles`: expected styles adapted from one bundle; stylise those of each bundle together")
    contents = [codec.load(photograph)[0] for photograph in photographs]
    sizes = {f"{x.shape[1]} x {x.shape[0]}" for x in contents}
    if len(sizes) > 1:
        raise InputError(f"`photographs`: expected one size, got {' and '.join(sorted(sizes))}; resize them")
    least = architecture.parse(styles[0].config.generator.arch).min_side
    architecture.check_size(*contents[0].shape[:2], least=least)
    fast = jax.tree.map(lambda *x: jnp.stack(x), *(style.file.fast for style in styles))
    stacked = np.stack(contents)
    outputs = generator.stylize_each(styles[0].config.generator, fast, styles[0].slow, stacked)
    return [codec.to_uint8(output) for output in np.asarray(outputs)]


def record(styles: Sequence[Style], knobs: Knobs) -> dict[str, str]:
    """What an output file says of how it was made (images.save): the program, its version, the styles and knobs."""
    hashes = " + ".join(style.file.sha256[:12] for style in styles)
    return {
        "Software": f"metastyle {__version__}",
        "Description": f"style {hashes}, strength {knobs.strength:g}, color {knobs.color}",
    }


def _of(style: Style) -> tuple:
    """What the styles of one bundle have in common."""
    return style.file.arch, style.file.slow_sha256, tuple((path, x.shape) for path, x in style.file.fast.items())


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
