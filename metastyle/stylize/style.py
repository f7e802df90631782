"""An adapted style, and what can be done with it: strength, blends, regions, colours, photographs of any size.

A style is a small set of fast parameters, so it can be moved and mixed after adaptation. Strength s interpolates from
the bundle's plain parameters theta_0 (train/plain_parameters.py), with which the network G gives a photograph x back,
to the style's parameters theta_1, and beyond them:

    theta(s) = theta_0 + s (theta_1 - theta_0)
    y(s)     = G(theta(s), x) + max(0, 1 - s) (x - G(theta_0, x))        clipped to [0, 1]

The second term adds what the network cannot give back of a photograph, such as its colours, which the instance norms
remove. So y(0) is the photograph itself, and y(1) the style.
"""

import dataclasses
import functools
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metastyle import __version__, config
from metastyle.errors import Adjusted, InputError, shown
from metastyle.images import codec, masks, objects
from metastyle.images.codec import MAX_PIXELS, Picture
from metastyle.images.color import COLORS, recolor, transfer
from metastyle.images.resize import resize_short
from metastyle.nets import architecture, generator, padded
from metastyle.nets.params import Flat
from metastyle.nets.phases import mean_over_phases
from metastyle.stylize import material, onnx_export, onnx_sessions, tiling
from metastyle.stylize import refine as refinement
from metastyle.stylize.refine import Painting
from metastyle.system import files, jax_host
from metastyle.system.arguments import check_choice, check_count, check_number, check_path, pairs
from metastyle.system.content import ByContent
from metastyle.system.tensor_file import sha256
from metastyle.weights import bundles, style_files, vgg_files
from metastyle.weights.style_files import StyleFile

MAX_STRENGTH = 1.5
MAX_SEED = 2**24 - 1  # of the noise: float32, in which seeds are kept, has every whole number up to here
_FEATHER = 0.01  # the default of `Knobs.feather`, as a share of the shorter side
_TOLERANCE = 1e-6  # how far from 1 the sum of weights may be


@dataclass(frozen=True)
class Knobs:
    """How styles are applied to a photograph. Raises InputError for a value that is out of range.

    strength: 0 is the photograph, 1 the style, at most 1.5; parameters are interpolated (docs/control.md).
    feather: px, the standard deviation by which the edges of masks are blurred; by default a hundredth of the shorter
      side.
    color: "style" takes the style's colours, "content" keeps the photograph's colours, "histogram" its palette
      (images/color.py `transfer`).
    content_size: px, the photograph is resized first so that its shorter side has this length; the result has that
      size. A smaller size gives strokes that are larger in the picture.
    tile: px, the size of tiles, which are exact at their seams and bound the memory; 0 computes the whole picture at
      once; by default it is what fits the free memory (stylize/tiling.py).
    phases: 1, 4 or 16; the result is the mean over so many places on the network's pixel grid, which removes the
      pattern of that grid and takes so many times as long; by default as the style was adapted.
    refine: iterations by which the pixels of the result are optimised towards the paintings (stylize/refine.py): 10 to
      20 give large shapes and clean colours, and take seconds at 256 px, minutes at 1,024 px.
    vgg: the loss network of `refine` (weights/vgg_files.py `load`); by default VGG-16 where it is at hand, else the
      packaged one.
    stroke: the size of strokes for `refine`, as in `Stylizer.adapt`.
    palette: from 0 to 1, by which share the result takes the means and deviations of the paintings' lightness and
      colours (images/color.py `recolor`).
    seed: of the noise that a network with noise maps paints flat areas from (nets/noise.py), below 2^24: another whole
      number gives another drawing in the same style. A network without them, as the packaged one, has no use for it.
    backend: "jax"; "onnx", which gives the same to a 255th by onnxruntime; or "onnx-int8", coarser and faster on CPUs.
    progress: whether tiles show their progress and the time left.
    max_pixels: a larger photograph is refused.
    """

    strength: float = 1.0
    feather: float | None = None
    color: str = "style"
    content_size: int | None = None
    tile: int | None = None
    phases: int | None = None
    refine: int = 0
    vgg: str | os.PathLike | None = None
    stroke: float = 1.0
    palette: float = 0.0
    seed: int = 0
    backend: str = "jax"
    progress: bool = False
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        check_number("strength", self.strength, 0, MAX_STRENGTH)
        check_phases(self.phases)
        check_count("refine", self.refine, 0)
        material.check_stroke(self.stroke)
        check_number("palette", self.palette, 0, 1)
        check_count("seed", self.seed, 0, MAX_SEED)
        check_choice("color", self.color, COLORS)
        check_choice("backend", self.backend, config.BACKENDS)
        check_count("max_pixels", self.max_pixels, 1)
        if self.vgg is not None:
            check_path("vgg", self.vgg)
        if self.feather is not None:
            check_number("feather", self.feather, 0)
        size = self.content_size
        if size is not None and not (isinstance(size, int | np.integer) and size >= architecture.MIN_SIDE):
            raise InputError(f"`content_size`: expected whole px, at least {architecture.MIN_SIDE}, got {size!r}")
        tiling.check_tile(self.tile)
        if self.tile and self.backend != "jax":
            raise InputError(f"`tile`: expected none, for {self.backend} takes whole pictures; use --backend=jax")


