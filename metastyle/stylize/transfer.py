"""One photograph in the style of one painting, in one call: what `metastyle transfer` does.

    picture = metastyle.transfer("photo.jpg", "painting.jpg", quality="best")

The packaged bundle guesses the style, adapts to it on this photograph at the output's size and stylises the photograph,
and the pixels of the result are refined; the quality "fast" only guesses and stylises. Each part can be had alone:
`Stylizer.adapt`, `Style.stylize` and its `refine`.
"""

import importlib.util
import math
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import NamedTuple, cast

import jax
import numpy as np

from metastyle.config import DEFAULT_BUNDLE, PALETTE
from metastyle.errors import Adjusted, InputError
from metastyle.images import codec, masks, objects
from metastyle.images.codec import MAX_PIXELS, Picture
from metastyle.images.resize import resize_short
from metastyle.nets import architecture
from metastyle.stylize import cost, material, stylizer
from metastyle.stylize import refine as refinement
from metastyle.stylize.cost import Recipe, Work
from metastyle.stylize.style import Knobs, Style, check_scaled, stylized
from metastyle.system import files, jax_host, resume
from metastyle.system.arguments import check_choice, check_count, check_path
from metastyle.weights import vgg_files

QUALITIES = ("fast", "good", "best")
_STEPS = 3  # of adaptation: they bring the colours; further ones change little once the pixels are refined
_ONNX = 4e6  # px: larger pictures are not given to onnxruntime
_ITERATIONS = (2, 3, 5, 7, 10, 15, 20, 30, 50, 100)


class Progress(NamedTuple):
    """What `on_step` is called with: the share of the work that is done, from 0 to 1, and what is being done."""

    share: float
    doing: str


class Result(NamedTuple):
    """What a transfer makes. pixels: f32[H, W, 3] in [0, 1]. alpha: f32[H, W], or None where the photo is opaque."""

    pixels: np.ndarray
    alpha: np.ndarray | None
    style: Style


def backend_for(size: tuple[int, int]) -> str:
    """What stylises: on CPUs onnxruntime, where it is installed, for it compiles nothing.

    Large pictures are left to JAX, which has tiles for them.
    """
    installed = all(importlib.util.find_spec(package) for package in ("onnx", "onnxruntime"))
    return "onnx" if installed and math.prod(size) <= _ONNX and jax.default_backend() == "cpu" else "jax"


@dataclass(frozen=True)
class Options:
    """How a photograph is transferred; `transfer` explains it. Raises InputError for a value that is out of range."""

    quality: str = "good"
    seconds: float | None = None
    size: int | None = None
    strength: float = 1.0
    color: str = "style"
    palette: float = PALETTE
    stroke: float = 1.0
    feather: float | None = None
    seed: int = 0
    vgg: str | None = None
    bundle: str = DEFAULT_BUNDLE
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        check_choice("quality", self.quality, QUALITIES)
        if self.seconds is not None and not (isinstance(self.seconds, Real) and 0 < self.seconds < float("inf")):
            raise InputError(f"`seconds`: expected more than 0, got {self.seconds!r}; say how long it may take")
        check_path("bundle", self.bundle)
        if self.size is not None:
            check_count("size", self.size, architecture.MIN_SIDE)
        self.knobs(Recipe(), (1, 1))

    def recipe(self) -> Recipe:
        """What is done for this quality.

        `good` refines with the packaged network, which takes a third of VGG-16's time, and `best` with VGG-16. Without
        it, `best` takes more iterations with the packaged one. The steps of adaptation see one phase: through four they
        would take two and a half times as long, and after the refinement no difference is left.
        """
        if self.quality == "fast":
            return Recipe()
        if self.quality == "good":
            return Recipe(_STEPS, refine=10, vgg=self.vgg or vgg_files.PACKAGED)
        vgg = self.vgg or vgg_files.at_hand()
        return Recipe(_STEPS, refine=20 if vgg == vgg_files.PACKAGED else 15, vgg=vgg)

    def ladder(self) -> list[Recipe]:
        """From quick to good: what `seconds` chooses from.

        Five iterations with VGG-16 are better than ten with the packaged network, and take longer.
        """
        best, packaged = self.vgg or vgg_files.at_hand(), vgg_files.PACKAGED
        tried = [(best, k) for k in _ITERATIONS]
        if best == "vgg16" and not self.vgg:
            tried = [(packaged if k <= 10 else best, k) for k in _ITERATIONS]
            tried[5:5] = [(best, 5), (best, 7), (best, 10)]
        return [Recipe(phases=1), Recipe(), Recipe(_STEPS), *(Recipe(_STEPS, refine=k, vgg=vgg) for vgg, k in tried)]

    def knobs(self, recipe: Recipe, size: tuple[int, int]) -> Knobs:
        """How a photograph that is stylised at this (height, width) is stylised by this recipe."""
        return Knobs(
            strength=self.strength,
            feather=self.feather,
            color=self.color,
            content_size=self.size,
            phases=recipe.phases,
            refine=recipe.refine,
            vgg=recipe.vgg,
            stroke=self.stroke,
            palette=self.palette,
            seed=self.seed,
            backend=backend_for(size),
            max_pixels=self.max_pixels,
        )


