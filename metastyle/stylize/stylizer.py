"""The few-shot API: a bundle adapts to a few pictures of a style, and the result stylises photographs."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from metastyle.config import DEFAULT_BUNDLE, Config
from metastyle.data.procedural import source
from metastyle.errors import InputError
from metastyle.images import codec
from metastyle.images.codec import MAX_PIXELS, Picture
from metastyle.images.resize import square
from metastyle.meta import adaptation
from metastyle.meta.problem import Networks, style_problem
from metastyle.nets import architecture
from metastyle.nets.params import Flat
from metastyle.stylize import resumable
from metastyle.stylize.style import Style, as_stored, with_phases
from metastyle.system import compile_cache, resume
from metastyle.weights import bundles, loss_network, style_files, vgg_files
from metastyle.weights.bundles import Bundle
from metastyle.weights.style_files import StyleFile

# The largest number of support pictures; further steps use them again. Given photographs are all used, if they are
# more. Measuring a picture takes a quarter of the time of a step, and more of them made no style better
# (experiments/results/recipe.md).
SUPPORT_POOL = 6  # crops of given photographs
SYNTHETIC_POOL = 10  # synthetic photographs, each of another scene


@dataclass(frozen=True)
class Stylizer:
    """A meta-trained start that adapts to a style in a few gradient steps."""

    bundle: Bundle

    def adapt(
        self,
        styles: Picture | Sequence[Picture],
        *,
        steps: int = 10,
        support: Picture | Sequence[Picture] | None = None,
        seed: int = 0,
        style_size: int | None = None,
        phases: int = 1,
        weights: str | os.PathLike | None = None,
        max_pixels: int = MAX_PIXELS,
        until: float = 0.0,
        on_step: Callable[[adaptation.Step], None] | None = None,
        on_style: Callable[[Style], None] | None = None,
        state_file: str | os.PathLike | None = None,
    ) -> Style:
        """Adapts the fast parameters to one style.

        Args:
          styles: one picture of the style or several, each a path, PIL image, array, or the bytes of a file
            (images/codec.py `load`).
          steps: gradient steps, 0 or more. The first `inner.steps` of them are those that were meta-trained.
          support: photographs to learn on; by default synthetic ones. The photograph that is to be stylised is a good
            choice.
          seed: of the synthetic photographs, or of the crops of given ones. Same seed and input, same style.
          style_size: px, the side of the square that each style picture is resized to; by default the size that the
            bundle was trained with. It hardly changes the size of strokes (docs/control.md).
          phases: 1, 4 or 16; the style is learned, and will be applied, as the mean over so many places on the
            network's pixel grid (`Knobs`).
          weights: the loss network to learn with (weights/vgg_files.py `load`); by default the one that the bundle was
            trained with. An encoder reads the style by that one in any case, unless its file is gone.
          max_pixels: larger pictures are refused.
          until: a share such as 0.01. The adaptation ends before `steps` as soon as the mean loss of 10 steps is less
            than this share below that of the 10 steps before. With 0 it never ends early.
          on_step: called before each step with its number and loss.
          on_style: called with the style after 0, 1, ... steps, to watch the work.
          state_file: for long work. The state is kept in this file, and the same call goes on from there, even after
            the process was killed. SIGTERM and SIGINT end the call with `errors.Stopped`. The caller deletes the file.

        Raises:
          InputError or FileNotFoundError: bad input; the message is one line.
        """
        settings = with_phases(self.bundle.config, phases)
        style_size = settings.data.size if style_size is None else style_size
        _check_numbers(steps, seed, style_size, until, settings.data.size, max_pixels)
        paintings = _paintings(styles, style_size, max_pixels)
        photographs = _photographs(support, settings, steps, seed, max_pixels)
        begun, networks = self._begin(paintings, photographs, steps, weights)

        result = _Result(self.bundle, settings, style_size, steps)
        watch = functools.partial(result.watch, on_style)
        problem = style_problem(settings.generator, settings.loss)
        plan = adaptation.Plan(steps, settings.inner, self.bundle.adam_lr, until=until)
        learn = functools.partial(adaptation.adapt, problem.loss, begun, networks, plan, on_step=on_step)
        if state_file is None or not steps:
            fast, history = learn(on_state=watch)
        else:
            identity = _identify(begun, networks, plan, paintings, photographs) | {"phases": phases}
            fast, history = resumable.adapt(learn, Path(state_file), identity, begun.start.fast, plan, watch)
        return result.style(fast, history)

    def _begin(
        self,
        paintings: Sequence[np.ndarray],
        photographs: Sequence[np.ndarray],
        steps: int,
        weights: str | os.PathLike | None,
    ) -> tuple[adaptation.Begun, Networks | None]:
        """Sets up the adaptation. The networks are None where neither the steps nor an encoder need any."""
        settings, learned = self.bundle.config, self.bundle.meta
        if not steps and learned.encoder is None:
            return adaptation.Begun(learned, None, None), None
        own = vgg_files.resolve_recorded(settings.vgg)
        params = vgg_files.load(weights or own)
        elsewhere = weights and learned.encoder is not None and own == settings.vgg
        reads = vgg_files.load(own) if elsewhere else params
        loss_network.check_reads(self.bundle, reads)
        return adaptation.begin(settings, learned, params, paintings, photographs, reads), Networks(params)


@dataclass(frozen=True)
class _Result:
    """Turns the fast parameters that an adaptation of `steps` steps learns into styles."""

    bundle: Bundle
    settings: Config
    style_size: int
    steps: int

    def style(self, fast: Flat, history: Sequence[float]) -> Style:
        """The style with these fast parameters. Raises InputError where a number is not finite."""
        settings = self.settings
        fast = as_stored(fast)
        self._check_finite(fast, history)
        file = StyleFile(
            fast=fast,
            slow_sha256=self.bundle.slow_sha256,
            arch=settings.generator.arch,
            bundle=self.bundle.name,
            scope=settings.inner.scope,
            steps=len(history),
            style_size=self.style_size,
            history=tuple(history),
            phases=settings.generator.phases,
        )
        return Style(settings, self.bundle.meta.slow, file, self.bundle.plain)

    def watch(self, on_style: Callable[[Style], None] | None, state: adaptation.AdaptState) -> None:
        """Calls `on_style` with the style of a state. Raises InputError where a number is not finite."""
        self._check_finite(state.fast, state.history)
        if on_style:
            on_style(self.style(state.fast, state.history))

    def _check_finite(self, fast: Flat, history: Sequence[float]) -> None:
        if not all(np.isfinite(x).all() for x in (*fast.values(), history)):
            raise InputError(f"`steps`: the adaptation left the finite numbers within {self.steps} steps; use fewer")


def load(folder: str | os.PathLike = DEFAULT_BUNDLE) -> Stylizer:
    """The stylizer of a bundle folder, by default of the bundle in the package.

    Raises FileNotFoundError or InputError where the folder is no bundle.
    """
    compile_cache.enable_compile_cache()
    return Stylizer(bundles.load_bundle(folder))


def load_style(path: str | os.PathLike, bundle: str | os.PathLike | Stylizer | None = None) -> Style:
    """Loads a saved style, together with the bundle that it needs.

    bundle: a folder or a stylizer. By default it is the bundle whose path the file records; a self-contained file needs
    none.

    Raises:
      FileNotFoundError or InputError: a file is no style file, or a folder no bundle.
      InputError: the style was adapted from another bundle.
    """
    compile_cache.enable_compile_cache()
    file = style_files.load_style(path)
    if file.config and bundle is None:
        alone = dataclasses.replace(file, slow=None, config=None, plain=None)
        return Style(file.config, file.slow or {}, alone, file.plain)
    if bundle is None and not (file.bundle and bundles.exists(file.bundle)):
        recorded = f"the recorded {file.bundle} is not there" if file.bundle else "the file records none"
        raise InputError(
            f"`bundle`: {path} needs the bundle it was adapted from, and {recorded}; pass --bundle (bundle=)"
        )
    bundle = file.bundle if bundle is None else bundle
    start = bundle.bundle if isinstance(bundle, Stylizer) else bundles.load_bundle(bundle)
    expected, got = (file.arch, file.slow_sha256), (start.config.generator.arch, start.slow_sha256)
    if expected != got or _shapes(file.fast) != _shapes(start.meta.fast):
        expected, got = (f"{arch} with slow tensors {sha256[:12]}" for arch, sha256 in (expected, got))
        raise InputError(
            f"`bundle`: {path} was adapted from another bundle than {start.path or 'the one given'} "
            f"(expected {expected}, got {got}); pass --bundle (bundle=)"
        )
    file = dataclasses.replace(file, slow=None, config=None, plain=None, bundle=start.name or file.bundle)
    return Style(with_phases(start.config, file.phases), start.meta.slow, file, start.plain)


def _identify(
    begun: adaptation.Begun,
    networks: Networks | None,
    plan: adaptation.Plan,
    paintings: Sequence[np.ndarray],
    photographs: Sequence[np.ndarray],
) -> dict[str, Any]:
    """Tells an adaptation from others, by the names of the arguments that would have to be set back."""
    tensors = (*begun.start.slow.values(), *begun.start.fast.values())
    return {
        "bundle": resume.digest(*map(np.asarray, tensors)),
        "style": [resume.digest(x) for x in paintings],
        "support": [resume.digest(x) for x in photographs],
        "vgg": resume.digest(*map(np.asarray, jax.tree.leaves(networks))),
        "adam_lr": plan.adam_lr,
    }


def _check_numbers(steps: int, seed: int, style_size: int, until: float, trained_size: int, max_pixels: int) -> None:
    _check_count("steps", steps, 0)
    _check_count("seed", seed, 0)
    _check_count("style_size", style_size, architecture.MIN_SIDE)
    if style_size**2 > max(max_pixels, trained_size**2):
        raise InputError(
            f"`style_size`: expected at most {max_pixels} pixels, got {style_size} x {style_size}; use less"
        )
    if not 0 <= until < 1:
        raise InputError(f"`until`: expected a share from 0 to 1, such as 0.01, got {until:g}")


def _paintings(styles: Picture | Sequence[Picture], side: int, max_pixels: int) -> list[np.ndarray]:
    """The pictures of the style as squares f32[side, side, 3]."""
    loaded = (codec.load(picture, name="style", max_pixels=max_pixels)[0] for picture in _list(styles))
    paintings = [square(picture, side) for picture in loaded]
    if not paintings:
        raise InputError("`style`: expected at least one picture, got none")
    return paintings


def _photographs(
    support: Picture | Sequence[Picture] | None, settings: Config, steps: int, seed: int, max_pixels: int
) -> list[np.ndarray]:
    """The photographs to learn on, f32[S, S, 3]: crops of the given ones, otherwise synthetic ones."""
    needed, size = steps * settings.inner.support, settings.data.size
    if support is None:
        return source.photographs(min(needed, SYNTHETIC_POOL), size, seed)
    given = _list(support)
    if not given:
        raise InputError("`support`: expected at least one picture, got none")
    return support_crops(given, min(needed, max(SUPPORT_POOL, len(given))), size, seed, max_pixels)


def support_crops(
    photographs: Sequence[Picture], count: int, size: int, seed: int, max_pixels: int
) -> list[np.ndarray]:
    """`count` squares f32[size, size, 3]: first the centre of each photograph, then random crops of each in turn."""
    crops = {}
    for first, picture in enumerate(photographs[:count]):
        photograph, _ = codec.load(picture, name="support", max_pixels=max_pixels)
        crops[first] = square(photograph, size)
        for i in range(first + len(photographs), count, len(photographs)):
            rng = np.random.default_rng((seed, i))
            side = int(min(photograph.shape[:2]) * rng.uniform(0.6, 1.0))
            y, x = (rng.integers(0, extent - side + 1) for extent in photograph.shape[:2])
            crops[i] = square(photograph[y : y + side, x : x + side], size)
    return [crops[i] for i in range(count)]


def _shapes(tensors: Flat) -> dict[str, tuple[int, ...]]:
    return {path: x.shape for path, x in tensors.items()}


def _list(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    return list(pictures) if isinstance(pictures, list | tuple) else [cast(Picture, pictures)]


def _check_count(name: str, value: int, low: int) -> None:
    if not isinstance(value, int | np.integer) or value < low:
        raise InputError(f"`{name}`: expected a whole number of at least {low}, got {value}")