@dataclass(frozen=True, eq=False, repr=False)
class Style(ByContent):
    """An adapted style, which stylises photographs of any size. Two are equal if they stylise alike.

    plain: the bundle's plain parameters (train/plain_parameters.py); None where it has none.
    paintings: the pictures that the style was adapted to, with their weights, for `refine`. A file does not hold them.
    """

    config: config.Config
    slow: Flat
    file: StyleFile
    plain: Flat | None = None
    paintings: tuple[Painting, ...] = ()

    @functools.cached_property
    def content(self) -> tuple[Any, ...]:
        """The hashes of its parameters, and the network."""
        return self.file.sha256, self.plain and sha256(self.plain), self.config.generator

    def describe(self) -> str:
        return self.file.describe()

    @property
    def history(self) -> tuple[float, ...]:
        """The loss before each step, on that step's support photographs."""
        return self.file.history

    def stylize(self, photograph: Picture, *, mask: Picture | None = None, **knobs: Any) -> np.ndarray:
        """The photograph in this style: uint8 [H, W, 3], of the photograph's size.

        The packaged bundle takes sides of at least 16 px; deeper architectures need more.

        Args:
          photograph: a path, PIL image, array, tensor, file or the bytes of one (images/objects.py `plain`).
          mask: a picture, white where the style goes, black where the photograph stays, grey in between.
          knobs: strength, colours, size and more, by the names of `Knobs`, which explains them.

        Raises InputError or FileNotFoundError, in one line, for bad input.
        """
        return codec.to_uint8(stylized(photograph, [(self, mask)], Knobs(**knobs))[0])

    def stylize_file(
        self,
        photograph: Picture,
        out: str | os.PathLike,
        *,
        mask: Picture | None = None,
        quality: int | None = None,
        keep_exif: bool = False,
        **knobs: Any,
    ) -> None:
        """Writes the stylised photograph. Where the photograph is transparent, so is the output.

        The output has the photograph's resolution (pixels per inch), and its EXIF if `keep_exif`, and records style and
        knobs (`record`). quality: 1 to 100, of JPEG and WebP. knobs: as for `stylize`.
        """
        files.check_output(out, suffixes=codec.IMAGE_SUFFIXES, name="out", inputs=(photograph, mask))
        codec.check_quality(quality)
        chosen, photograph = Knobs(**knobs), objects.plain(photograph, "content")
        origin = codec.read_origin(photograph, exif=keep_exif)
        pixels, alpha = stylized(photograph, [(self, mask)], chosen)
        kept = {"alpha": alpha, "quality": quality, "metadata": record([self], chosen), "origin": origin}
        codec.save(out, pixels, **kept, name="out")

    def params(self, strength: float = 1.0) -> Flat:
        """All parameters of the network at this strength. Raises InputError where it is out of range."""
        check_number("strength", strength, 0, MAX_STRENGTH)
        if strength == 1:
            return self.slow | self.file.fast
        moved = {path: x + strength * (self.file.fast[path] - x) for path, x in self._plain().items()}
        theta: Flat = {path: np.asarray(x, np.float32) for path, x in moved.items()}
        return self.slow | theta

    def _plain(self) -> Flat:
        if self.plain is None:
            raise InputError(
                "`strength`: expected 1, for the bundle of this style has no plain parameters to start from; "
                "make them with `python -m experiments.plain --bundle=...`"
            )
        return self.plain

    def with_paintings(self, styles: Picture | Sequence[Picture], max_pixels: int = MAX_PIXELS) -> "Style":
        """This style with the pictures that `refine` leads towards, which a style from a file needs."""
        return dataclasses.replace(self, paintings=equal_weights(material.load_styles(styles, max_pixels)))

    def with_phases(self, phases: int) -> "Style":
        """This style, which stylises as the mean over so many phases (`Knobs`) from now on, and says so in its file."""
        return dataclasses.replace(
            self, config=with_phases(self.config, phases), file=dataclasses.replace(self.file, phases=phases)
        )

    def apply(self, content: np.ndarray, knobs: Knobs, watch: refinement.Watch | None = None) -> np.ndarray:
        """y(strength) of the module's docstring, refined if asked for: f32[H, W, 3] in [0, 1] -> the same.

        watch: follows the refinement.
        """
        if knobs.strength == 0:
            return content
        if (knobs.refine or knobs.palette) and not self.paintings:
            name = "refine" if knobs.refine else "palette"
            raise InputError(
                f"`{name}`: expected the paintings of the style, which its file does not hold; pass --style "
                "(Style.with_paintings)"
            )
        output = self._mixed(content, knobs)
        if knobs.refine:
            output = self._refined(output, content, knobs, watch)
        return recolored(output, self.paintings, knobs.palette * min(1.0, knobs.strength))

    def _refined(
        self, output: np.ndarray, content: np.ndarray, knobs: Knobs, watch: refinement.Watch | None
    ) -> np.ndarray:
        plan = refinement.Refinement(knobs.refine, knobs.strength, knobs.stroke)
        with refinement.bar(show=knobs.progress and watch is None) as on_step:
            on_step, state_file = watch or refinement.Watch(on_step)
            watch = refinement.Watch(jax_host.for_host(on_step, "on_step"), state_file)
            with jax_host.computing():
                params = vgg_files.load(knobs.vgg or vgg_files.at_hand())
                return refinement.refine(output, content, self.paintings, params, plan, watch)

    def _mixed(self, content: np.ndarray, knobs: Knobs) -> np.ndarray:
        output = self._network(content, knobs.strength, knobs)
        if knobs.strength >= 1:
            return output
        mixed = content - self._network(content, 0.0, knobs)
        mixed *= 1 - knobs.strength
        mixed += output
        return np.clip(mixed, 0, 1, out=mixed)

    def _network(self, content: np.ndarray, strength: float, knobs: Knobs) -> np.ndarray:
        net = with_phases(self.config, knobs.phases).generator
        params = lambda: generator.with_seed(self.params(strength), np.asarray(knobs.seed, np.float32))
        if knobs.backend == "jax":
            return tiling.stylize(net, params(), content, knobs.tile, progress=knobs.progress)
        once, int8 = dataclasses.replace(net, phases=1), knobs.backend == "onnx-int8"
        build = lambda: onnx_export.model(once, params(), int8=int8, floats=True)
        session = onnx_sessions.session((once, *self.content[:2], strength, knobs.seed, int8), build, int8=int8)
        run = lambda x: session(x[None])[0]
        return mean_over_phases(run, content, net.phases, architecture.parse(net.arch).multiple)

    def onnx(self, *, int8: bool = False, strength: float = 1.0) -> Any:
        """G(theta(strength)) as an onnx.ModelProto (stylize/onnx_export.py), with the phases of the style."""
        return onnx_export.model(self.config.generator, self.params(strength), int8=int8)

    def export(self, out: str | os.PathLike, *, int8: bool = False) -> None:
        """Writes the style as an ONNX file: input `photograph`, output `stylised`, both uint8 [N, height, width, 3]."""
        files.check_output(out, suffixes={".onnx"}, name="out")
        files.write(out, self.onnx(int8=int8).SerializeToString())

    def save(self, path: str | os.PathLike, *, self_contained: bool = False, name: str = "out") -> None:
        """Writes the style file: the fast parameters, or with `self_contained` everything that `stylize` needs.

        Where the bundle that the style records is gone, the file is self-contained in any case, and a warning says so
        (errors.Adjusted). name: the argument that errors name.
        """
        check_style_path(path, name)
        bundle = self.file.bundle
        if bundle and not self_contained and not bundles.exists(bundle):
            message = (
                f"`self_contained`: {shown(path)} holds the bundle's parameters too, since the bundle {bundle} is gone"
            )
            warnings.warn(message, Adjusted, stacklevel=2)
            self_contained = True
        extra = {"slow": self.slow, "config": self.config, "plain": self.plain} if self_contained else {}
        style_files.save_style(path, dataclasses.replace(self.file, **extra), name)


