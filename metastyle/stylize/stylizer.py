"""The few-shot API: a bundle adapts to a few pictures of a style, and the result stylises photographs."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import jax
import numpy as np

from metastyle.config import DEFAULT_BUNDLE, Config
from metastyle.errors import InputError
from metastyle.images import objects
from metastyle.images.codec import MAX_PIXELS, Picture
from metastyle.meta import adaptation
from metastyle.meta.problem import Networks, style_problem
from metastyle.nets.params import Flat
from metastyle.stylize import material, resumable
from metastyle.stylize.style import Style, equal_weights, with_phases
from metastyle.system import jax_host, resume
from metastyle.system.arguments import check_count, check_path
from metastyle.weights import bundles, loss_network, style_files, vgg_files
from metastyle.weights.bundles import Bundle
from metastyle.weights.style_files import StyleFile


@dataclass(frozen=True, repr=False)
class Stylizer:
    """A meta-trained start that adapts to a style in a few gradient steps. Two are equal if their bundles are."""

    bundle: Bundle

    def __post_init__(self) -> None:
        if not isinstance(self.bundle, Bundle):
            got = type(self.bundle).__name__
            raise InputError(f"`bundle`: expected a Bundle, got {got}; use metastyle.load(folder)")

    def __repr__(self) -> str:
        return f"<Stylizer {self.bundle.describe()}>"

    def adapt(
        self,
        styles: Picture | Sequence[Picture],
        *,
        steps: int = 10,
        support: Picture | Sequence[Picture] | None = None,
        seed: int = 0,
        style_size: int | None = None,
        output_size: int | None = None,
        stroke: float = 1.0,
        phases: int | None = None,
        weights: str | os.PathLike | None = None,
        max_pixels: int = MAX_PIXELS,
        until: float = 0.0,
        on_step: Callable[[adaptation.Step], None] | None = None,
        on_style: Callable[[Style], None] | None = None,
        state_file: str | os.PathLike | None = None,
    ) -> Style:
        """Adapts the fast parameters to one style.

        Args:
          styles: one picture of the style or several, each a path, PIL image, array, tensor, file or the
            bytes of one (images/objects.py `plain`).
          steps: gradient steps, 0 or more. The first `inner.steps` of them are those that were meta-trained.
          support: photographs to learn on; by default synthetic ones. The photograph that is to be stylised is a good
            choice.
          seed: of the synthetic photographs, or of the crops of given ones. Same seed and input, same style.
          style_size: px, the side of the square that each style picture is resized to; by default the size that the
            bundle was trained with. It hardly changes the size of strokes (docs/control.md).
          output_size: px, the shorter side of the photographs that the style is for, so that texture is learned as
            large as it will be painted (stylize/material.py). By default the style is for any size.
          stroke: the size of strokes in the output, from 1/4 to 4; 1 gives them the share of the picture that they have
            of the painting. It needs `output_size`.
          phases: 1, 4 or 16; the style is learned, and will be applied, as the mean over so many places on the
            network's pixel grid (`Knobs`). By default as the bundle was trained: 1 for the packaged one.
          weights: the loss network to learn with (weights/vgg_files.py `load`); by default the one that the bundle was
            trained with. An encoder reads the style by that one in any case, unless its file is gone.
          max_pixels: larger pictures are refused.
          until: a share such as 0.01; ends early once the mean loss of 10 steps is less than this share below the last.
          on_step: called before each step with its number and loss.
          on_style: called with the style after 0, 1, ... steps, to watch the work.
          state_file: for long work. The state is kept in this file, and the same call goes on from there, even after
            the process was killed. SIGTERM and SIGINT end the call with `errors.Stopped`. The caller deletes the file.

        Raises:
          InputError or FileNotFoundError: bad input; the message is one line.
        """
        on_step = jax_host.for_host(on_step, "on_step")
        on_style = jax_host.for_host(on_style, "on_style")
        styles, support = objects.several(styles), None if support is None else objects.several(support)
        settings = with_phases(self.bundle.config, phases)
        _check_numbers(steps, seed, until)
        if weights is not None:
            check_path("vgg", weights)
        sizes = material.Sizes(style_size, output_size, stroke, max_pixels)
        paintings, photographs, whole = material.read(styles, support, settings, steps, seed, sizes)
        result = _Result(self.bundle, settings, whole, len(paintings[0]), output_size or 0, steps)
        watch = functools.partial(result.watch, on_style)
        problem = style_problem(settings.generator, settings.loss)
        plan = adaptation.Plan(steps, settings.inner, self.bundle.adam_lr, until=until)
        with jax_host.computing():
            begun, networks = self._begin(paintings, photographs, steps, weights)
            learn = functools.partial(adaptation.adapt, problem.loss, begun, networks, plan, on_step=on_step)
            if state_file is None or not steps:
                fast, history = learn(on_state=watch)
            else:
                identity = {
                    "bundle": resume.digest(*map(np.asarray, jax.tree.leaves(self.bundle.meta.parts()))),
                    "vgg": resume.digest(*map(np.asarray, jax.tree.leaves(networks))),
                    "adam_lr": plan.adam_lr,
                    "phases": settings.generator.phases,
                    "style_size": None if output_size else len(paintings[0]),
                    "output_size": output_size,
                    "stroke": stroke,
                    "seed": seed,
                    "style": [resume.digest(x) for x in paintings],
                    "support": _identify_support(support, photographs),
                }
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
    whole: Sequence[np.ndarray]
    style_size: int
    output_size: int
    steps: int

    def style(self, fast: Flat, history: Sequence[float]) -> Style:
        """The style with these fast parameters. Raises InputError where a number is not finite."""
        settings = self.settings
        fast = style_files.as_stored(fast)
        self._check_finite(fast, history)
        file = StyleFile(
            fast=fast,
            slow_sha256=self.bundle.slow_sha256,
            arch=settings.generator.arch,
            bundle=self.bundle.name,
            scope=settings.inner.scope,
            steps=len(history),
            style_size=self.style_size,
            output_size=self.output_size,
            history=tuple(history),
            phases=settings.generator.phases,
        )
        return Style(settings, self.bundle.meta.slow, file, self.bundle.plain, equal_weights(self.whole))

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
    check_path("bundle", folder)
    return Stylizer(bundles.load_bundle(folder))


def load_style(path: str | os.PathLike, bundle: str | os.PathLike | Stylizer | None = None) -> Style:
    """Loads a saved style, together with the bundle that it needs.

    bundle: a folder or a stylizer. By default it is the bundle whose path the file records; a self-contained file needs
    none.

    Raises:
      FileNotFoundError or InputError: a file is no style file, or a folder no bundle.
      InputError: the style was adapted from another bundle.
    """
    check_path("style_file", path)
    if bundle is not None and not isinstance(bundle, Stylizer):
        check_path("bundle", bundle)
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


def _identify_support(support: Sequence[Picture] | None, photographs: Sequence[np.ndarray]) -> dict[str, str | int]:
    """Tells the photographs of an adaptation from others. More steps than before may take more of the same."""
    given = 0 if support is None else len(support)
    return {"given": given} | {str(i): resume.digest(x) for i, x in enumerate(photographs)}


def _check_numbers(steps: int, seed: int, until: float) -> None:
    check_count("steps", steps, 0)
    check_count("seed", seed, 0)
    if not (isinstance(until, Real) and 0 <= until < 1):
        raise InputError(f"`until`: expected a share from 0 to 1, such as 0.01, got {until!r}")


def _shapes(tensors: Flat) -> dict[str, tuple[int, ...]]:
    return {path: x.shape for path, x in tensors.items()}
