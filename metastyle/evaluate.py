"""Held-out evaluation: J of adapted outputs against the number of steps, and what people look at."""

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from metastyle import adapt, bundles, config, generator, images, losses, meta, vgg
from metastyle.errors import InputError
from metastyle.sources import FolderSource, Source

ADAM_LRS = (1e-3, 3e-3, 1e-2)  # of a random start
BUNDLE_ADAM_LRS = (1e-4, 3e-4, *ADAM_LRS)  # beyond the meta-trained steps; kernels take smaller ones than norms
_POOL = 16  # support photographs per pair


class Pair(NamedTuple):
    """A photograph and a painting, f32[S, S, 3], and the other photographs that may be learned on, f32[N, S, S, 3]."""

    content: np.ndarray
    style: np.ndarray
    support: np.ndarray


class Curve(NamedTuple):
    """Loss and picture after each of the asked numbers of steps, and the support loss before each step."""

    parts: dict[int, losses.Parts]
    outputs: dict[int, np.ndarray]
    history: list[float]


def pairs(contents: Source, styles: Source, count: int, size: int, support: int, seed: int = 0) -> list[Pair]:
    """Pair i is photograph i (mod their number) with style p(i), p a permutation from `seed`; both as squares.

    contents, styles: random-access sources, in the order of their names. Each pair's support is the next `support`
    photographs after the judged one, round and round, never the judged one itself.
    """
    if len(contents) < 2:
        raise InputError(
            f"`contents`: expected at least 2 photographs, one to judge and one to learn on, got {len(contents)}"
        )
    order = np.random.default_rng(seed).permutation(len(styles))
    photographs = [square(contents, i, size) for i in range(len(contents))]

    def others(i):
        following = [j % len(contents) for j in range(i + 1, i + len(contents))]
        return np.stack([photographs[j] for j in following[:support]])

    out = []
    for i in range(count):
        judged = i % len(contents)
        out.append(Pair(photographs[judged], square(styles, int(order[i % len(order)]), size), others(judged)))
    return out


def square(source: Source, index: int, size: int) -> np.ndarray:
    """Picture `index` of a source as a square f32[size, size, 3]."""
    return images.square(images.load(source[index])[0], size)


class Judge:
    """The relative losses on one set of VGG weights, as a report's J = C + 5 S."""

    def __init__(self, params: vgg.Params):
        self._params = params
        loss = config.Loss()
        self._parts = jax.jit(
            lambda vgg, output, content, style: losses.perceptual(
                vgg, output, losses.content_target(vgg, content, loss), losses.style_target(vgg, style, loss), loss
            )
        )

    def __call__(self, output: np.ndarray, pair: Pair) -> losses.Parts:
        """Losses of `output` (f32[S, S, 3], rounded to 8 bits as it would be saved) for this pair, as floats."""
        seen = images.to_uint8(output).astype(np.float32) / 255
        parts = self._parts(self._params, seen[None], pair.content[None], pair.style[None])
        return losses.Parts(*(float(x[0]) for x in parts))


def curve(
    judge: Judge, learned: meta.Meta, settings: config.Config, pair: Pair, steps: Sequence[int], params: vgg.Params, *,
    learned_steps: int | None = None, adam_lr: float,
) -> Curve:  # fmt: skip
    """Adapts `learned` to the pair's style on its support, and judges the photograph's stylisation on the way."""
    problem = adapt.style_problem(settings.generator, settings.loss)
    measure = adapt.measure(settings.generator, settings.loss)
    fixed = (measure.style(params, pair.style[None]), params)
    count = min(len(pair.support), max(*steps, 1) * settings.inner.support)
    batches = [measure.content(params, x[None]) for x in pair.support[:count]]
    support = jax.tree.map(lambda *x: jnp.concatenate(x), *batches)
    parts, outputs = {}, {}

    def look(k, fast):
        if k in steps:
            outputs[k] = np.asarray(
                generator.stylize(settings.generator, {**fast, **learned["slow"]}, pair.content[None])[0]
            )
            parts[k] = judge(outputs[k], pair)

    _, history = adapt.adapt(
        problem.loss, learned, support, fixed, steps=max(steps), inner=settings.inner, adam_lr=adam_lr,
        learned_steps=learned_steps, on_params=look,
    )  # fmt: skip
    return Curve(parts, outputs, history)


def random_start(settings: config.Config) -> meta.Meta:
    """A random initialisation of the same network, of which everything adapts: what was not meta-trained."""
    everything = dataclasses.replace(settings.inner, scope="all")
    return meta.initial_meta(dataclasses.replace(settings, inner=everything))


def choose_adam_lr(
    learned: meta.Meta,
    settings: config.Config,
    tasks: Sequence[dict],
    params: Any,
    problem: adapt.Problem,
    beyond: int = 10,
) -> float:
    """The Adam rate for steps after the meta-trained K, chosen on `tasks` (of training styles).

    The rate with the lowest mean query loss after K + `beyond` steps, among those whose loss after K + 1 ... K + 5 is
    never above that after K (else the smallest rate). Beyond K, the support batches go round again.
    """
    inner, curves = settings.inner, {lr: [] for lr in BUNDLE_ADAM_LRS}
    query_loss = jax.jit(problem.loss)
    for task in tasks:
        prepared = jax.tree.map(jnp.asarray, problem.prepare(task, params))
        fixed = (prepared.target, params)
        support = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), prepared.support)

        def go_on(fast, steps, learned_steps, lr):
            losses_after = []
            fast, _ = adapt.adapt(
                problem.loss, learned | {"fast": fast}, support, fixed, steps=steps, inner=inner, adam_lr=lr,  # noqa: B023
                learned_steps=learned_steps,
                on_params=lambda _, now: losses_after.append(
                    float(query_loss(now, learned["slow"], prepared.query, *fixed))  # noqa: B023
                ),
            )  # fmt: skip
            return fast, losses_after

        adapted, _ = go_on(learned["fast"], inner.steps, inner.steps, 0.0)
        for lr, found in curves.items():
            found.append(go_on(adapted, beyond, 0, lr)[1])
    mean = {lr: np.mean(found, 0) for lr, found in curves.items()}
    steady = {lr: m[-1] for lr, m in mean.items() if max(m[1:6]) <= m[0]}
    return min(steady, key=steady.get) if steady else min(BUNDLE_ADAM_LRS)