def equal_weights(paintings: Sequence[np.ndarray]) -> tuple[Painting, ...]:
    """The pictures of one style, each with the same weight."""
    return tuple((x, 1 / len(paintings)) for x in paintings)


def recolored(picture: np.ndarray, paintings: Sequence[Painting], share: float) -> np.ndarray:
    """The picture f32[H, W, 3], this share of the way to the colours of the paintings."""
    if not share:
        return picture
    found = picture * np.float32(1 - share)
    for painting, weight in paintings:
        found += np.float32(share * weight) * recolor(picture, painting)
    return found


def check_phases(phases: int | None) -> None:
    """Raises InputError unless pictures can be stylised with so many phases; None leaves them as they are."""
    if phases is not None:
        check_choice("phases", phases, config.PHASES)


def with_phases(settings: config.Config, phases: int | None) -> config.Config:
    """The settings with a generator of so many phases; None leaves them. Raises InputError as `check_phases`."""
    check_phases(phases)
    if phases is None:
        return settings
    return dataclasses.replace(settings, generator=dataclasses.replace(settings.generator, phases=phases))


def check_style_path(path: str | os.PathLike, name: str = "out") -> None:
    """Raises InputError or FileNotFoundError, which name the argument, unless a style file can be written there."""
    files.check_output(path, suffixes={".safetensors"}, name=name)


