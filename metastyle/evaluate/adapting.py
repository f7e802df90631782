"""The methods that adapt a generator to a pair's style by gradient steps: bundles, and a random initialisation."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from metastyle import config
from metastyle.evaluate import metrics
from metastyle.evaluate.methods import Method, View
from metastyle.evaluate.pairs import Pair
from metastyle.evaluate.starts import Start
from metastyle.images.resize import center_crop, square
from metastyle.meta import adaptation, outer_loop
from metastyle.meta.parameters import Meta
from metastyle.meta.problem import Networks, style_problem
from metastyle.nets import generator, vgg
from metastyle.nets.params import Flat
from metastyle.stylize import material, onnx_export
from metastyle.system.tensor_file import join, sha256
from metastyle.weights import loss_network

RANDOM_LRS = (1e-3, 3e-3, 1e-2)  # a random start is tried with Adam at each


def bundle(
    name: str, start: Start, params: vgg.Params, steps: Sequence[int], reads: vgg.Params | None = None
) -> Method:
    """A meta-trained start that adapts to the pair's style on its support, with the loss network `params`.

    steps: the numbers of steps after which it is judged. reads: the loss network by which its encoder reads a style, by
    default the same. Raises InputError for another one than the encoder was trained with.
    """
    learned, deployment = start
    settings, reads = learned.config, params if reads is None else reads
    loss_network.check_reads(learned, reads)
    views = _Adaptation(
        settings=settings,
        learned=learned.meta,
        params=params,
        reads=reads,
        steps=steps,
        learned_steps=settings.inner.steps,
        adam_lr=learned.adam_lr,
        judged=deployment.judged,
        backend=deployment.backend,
        learn_at=deployment.learn_at,
    )
    digests = " ".join(sha256(join(parts)) for parts in (learned.meta.parts(), params, reads))
    known = " ".join(map(config.identify, (settings.generator, settings.inner, settings.loss)))
    return Method(
        name=name,
        kind="bundle",
        key=f"{digests} {learned.adam_lr:g} {known} {steps} {deployment.judged} {deployment.backend}"
        f"{deployment.learn_at and f' {deployment.learn_at}'}",
        cost=_cost(settings, steps),
        views=views,
        note=_describe(start),
        pictures_seen=learned.pictures_seen,
        last=max(steps),
        warm_up=views.warm_up,
    )


def _describe(start: Start) -> str:
    settings, deployment = start.bundle.config, start.deployment
    inner = settings.inner
    parts = [
        f"{settings.run.steps} meta-training steps ({settings.outer.update}) at {settings.data.size} px",
        f"{inner.steps} learned steps on {inner.scope}, then Adam {start.bundle.adam_lr:g}",
    ]
    if deployment.learn_with:
        parts.append(f"learns with {deployment.learn_with}")
    if deployment.judged:
        parts.append("learns on the judged photograph")
    if settings.generator.phases > 1:
        parts.append(f"mean over {settings.generator.phases} places on the pixel grid")
    if deployment.backend != "jax":
        parts.append(deployment.backend)
    if deployment.learn_at:
        how = {"bundle": f"pictures of {settings.data.size} px", "output": f"tiles of {settings.data.size} px"}
        parts.append(f"learns on {how[deployment.learn_at]}")
    return "; ".join(parts)


def random_start(settings: config.Config, params: vgg.Params, steps: Sequence[int], lr: float) -> Method:
    """The network of `settings` from a random initialisation, everything adapting by Adam: not meta-trained."""
    inner = dataclasses.replace(settings.inner, scope="all")
    settings = dataclasses.replace(settings, inner=inner, encoder=config.Encoder())
    views = _Adaptation(
        settings=settings,
        learned=outer_loop.initial_meta(settings),
        params=params,
        reads=params,
        steps=steps,
        learned_steps=0,
        adam_lr=lr,
    )
    known = f"{config.identify(settings.generator)} {config.identify(settings.loss)}"
    return Method(
        name=f"random, Adam {lr:g}",
        kind="random",
        key=f"{known} {inner.support} {settings.run.seed} {lr:g} {steps}",
        cost=_cost(settings, steps),
        views=views,
        note=f"{settings.generator.arch} from a random initialisation, everything adapts",
        pictures_seen=0,
        last=max(steps),
        warm_up=views.warm_up,
    )


def _cost(settings: config.Config, steps: Sequence[int]) -> float:
    return 1.2 * settings.inner.support * max(steps) + 0.4 * min(max(steps), 16)


@dataclasses.dataclass(frozen=True)
class _Adaptation:
    """The views of a start that learns by gradient steps on a pair's support.

    The first `learned_steps` steps are those of meta-training, all others Adam's at `adam_lr`. judged: it learns on the
    judged photograph instead. backend, learn_at: as for config.Deployment.
    """

    settings: config.Config
    learned: Meta
    params: vgg.Params
    reads: vgg.Params
    steps: Sequence[int]
    learned_steps: int
    adam_lr: float
    judged: bool = False
    backend: str = "jax"
    learn_at: str = ""

    def warm_up(self, pair: Pair) -> None:
        """Compiles everything, a learned step and one of Adam, so that compilation does not count as learning."""
        self._learn(pair, min(max(self.steps), self.learned_steps + 1))
        self._stylize_with(self.learned.fast)(pair.content)

    def __call__(self, pair: Pair) -> Iterator[View]:
        for k, (fast, seconds) in self._learn(pair, max(self.steps)).items():
            stylize, began = self._stylize_with(fast), time.perf_counter()
            picture = stylize(pair.content)
            stylize_ms = 1000 * (time.perf_counter() - began)
            shift = metrics.shift_change(stylize, pair.content, picture)
            yield View(k, picture, seconds, stylize_ms, shift)

    def _learn(self, pair: Pair, last: int) -> dict[int, tuple[Flat, float]]:
        """The fast parameters after those of `steps` up to `last`, with the seconds until then.

        The support is that of all steps in any case, because programs are compiled for its shape.
        """
        settings, each = self.settings, self.settings.inner.support
        found: dict[int, tuple[Flat, float]] = {}
        problem = style_problem(settings.generator, settings.loss)
        began = time.perf_counter()
        photographs = [pair.content] if self.judged else pair.support
        count = min(len(photographs), max(*self.steps, 1) * each)
        paintings, photographs = self._learned_on(pair.style, photographs[:count])
        style = adaptation.begin_style(settings, self.learned, self.params, paintings, self.reads)
        start, target = jax.block_until_ready(style)
        style_s, began = time.perf_counter() - began, time.perf_counter()
        support = adaptation.measure_support(settings, self.params, photographs)
        begun = adaptation.Begun(start, target, jax.block_until_ready(support))
        support_s, began = (time.perf_counter() - began) / count, time.perf_counter()

        def note(state: adaptation.AdaptState) -> None:
            k = len(state.history)
            if k in self.steps:
                jax.block_until_ready(state.fast)
                learning = time.perf_counter() - began
                measuring = style_s + support_s * min(k * each, count)  # fewer steps measure fewer photographs
                found[k] = state.fast, measuring + learning

        plan = adaptation.Plan(last, settings.inner, self.adam_lr, self.learned_steps)
        adaptation.adapt(problem.loss, begun, Networks(self.params), plan, on_state=note)
        return found

    def _learned_on(
        self, style: np.ndarray, photographs: Sequence[np.ndarray]
    ) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
        """What is learned on for a style picture and photographs f32[S, S, 3] (config.Deployment.learn_at)."""
        size = self.settings.data.size
        match self.learn_at:
            case "bundle":
                return [square(style, size)], [square(x, size) for x in photographs]
            case "output":
                return material.tiles(style, size, len(style)), [center_crop(x, size) for x in photographs]
        return [style], photographs

    def _stylize_with(self, fast: Flat) -> Callable[[np.ndarray], np.ndarray]:
        """The function f32[S, S, 3] -> the same that stylises with these parameters."""
        net, params = self.settings.generator, {**fast, **self.learned.slow}
        if self.backend == "jax":
            return lambda content: np.asarray(generator.stylize(net, params, content[None])[0])
        session = onnx_export.session(onnx_export.model(net, params, int8=self.backend == "onnx-int8", floats=True))
        return lambda content: session(content[None])[0]