class StateFiles(NamedTuple):
    """The files of a transfer that may be stopped: what was begun, and the state of its two parts."""

    begun: Path
    adapting: Path
    refining: Path

    @classmethod
    def beside(cls, out: str | os.PathLike) -> "StateFiles":
        """Those for this output."""
        first = resume.beside(out)
        return cls(first.with_name(f"{first.name}.begun"), first, first.with_name(f"{first.name}.refine"))

    @property
    def are_kept(self) -> bool:
        """Whether there is a state of either part, from which the work can go on."""
        return any(files.stat_mode(path, "out") is not None for path in (self.adapting, self.refining))

    def delete(self) -> None:
        """Deletes them, when the work is done."""
        for path in self:
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Job:
    """A transfer that is about to begin: the pictures are read, and what will be done is decided."""

    photograph: Picture
    scaled: np.ndarray  # f32[H, W, 3], the photograph at the size of the result
    paintings: list[np.ndarray]
    mask: Picture | None
    options: Options
    recipe: Recipe
    work: Work

    def run(self, on_step: Callable[[Progress], None] | None = None, state: StateFiles | None = None) -> Result:
        """Does the work.

        state: for long work. The state is kept in these files, and the same call goes on from there. SIGTERM and SIGINT
        end the work with `errors.Stopped`. The caller deletes the files.
        """
        options, recipe = self.options, self.recipe
        tell = on_step or (lambda progress: None)
        shares = cost.shares(self.work, recipe)
        style = stylizer.load(options.bundle).adapt(
            self.paintings,
            steps=recipe.steps,
            support=self.scaled,
            seed=options.seed,
            output_size=min(self.work.size),
            stroke=options.stroke,
            max_pixels=options.max_pixels,
            on_step=lambda s: tell(Progress(shares.learning * (s.step + 1) / recipe.steps, "learning the style")),
            state_file=state and state.adapting,
        )
        tell(Progress(shares.learning, "stylising"))
        told = lambda s: tell(Progress(1 - shares.refining * (1 - s.share), "refining"))
        watch = refinement.Watch(told, state and state.refining)
        pixels, alpha = stylized(self.photograph, [(style, self.mask)], options.knobs(recipe, self.work.size), watch)
        tell(Progress(1.0, "done"))
        return Result(pixels, alpha, style.with_phases(recipe.phases))


