"""The few-shot API: a bundle adapts to pictures of a style; the result stylises photographs."""

import dataclasses
import functools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from metastyle.config import DEFAULT_BUNDLE
from metastyle.data.procedural import source
from metastyle.errors import InputError, Stopped
from metastyle.images import codec
from metastyle.images.codec import MAX_PIXELS, Picture
from metastyle.images.resize import square
from metastyle.losses import perceptual
from metastyle.meta import adaptation
from metastyle.meta.problem import make_measure, style_problem
from metastyle.nets import architecture, style_encoder
from metastyle.nets.params import Flat
from metastyle.stylize.style import Style
from metastyle.system import compile_cache, resume
from metastyle.system.signals import StopSignal
from metastyle.weights import bundles, loss_network, style_files, vgg_files
from metastyle.weights.bundles import Bundle
from metastyle.weights.style_files import StyleFile

# Support pictures at most, or all the photographs given; further steps go round them again. Each takes a quarter of the
# time of a step, and more of them made no style better (experiments/results/recipe.md).
SUPPORT_POOL = 6  # crops of given photographs
SYNTHETIC_POOL = 10  # synthetic ones, of which no two are of one scene
_KEEP_EVERY = 20  # seconds between writes of a state file


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
        weights: str | os.PathLike | None = None,
        max_pixels: int = MAX_PIXELS,
        until: float = 0.0,
        on_step: Callable[[adaptation.Step], None] | None = None,
        on_style: Callable[[Style], None] | None = None,
        state_file: str | os.PathLike | None = None,
    ) -> Style:
        """Adapts the fast parameters to one style.

        Args:
          styles: one picture of the style or several, each a path, PIL image or array (see images.load).
          steps: gradient steps, 0 or more. The first `inner.steps` are those that were meta-trained.
          support: photographs to learn on; by default synthetic ones. The photograph that is to be stylised is a good
            choice.
          seed: of the synthetic photographs, or of the crops of those given. Same seed and input, same style.
          style_size: px, the side of the square that each style picture is brought to; by default what the bundle was
            trained with. It hardly changes the size of strokes (docs/control.md).
          weights: the loss network to learn with (vgg.load); by default the one that the bundle was trained with. An
            encoder reads the style by that one in any case, unless its file is gone.
          max_pixels: larger pictures are refused.
          until: ends before `steps` once the mean loss of 10 steps is less than this share below that of the 10 before,
            such as 0.01; 0: never.
          on_step: called before each step with its number and loss.
          on_style: called with the style as it is after 0, 1, ... steps, for a view of the work.
          state_file: for long work. Where it stands is kept in this file, and the same call goes on from there, if need
            be after a kill; SIGTERM and SIGINT end it with `errors.Stopped`. The file is the caller's to delete.

        Raises InputError or FileNotFoundError, in one line, for bad input.
        """
        settings = self.bundle.config
        size = settings.data.size
        style_size = size if style_size is None else style_size
        _check_count("steps", steps, 0)
        _check_count("seed", seed, 0)
        _check_count("style_size", style_size, architecture.MIN_SIDE)
        if style_size**2 > max(max_pixels, size**2):
            raise InputError(
                f"`style_size`: expected at most {max_pixels} pixels, got {style_size} x {style_size}; use less"
            )
        if not 0 <= until < 1:
            raise InputError(f"`until`: expected a share from 0 to 1, such as 0.01, got {until:g}")
        paintings = [
            square(codec.load(picture, name="style", max_pixels=max_pixels)[0], style_size) for picture in _list(styles)
        ]
        photographs = None if support is None else _list(support)
        if not paintings or photographs == []:
            name = "support" if paintings else "style"
            raise InputError(f"`{name}`: expected at least one picture, got none")
        needed = steps * settings.inner.support
        if photographs is None:
            pool = source.photographs(min(needed, SYNTHETIC_POOL), size, seed)
        else:
            pool = support_crops(photographs, min(needed, max(SUPPORT_POOL, len(photographs))), size, seed, max_pixels)

        problem = style_problem(settings.generator, settings.loss)
        start, fast, history = self.bundle.meta, self.bundle.meta["fast"], []
        if steps or "encoder" in start:
            measure = make_measure(settings.generator, settings.loss)
            own = vgg_files.recorded(settings.vgg)
            params = vgg_files.load(weights or own)
            elsewhere = weights and "encoder" in start and own == settings.vgg
            reads = vgg_files.load(own) if elsewhere else params
            loss_network.check_reads(self.bundle, reads)
            targets, codes = zip(*(measure.style(params, picture[None]) for picture in paintings), strict=True)
            if reads is not params:
                codes = [measure.style(reads, picture[None])[1] for picture in paintings]
            start = style_encoder.start(start, jnp.mean(jnp.stack(codes), 0))
            fast = start["fast"]

        def made(fast: Flat, history: Sequence[float]) -> Style:
            with np.errstate(over="ignore"):
                fast = {path: np.float32(np.float16(x)) for path, x in fast.items()}  # as the style file holds them
            if not all(np.isfinite(x).all() for x in (*fast.values(), history)):
                raise _diverged(steps)
            file = StyleFile(
                fast=fast,
                slow_sha256=self.bundle.slow_sha256,
                arch=settings.generator.arch,
                bundle=self.bundle.name,
                scope=settings.inner.scope,
                steps=len(history),
                style_size=style_size,
                history=tuple(history),
            )
            return Style(settings, self.bundle.meta["slow"], file, self.bundle.plain)

        def told(state: adaptation.AdaptState) -> None:
            if not all(np.isfinite(x).all() for x in (*state.fast.values(), state.history)):
                raise _diverged(steps)
            if on_style:
                on_style(made(state.fast, state.history))

        if not steps:
            told(adaptation.AdaptState(fast, (), None))
        if steps:
            batches = [measure.content(params, picture[None]) for picture in pool]
            learn = functools.partial(
                adaptation.adapt,
                problem.loss,
                start,
                jax.tree.map(lambda *x: jnp.concatenate(x), *batches),
                (perceptual.mean_target(list(targets), settings.loss), params),
                steps=steps,
                inner=settings.inner,
                adam_lr=self.bundle.adam_lr,
                until=until,
                on_step=on_step,
            )
            if state_file is None:
                fast, history = learn(on_state=told)
            else:
                identity = {
                    "bundle": resume.digest(*self.bundle.meta["slow"].values(), *fast.values()),
                    "style": [resume.digest(x) for x in paintings],
                    "support": [resume.digest(x) for x in pool],
                    "vgg": resume.digest(*jax.tree.leaves(params)),
                    "adam_lr": self.bundle.adam_lr,
                }
                fast, history = _kept(learn, Path(state_file), identity, steps, fast, self.bundle.adam_lr, told)
        return made(fast, history)