def blend(parts: Sequence[tuple[Style, float]]) -> Style:
    """A convex combination of styles: the weighted mean of their fast parameters.

    parts: pairs `(style, weight)`. Weights of at least 0 that don't sum to 1 are divided by their sum, and a warning
    says so (errors.Adjusted). Where one weight is 1 and all others are 0, the result is that style, bit for bit.

    Raises InputError for no style, styles of different bundles, or weights that are negative or all zero.
    """
    parts = pairs("parts", parts, Style, "(style, weight)")
    for _, weight in parts:
        check_number("weights", weight, 0)
    styles, weights = [style for style, _ in parts], [float(weight) for _, weight in parts]
    first, total = styles[0], sum(weights)
    for style in styles:
        if _bundle_key(style) != _bundle_key(first):
            raise InputError(
                "`style_file`: expected styles adapted from one bundle, got styles of "
                f"{first.file.bundle or 'an unnamed one'} ({first.file.slow_sha256[:12]}) and "
                f"{style.file.bundle or 'an unnamed one'} ({style.file.slow_sha256[:12]}); adapt both from the same"
            )
    if total == 0:
        raise InputError(f"`weights`: expected numbers of at least 0, not all of them 0, got {_numbers(weights)}")
    if abs(total - 1) > _TOLERANCE:
        weights = [weight / total for weight in weights]
        warnings.warn(f"`weights`: divided by their sum, {total:g}, to {_numbers(weights)}", Adjusted, stacklevel=2)
    used = [(style, weight) for style, weight in zip(styles, weights, strict=True) if weight]
    if len(used) == 1:
        return used[0][0]
    fast = style_files.as_stored({path: _weighted_sum(path, used) for path in first.file.fast})
    steps = max(style.file.steps for style in styles)
    phases = max(style.file.phases for style, _ in used)
    file = dataclasses.replace(first.file, fast=fast, steps=steps, history=())
    known = all(style.paintings for style, _ in used)
    paintings = tuple((x, weight * w) for style, weight in used for x, w in style.paintings) if known else ()
    return dataclasses.replace(first, file=file, paintings=paintings).with_phases(phases)


def _weighted_sum(path: str, parts: Sequence[tuple[Style, float]]) -> np.ndarray:
    return np.asarray(sum(weight * np.asarray(style.file.fast[path], np.float64) for style, weight in parts))


def compose(photograph: Picture, parts: Sequence[tuple[Style, Picture | None]], **knobs: Any) -> np.ndarray:
    """The photograph with several styles, each in its region: uint8 [H, W, 3].

    parts: pairs `(style, mask)`. A mask is a picture, white where its style goes and grey where it goes partly, or None
    for everywhere. A mask of another size than the photograph is resized, and a warning says so (errors.Adjusted).
    Edges are feathered. Where masks sum to more than 1, they are divided by their sum. Where they sum to less, the rest
    is the photograph. knobs: as for `Style.stylize`.
    """
    return codec.to_uint8(stylized(photograph, parts, Knobs(**knobs))[0])