@jax_host.computing()
def prepare(
    photo: Picture,
    styles: Picture | Sequence[Picture],
    mask: Picture | None,
    options: Options,
    recipe: Recipe | None = None,
) -> Job:
    """Reads the pictures of a transfer, checks everything that can be checked, and decides what will be done.

    recipe: what will be done, where that is decided already.

    Raises InputError or FileNotFoundError for bad input.
    """
    photo = objects.plain(photo, "content")
    photograph, _ = codec.load(photo, max_pixels=options.max_pixels)
    if mask is not None:
        mask = objects.plain(mask, "mask")
        masks.load(mask, *photograph.shape[:2], max_pixels=options.max_pixels)
    paintings = material.load_styles(styles, options.max_pixels)
    for painting in paintings:
        architecture.check_size(painting.shape[0], painting.shape[1], architecture.MIN_SIDE, "style")
    scaled = photograph
    if options.size is not None:
        check_scaled(photograph.shape[:2], options.size, options.max_pixels, "size")
        scaled = resize_short(photograph, options.size)
    architecture.check_size(scaled.shape[0], scaled.shape[1], architecture.MIN_SIDE)
    aspects = tuple(x.shape[1] / x.shape[0] for x in paintings)
    work = Work((scaled.shape[0], scaled.shape[1]), aspects, options.stroke)
    recipe = recipe or (options.recipe() if options.seconds is None else _fit(work, options))
    if recipe.refine:
        vgg_files.load(recipe.vgg)
    return Job(photo, scaled, paintings, mask, options, recipe, work)


def _fit(work: Work, options: Options) -> Recipe:
    """The best recipe that takes at most `options.seconds`; the quickest one, if none does."""
    machine, ladder, seconds = cost.measure(), options.ladder(), cast(float, options.seconds)
    fitting = [recipe for recipe in ladder if cost.estimate(work, recipe, machine).seconds <= seconds]
    if not fitting:
        least = cost.estimate(work, ladder[0], machine).seconds
        message = f"`seconds`: the quickest way takes about {least:.1f}, got {seconds:g}; it is what will be done"
        warnings.warn(message, Adjusted, stacklevel=4)
    return fitting[-1] if fitting else ladder[0]


def transfer(
    photo: Picture,
    styles: Picture | Sequence[Picture],
    *,
    quality: str = "good",
    seconds: float | None = None,
    size: int | None = None,
    strength: float = 1.0,
    color: str = "style",
    palette: float = PALETTE,
    stroke: float = 1.0,
    mask: Picture | None = None,
    feather: float | None = None,
    seed: int = 0,
    vgg: str | None = None,
    bundle: str = DEFAULT_BUNDLE,
    max_pixels: int = MAX_PIXELS,
    on_step: Callable[[Progress], None] | None = None,
) -> np.ndarray:
    """The photograph in the style of the pictures: uint8 [H, W, 3].

    Args:
      photo: a path, PIL image, array, tensor, file or the bytes of one (images/objects.py `plain`).
      styles: one picture of the style or several, likewise.
      quality: "fast" stylises with the style that the bundle guesses; "good" adapts to it on the photograph and refines
        the pixels of the result with the packaged loss network (stylize/refine.py); "best" refines with VGG-16, or for
        longer where that is not at hand.
      seconds: instead of `quality`: does the most that fits into this time on this machine. Compilation, which the
        first use needs, is not counted.
      size: px, the photograph is first brought to this shorter side; by default it stays as it is.
      strength: 0 is the photograph, 1 the style, at most 1.5.
      color: "style" takes the style's colours, "content" keeps the photograph's colours, "histogram" its palette.
      palette: from 0 to 1, by which share the result takes the paintings' means and deviations of lightness and colour.
      stroke: the size of strokes, from 1/4 to 4; 1 gives them the share of the picture that they have of the painting.
      mask: a picture, white where the style goes, black where the photograph stays, grey in between.
      feather: px, by which the edges of the mask are blurred; by default a hundredth of the shorter side.
      seed: of the crops of the photograph that the style is learned on, and of the noise of a network with noise maps.
        Same seed and input, same result.
      vgg: the loss network of the refinement (weights/vgg_files.py `load`), instead of what `quality` chooses.
      bundle: the meta-trained start, "default" or a folder.
      max_pixels: larger pictures are refused.
      on_step: is called with the progress.

    Raises InputError or FileNotFoundError, in one line, for bad input.
    """
    options = Options(quality, seconds, size, strength, color, palette, stroke, feather, seed, vgg, bundle, max_pixels)
    return codec.to_uint8(prepare(photo, styles, mask, options).run(on_step).pixels)