def load(folder: str | os.PathLike = DEFAULT_BUNDLE) -> Stylizer:
    """The stylizer of a bundle folder, by default of the bundle in the package.

    Raises FileNotFoundError or InputError for what is not one.
    """
    compile_cache.enable_compile_cache()
    return Stylizer(bundles.load_bundle(folder))


def load_style(path: str | os.PathLike, bundle: str | os.PathLike | Stylizer | None = None) -> Style:
    """A saved style, on the bundle given, else, unless it is self-contained, on the one whose path the file records.

    Raises FileNotFoundError or InputError for what is no style file or bundle, and InputError when the bundle is not
    the one that the style was adapted from.
    """
    compile_cache.enable_compile_cache()
    file = style_files.load_style(path)
    if file.config and bundle is None:
        return Style(file.config, file.slow, dataclasses.replace(file, slow=None, config=None, plain=None), file.plain)
    if bundle is None and not (file.bundle and bundles.exists(file.bundle)):
        recorded = f"the recorded {file.bundle} is not there" if file.bundle else "the file records none"
        raise InputError(
            f"`bundle`: {path} needs the bundle it was adapted from, and {recorded}; pass --bundle (bundle=)"
        )
    bundle = file.bundle if bundle is None else bundle
    start = bundle.bundle if isinstance(bundle, Stylizer) else bundles.load_bundle(bundle)
    expected, got = (file.arch, file.slow_sha256), (start.config.generator.arch, start.slow_sha256)
    if expected != got or _shapes(file.fast) != _shapes(start.meta["fast"]):
        expected, got = (f"{arch} with slow tensors {sha256[:12]}" for arch, sha256 in (expected, got))
        raise InputError(
            f"`bundle`: {path} was adapted from another bundle than {start.path or 'the one given'} "
            f"(expected {expected}, got {got}); pass --bundle (bundle=)"
        )
    file = dataclasses.replace(file, slow=None, config=None, plain=None, bundle=start.name or file.bundle)
    return Style(start.config, start.meta["slow"], file, start.plain)