def stylized(
    photograph: Picture,
    parts: Sequence[tuple[Style, Picture | None]],
    knobs: Knobs,
    watch: refinement.Watch | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The result of `compose` as f32[H, W, 3], and the photograph's alpha, f32[H, W], or None where it is opaque.

    watch: follows the refinement, where there is one style.
    """
    parts = pairs("parts", parts, Style, "(style, mask)")
    content, alpha = codec.load(photograph, max_pixels=knobs.max_pixels)
    size = content.shape[:2]
    regions = [None if mask is None else masks.load(mask, *size, max_pixels=knobs.max_pixels) for _, mask in parts]
    if knobs.content_size is not None:
        short = knobs.content_size
        check_scaled(size, short, knobs.max_pixels)
        content = resize_short(content, short)
        alpha, *regions = (None if x is None else resize_short(x, short) for x in (alpha, *regions))
    least = max(architecture.parse(style.config.generator.arch).min_side for style, _ in parts)
    architecture.check_size(*content.shape[:2], least=least)
    shares = region_shares(content.shape[:2], regions, knobs.feather)
    outputs = (transfer(knobs.color, style.apply(content, knobs, watch), content) for style, _ in parts)
    if shares is None:
        return next(outputs), alpha
    mixed = content.copy()
    for output, share in zip(outputs, shares, strict=True):
        mixed += share[..., None] * (output - content)  # outside all masks, the photograph stays
    return mixed, alpha


def check_scaled(size: tuple[int, ...], short: int, max_pixels: int, name: str = "content_size") -> None:
    """Raises InputError if a photograph of this (height, width) would get too large with this shorter side."""
    pixels = math.prod(size) * (short / min(size)) ** 2
    if pixels > max_pixels:
        height, width = size
        raise InputError(
            f"`{name}`: expected at most {max_pixels} pixels, got {pixels:.0f} for a photograph of "
            f"{width} x {height} px; use a smaller one, or pass a larger max_pixels"
        )


def region_shares(
    size: tuple[int, ...], regions: Sequence[np.ndarray | None], feather: float | None
) -> list[np.ndarray] | None:
    """The share of every pixel that each mask gets, f32[H, W]; None where the only style goes everywhere."""
    if len(regions) == 1 and regions[0] is None:
        return None
    radius = _FEATHER * min(size) if feather is None else feather
    shares = [np.ones(size, np.float32) if mask is None else masks.feather(mask, radius) for mask in regions]
    total = np.maximum(sum(shares), 1)
    return [share / total for share in shares]


@jax_host.computing()
def stylize_batch(photographs: Sequence[Picture], styles: Sequence[Style]) -> list[np.ndarray]:
    """Stylises the i-th photograph in the i-th style, all in one forward pass: a list of uint8 [H, W, 3].

    The photographs have one size. On accelerators this is faster than one by one; on CPUs it is about as fast. Raises
    InputError for numbers or sizes that don't match, and for styles of different bundles.
    """
    photographs, styles = objects.several(photographs), objects.several(styles)
    if not all(isinstance(style, Style) for style in styles):
        raise InputError("`styles`: expected styles, got something else; use load_style(path)")
    if len(photographs) != len(styles) or not styles:
        raise InputError(
            f"`styles`: expected one for each photograph, got {len(styles)} for {len(photographs)} photographs"
        )
    if len({_bundle_key(style) for style in styles}) > 1:
        raise InputError("`styles`: expected styles adapted from one bundle; stylise those of each bundle together")
    contents = [codec.load(photograph)[0] for photograph in photographs]
    sizes = {f"{x.shape[1]} x {x.shape[0]}" for x in contents}
    if len(sizes) > 1:
        raise InputError(f"`photographs`: expected one size, got {' and '.join(sorted(sizes))}; resize them")
    net = styles[0].config.generator
    net = dataclasses.replace(net, phases=max(style.config.generator.phases for style in styles))
    architecture.check_size(*contents[0].shape[:2], least=architecture.parse(net.arch).min_side)
    fast = [style.file.fast for style in styles]
    outputs = padded.stylize_each(net, fast, styles[0].slow, np.stack(contents))
    return [codec.to_uint8(output) for output in outputs]


def record(styles: Sequence[Style], knobs: Knobs) -> dict[str, str]:
    """The metadata of an output file (images/codec.py `save`): the program, its version, the styles and knobs."""
    hashes = " + ".join(style.file.sha256[:12] for style in styles)
    return {
        "Software": f"metastyle {__version__}",
        "Description": f"style {hashes}, strength {knobs.strength:g}, color {knobs.color}",
    }


def _bundle_key(style: Style) -> tuple:
    """Equal for the styles of one bundle."""
    return style.file.arch, style.file.slow_sha256, tuple((path, x.shape) for path, x in style.file.fast.items())


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
