"""How well a loss network stands in for VGG-16: same features, same ranks of outputs, same gradient direction?"""

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from metastyle import config
from metastyle.data.sources import Kind, load_square, open_source
from metastyle.data.tasks import TaskSampler
from metastyle.errors import InputError
from metastyle.evaluate import pairs
from metastyle.evaluate.baselines import gatys
from metastyle.evaluate.judge import Judge
from metastyle.evaluate.results import Row, read_rows
from metastyle.images import codec
from metastyle.losses import perceptual
from metastyle.meta import adaptation, inner_loop
from metastyle.meta.problem import Measure, Networks, Targets, make_measure, style_problem
from metastyle.nets import vgg
from metastyle.system.optional import need
from metastyle.weights import bundles, loss_network

_FITTED, _CHECKED = 64, 32  # pictures of each kind
_STEERED = 8  # pairs
_LEAST = 5  # outputs of a pair that are worth ranking


class Ranks(NamedTuple):
    """Spearman's correlation of the two networks' J over the outputs for a pair, by pair; the fewest outputs of one."""

    by_pair: dict[int, float]
    fewest_outputs: int


def embedding(slim: vgg.Params, teacher: vgg.Params, data: config.Data) -> dict[str, float]:
    """How well a linear map W of the slim network's features f gives the teacher's F: |f W - F|^2 / |F|^2 at each tap.

    W is fitted by least squares on training pictures of `data`; the errors are means over its val pictures. The
    pictures are squares of `data.size` px, photographs and styles alike.
    """
    sampler = TaskSampler(config.from_dict({"data": vars(data), "inner": {"steps": 1}}))
    tasks = [sampler.task(i, 0) for i in range(_FITTED)]
    fit = np.concatenate([x for task in tasks for x in (task["style"][:1], task["query"])])
    val = _squares(data.val_content, "content", data) + _squares(data.val_style, "style", data)
    both = jax.jit(lambda pictures: (vgg.features(slim, pictures), vgg.features(teacher, pictures)))
    products: dict[str, list] = {tap: [0.0, 0.0] for tap in vgg.TAPS}
    for picture in fit:
        ours, theirs = both(picture[None])
        for tap, (own, mixed) in products.items():
            f, big = (np.asarray(x[tap], np.float64).reshape(-1, x[tap].shape[-1]) for x in (ours, theirs))
            products[tap] = [own + f.T @ f, mixed + f.T @ big]
    maps = {tap: np.linalg.lstsq(own, mixed, rcond=1e-9)[0] for tap, (own, mixed) in products.items()}
    errors: dict[str, list[float]] = {tap: [] for tap in vgg.TAPS}
    for picture in val:
        ours, theirs = both(picture[None])
        for tap, found in errors.items():
            found.append(float(perceptual.ratio(ours[tap] @ maps[tap], theirs[tap])[0]))
    return {tap: float(np.mean(found)) for tap, found in errors.items()}