def named(text: str) -> tuple[str, str]:
    """(name, path) of NAME=PATH; a PATH alone is its own name."""
    name, _, path = text.rpartition("=")
    return name or path, path


def parse_steps(values: Sequence[str]) -> list[int]:
    """Numbers of steps from the command line, sorted."""
    try:
        steps = sorted({int(value) for value in values})
    except ValueError:
        steps = []
    if not steps or steps[0] < 0:
        raise InputError(f"`steps`: expected whole numbers from 0 such as 0,5,10, got {','.join(values)}")
    return steps


def report(
    starts: dict[str, str], contents: str, styles: str, out: str, *, pair_count: int, size: int, steps: list[int],
    weights: str = "",
) -> str:  # fmt: skip
    """Judges bundles against the photograph itself and a random start; returns the table.

    Writes table.txt, results.csv (one row per method, steps and pair), curve.png and pictures.png into `out`.
    """
    loaded = {name: bundles.load_bundle(path) for name, path in starts.items()}
    params, out = vgg.load(weights), Path(out)
    judge = Judge(params)
    chosen = pairs(FolderSource(contents, "contents"), FolderSource(styles, "styles"), pair_count, size, _POOL)
    out.mkdir(parents=True, exist_ok=True)
    rows = [("photograph", 0, i, judge(pair.content, pair)) for i, pair in enumerate(chosen)]
    rows += [("style picture", 0, i, judge(pair.style, pair)) for i, pair in enumerate(chosen)]
    pictures = [[pair.content, pair.style] for pair in chosen]
    labels = ["photograph", "style"]
    for name, start in loaded.items():
        for i, pair in enumerate(tqdm(chosen, desc=name)):
            result = curve(judge, start.meta, start.config, pair, steps, params, adam_lr=start.adam_lr)
            rows += [(name, k, i, parts) for k, parts in result.parts.items()]
            pictures[i] += [result.outputs[k] for k in (steps[0], steps[-1])]
        labels += [f"{name}: {k}" for k in (steps[0], steps[-1])]
    first = next(iter(loaded.values())).config
    for lr in ADAM_LRS:
        for i, pair in enumerate(tqdm(chosen, desc=f"random start, Adam {lr:g}")):
            result = curve(judge, random_start(first), first, pair, steps, params, learned_steps=0, adam_lr=lr)
            rows += [(f"random start, Adam {lr:g}", k, i, parts) for k, parts in result.parts.items()]
    with images.atomic(out / "results.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("method", "steps", "pair", "content", "style", "J"))
        writer.writerows((m, k, i, p.content, p.style, p.total) for m, k, i, p in rows)
    images.save(out / "pictures.png", images.grid(pictures, column_labels=labels))
    _plot(out / "curve.png", rows, list(loaded))
    table = _table(rows)
    with images.atomic(out / "table.txt") as temporary:
        temporary.write_text(table + "\n")
    return table


def _table(rows: list[tuple[str, int, int, losses.Parts]]) -> str:
    lines = [f"{'method':<28}{'steps':>6}{'J':>9}{'C':>8}{'S':>8}   pairs"]
    for method, k in dict.fromkeys((m, k) for m, k, _, _ in rows):
        parts = [p for m, n, _, p in rows if (m, n) == (method, k)]
        total, content, style = (np.mean([getattr(p, f) for p in parts]) for f in ("total", "content", "style"))
        lines.append(f"{method:<28}{k:>6}{total:>9.3f}{content:>8.3f}{style:>8.3f}{len(parts):>8}")
    return "\n".join(lines)


def _plot(path: Path, rows: list[tuple[str, int, int, losses.Parts]], names: list[str]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name in names:
        steps = sorted({k for m, k, _, _ in rows if m == name})
        axes.plot(
            steps, [np.mean([p.total for m, n, _, p in rows if (m, n) == (name, k)]) for k in steps], "o-", label=name
        )
    axes.axhline(np.mean([p.total for m, _, _, p in rows if m == "photograph"]), ls="--", c="grey", label="photograph")
    axes.set(xlabel="gradient steps", ylabel="mean J = C + 5 S", yscale="log")
    axes.legend()
    with images.atomic(path) as temporary:
        figure.savefig(temporary, dpi=120)


def mean_by_step(results: str) -> dict[str, dict[int, float]]:
    """Mean J of each method after each number of steps, from a report's results.csv."""
    found: dict[str, dict[int, list[float]]] = {}
    with open(results, newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["method"], {}).setdefault(int(row["steps"]), []).append(float(row["J"]))
    return {method: {k: float(np.mean(j)) for k, j in by_step.items()} for method, by_step in found.items()}