def support_crops(
    photographs: Sequence[Picture], count: int, size: int, seed: int, max_pixels: int
) -> list[np.ndarray]:
    """`count` squares f32[size, size, 3]: first the centre of each photograph, then random crops of them in turn."""
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


def _kept(
    learn: Callable, path: Path, identity: dict, steps: int, fast: dict, adam_lr: float, told: Callable
) -> tuple[dict, list]:
    """`learn(on_state=told)`, which goes on from the state in the file `path` if there is one, and keeps its own there.

    A state for which `told` raises is not kept: it would raise for ever.
    """
    moments, structure = jax.tree.flatten(adaptation.moment_shapes(fast, adam_lr))

    def tensors(state):
        found = {f"fast/{name}": np.asarray(x) for name, x in state.fast.items()}
        found |= {f"moments/{i}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(state.moments))}
        return found | {"history": np.array(state.history, np.float64)}

    def build(saved):
        names = [f"moments/{i}" for i in range(len(moments))] if "moments/0" in saved else []
        wanted = {f"fast/{name}": x.shape for name, x in fast.items()}
        wanted |= {name: x.shape for name, x in zip(names, moments, strict=bool(names))}
        if any(saved[name].shape != shape for name, shape in wanted.items()):
            raise ValueError("other shapes")
        return adaptation.AdaptState(
            {name: jnp.asarray(saved[f"fast/{name}"]) for name in fast},
            tuple(saved["history"].tolist()),
            jax.tree.unflatten(structure, [jnp.asarray(saved[name]) for name in names]) if names else None,
        )

    begin, last = resume.read(path, identity, build), time.monotonic()
    if begin and len(begin.history) > steps:
        done = len(begin.history)
        raise InputError(
            f"`steps`: the work that {path} continues has done {done}, got {steps}; ask for at least {done}, use "
            "another --out, or delete that file to start afresh"
        )

    def keep(state):
        nonlocal last
        told(state)
        if stop.requested or time.monotonic() - last > _KEEP_EVERY:
            resume.write(path, identity, tensors(state))
            last = time.monotonic()
        if stop.requested and len(state.history) < steps:
            raise Stopped(f"stopped after step {len(state.history)} of {steps}; the same line continues")

    with StopSignal() as stop:
        return learn(begin=begin, on_state=keep)


def _diverged(steps: int) -> InputError:
    return InputError(f"`steps`: the adaptation left the finite numbers within {steps} steps; use fewer")


def _shapes(tensors: dict[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {path: x.shape for path, x in tensors.items()}


def _list(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    return list(pictures) if isinstance(pictures, list | tuple) else [pictures]


def _check_count(name: str, value: int, low: int) -> None:
    if not isinstance(value, int | np.integer) or value < low:
        raise InputError(f"`{name}`: expected a whole number of at least {low}, got {value}")