def _squares(spec: str, kind: Kind, data: config.Data) -> list[np.ndarray]:
    source = open_source(spec, kind, size=data.size, name=f"data.val_{kind}")
    count = min(_CHECKED, len(source))
    return [load_square(source, i * len(source) // count, data.size) for i in range(count)]


def ranks(slim: vgg.Params, report: str | os.PathLike) -> Ranks:
    """Ranks the outputs of an evaluation by the J of `slim`, and compares with the ranks by the J in its results.

    report: the folder that experiments.evaluate wrote; the outputs are those of all methods and steps. Raises
    FileNotFoundError or InputError for a folder that is no complete report, or has less than 5 outputs of a pair.
    """
    stats = need("scipy.stats", "the comparison of ranks")
    settings, rows = read_rows(Path(report))
    judged = pairs.pairs_of(config.from_dict(settings, config.Evaluation))
    judge, by_pair = Judge(slim), {}
    rows_of_pair: dict[int, list[Row]] = {}
    for row in rows:
        rows_of_pair.setdefault(row.pair, []).append(row)
    for i, found in tqdm(rows_of_pair.items(), desc="pairs"):
        if len(found) < _LEAST:
            raise InputError(f"`report`: expected at least {_LEAST} outputs of each pair, got {len(found)} of pair {i}")
        pair = judged[i]
        ours = [judge.parts(codec.load(Path(report, row.picture))[0], pair).total for row in found]
        by_pair[i] = float(stats.spearmanr(np.ravel(ours), [row.J for row in found]).statistic)
    return Ranks(by_pair, min(map(len, rows_of_pair.values())))


def gradients(slim: vgg.Params, teacher: vgg.Params, report: str | os.PathLike) -> dict[str, float]:
    """The cosine of dJ / doutput by `slim` with that by `teacher`, at each method's last output; mean over pairs."""
    settings, rows = read_rows(Path(report))
    judged = pairs.pairs_of(config.from_dict(settings, config.Evaluation))
    last = {(row.method, row.pair): row for row in rows}  # steps ascend
    found: dict[str, list[float]] = {}
    for (method, i), row in tqdm(last.items(), desc="gradients"):
        output, pair = codec.load(Path(report, row.picture))[0], judged[i]
        objectives = (gatys.objective(params, pair.content, [pair.style]) for params in (slim, teacher))
        ours, theirs = (objective(jnp.asarray(output))[1][None] for objective in objectives)
        found.setdefault(method, []).append(float(perceptual.cosine(ours, theirs)[0]))
    return {method: float(np.mean(cosines)) for method, cosines in found.items()}


def steering(
    slim: vgg.Params,
    teacher: vgg.Params,
    data: config.Data,
    folder: str | os.PathLike = config.DEFAULT_BUNDLE,
    steps: int = 10,
) -> dict[int, float]:
    """The cosine of the two networks' gradients by the fast parameters of a bundle, which steer an adaptation.

    The gradients are those that the inner loop descends, each leaf brought to rms 1, on val photographs of `data`,
    squares of `data.size` px. They are taken after 0 and `steps` steps of adaptation with the bundle's own loss
    network. Returns {steps: mean over pairs}. The terms `tv` and `grid` of a loss are the same by any network, and left
    out.
    """
    bundle = bundles.load_bundle(folder)
    settings, own = bundle.config, loss_network.load_own(bundle)
    judged = pairs.Pairs(data.val_content, data.val_style, _STEERED, data.size)
    problem = style_problem(settings.generator, settings.loss)
    compared = style_problem(settings.generator, dataclasses.replace(settings.loss, tv=0.0, grid=0.0))
    measure = make_measure(settings.generator, settings.loss)
    plan = adaptation.Plan(steps, settings.inner, bundle.adam_lr)
    found: dict[int, list[float]] = {0: [], steps: []}
    for i in tqdm(range(len(judged)), desc="steering"):
        pair = judged[i]
        begun = adaptation.begin(settings, bundle.meta, own, [pair.style], pair.support[:steps])
        adapted, _ = adaptation.adapt(problem.loss, begun, Networks(own), plan)
        by_network = [_measure(params, pair, measure) for params in (slim, teacher)]
        for k, fast in ((0, begun.start.fast), (steps, adapted)):
            ours, theirs = (_steer(compared.loss, fast, begun.start.slow, *measured) for measured in by_network)
            found[k].append(float(perceptual.cosine(ours, theirs)[0]))
    return {k: float(np.mean(cosines)) for k, cosines in found.items()}


def _measure(params: vgg.Params, pair: pairs.Pair, measure: Measure) -> tuple[Any, Targets, Networks]:
    """A pair as the network sees it: the photograph, the style's statistics, and the network itself."""
    content, style = jnp.asarray(pair.content[None]), jnp.asarray(pair.style[None])
    return measure.content(params, content), Targets(measure.style(params, style).target), Networks(params)


@functools.partial(jax.jit, static_argnums=0)
def _steer(loss, fast, slow, batch, target, networks):
    gradient = inner_loop.normalized(jax.grad(loss)(fast, slow, batch, target, networks))
    return jnp.concatenate([x.ravel() for x in jax.tree.leaves(gradient)])[None]


def describe(slim: vgg.Params, teacher: vgg.Params, data: config.Data, report: str | os.PathLike) -> str:
    """All comparisons in lines, for a terminal."""
    found = ranks(slim, report)
    cosines = gradients(slim, teacher, report)
    lowest = min(found.by_pair, key=lambda pair: found.by_pair[pair])
    lines = [f"relative feature error at {tap}: {e:.3f}" for tap, e in embedding(slim, teacher, data).items()]
    lines += [
        f"Spearman's correlation of J with VGG-16's, at least {found.fewest_outputs} outputs of each of "
        f"{len(found.by_pair)} pairs: "
        f"mean {np.mean(list(found.by_pair.values())):.3f}, lowest {found.by_pair[lowest]:.3f} (pair {lowest})"
    ]
    lines += [f"cosine of J's gradient with VGG-16's, {method}: {cosine:.3f}" for method, cosine in cosines.items()]
    lines += [
        f"the same for what the bundle in the package adapts, after {k} steps: {cosine:.3f}"
        for k, cosine in steering(slim, teacher, data).items()
    ]
    return "\n".join(lines)
