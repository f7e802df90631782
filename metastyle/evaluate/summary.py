"""From the rows of an evaluation, one per method, steps and pair, to its results (docs/evaluation.md)."""

import dataclasses
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metastyle.config import Evaluation
from metastyle.evaluate.methods import Method
from metastyle.evaluate.pairs import Pair
from metastyle.evaluate.results import BOUNDS, About, Curve, PairNames, Reach, Results, Row, Skipped, Summary
from metastyle.system.machine import devices, processor, versions

_OTHERS = ("method", "steps", "closed", "closed3")  # fields of Row and Summary that are no means of what was measured
MEASURES = tuple(name for name in Row._fields if name in Summary._fields and name not in _OTHERS)
TARGETS = (1, 5, 10)  # the other methods are to reach what the first bundle reaches after so many steps
_HARDLY = 0.1  # share of J(photo): a pair on which Gatys gains less says nothing about `closed`
_RESAMPLES = 2000
_PACKAGES = ("metastyle", "jax", "flax", "numpy", "scikit-image")


class _Ends(NamedTuple):
    """The two ends of `closed`, by pair: J of the photograph, and J of Gatys's optimisation; or of `closed3`, of J3."""

    measure: str
    photo: dict[int, float]
    best: dict[int, float]

    def gained(self, pair: int) -> float:
        """What the optimisation gains."""
        return self.photo[pair] - self.best[pair]

    def left_out(self) -> list[int]:
        """The pairs on which the optimisation gains hardly anything."""
        return [i for i in sorted(self.best) if i in self.photo and self.gained(i) < _HARDLY * self.photo[i]]

    def closed(self, row: Row) -> float | None:
        """The share of the way from one end to the other that a row has gone."""
        i, value = row.pair, getattr(row, self.measure)
        if i not in self.best or i not in self.photo or i in self.left_out() or value is None:
            return None
        return (self.photo[i] - value) / self.gained(i)


def assemble(
    settings: Evaluation, chosen: Sequence[Method], rows: Sequence[Row], pairs: Sequence[Pair], skipped: list[Skipped]
) -> Results:
    """The results of a complete evaluation; `rows` have no `closed` yet, and the results have no ArtFID."""
    ends, ends3 = (_ends(rows, *of, settings.gatys_iterations) for of in (("J", "gatys"), ("J3", "gatys3")))
    rows = [row._replace(closed=ends.closed(row), closed3=ends3.closed(row)) for row in rows]
    names = [PairNames(pair.number, pair.content_name, pair.style_name) for pair in pairs]
    judged = [{row.pair for row in rows if row.method == method.name} for method in chosen]
    common = set.intersection(*filter(None, judged)) if any(judged) else set()
    summary, curves = [], {}
    for method in chosen:
        by_steps = _by_steps(rows, method.name)
        summary += [_summarize(found, ends) for found in by_steps.values()]
        if by_steps:
            curves[method.name] = _curve(by_steps, common, names)
    return Results(
        settings=dataclasses.asdict(settings),
        versions=versions(_PACKAGES),
        machine=machine_line(),
        skipped=skipped,
        left_out=ends.left_out(),
        pairs=names,
        methods=[About(m.name, m.kind, m.pictures_seen, m.note) for m in chosen],
        rows=rows,
        summary=summary,
        curves=curves,
        curve_pairs=sorted(common),
        reach=reach(rows, next((m.name for m in chosen if m.kind == "bundle"), None)),
    )


def _ends(rows: Sequence[Row], measure: str, method: str, iterations: int) -> _Ends:
    measured = [row for row in rows if getattr(row, measure) is not None]
    return _Ends(
        measure,
        {row.pair: getattr(row, measure) for row in measured if row.method == BOUNDS[0]},
        {row.pair: getattr(row, measure) for row in measured if (row.method, row.steps) == (method, iterations)},
    )


def _by_steps(rows: Sequence[Row], method: str) -> dict[int, list[Row]]:
    """The rows of a method by their numbers of steps, which ascend."""
    found: dict[int, list[Row]] = {}
    for row in rows:
        if row.method == method:
            found.setdefault(row.steps, []).append(row)
    return dict(sorted(found.items()))


def _summarize(rows: list[Row], ends: _Ends) -> Summary:
    """The means over pairs of one method after one number of steps."""
    closed = [row.closed for row in rows if row.closed is not None]
    gained = [(ends.photo[r.pair] - r.J, ends.gained(r.pair)) for r in rows if r.closed is not None]
    return Summary(
        method=rows[0].method,
        steps=rows[0].steps,
        pairs=len(rows),
        **{measure: _mean([getattr(row, measure) for row in rows]) for measure in MEASURES},
        closed=_mean(closed),
        closed_median=float(np.median(closed)) if closed else None,
        closed_ratio=float(np.divide(*np.sum(gained, 0))) if gained else None,
        closed_pairs=len(closed),
        closed3=_mean([row.closed3 for row in rows]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Of the values that were measured."""
    measured = [value for value in values if value is not None]
    return float(np.mean(measured)) if measured else None


def _curve(by_steps: dict[int, list[Row]], common: set[int], pairs: Sequence[PairNames]) -> Curve:
    """Mean J of one method against steps with its interval, on the pairs `common`, which all methods were run on."""
    names = {pair.pair: (pair.content, pair.style) for pair in pairs}
    curve = Curve(list(by_steps), [], [], [])
    for rows in by_steps.values():
        compared = [row for row in rows if row.pair in common]
        values = [row.J for row in compared]
        low, high = interval(values, [names[row.pair] for row in compared]) if values else (None, None)
        curve.J.append(_mean(values))
        curve.low.append(low)
        curve.high.append(high)
    return curve


def interval(values: Sequence[float], pairs: Sequence[tuple[str, str]], seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean over (content, style) pairs, both resampled (Owen 2007).

    Each resampling draws the contents and the styles with replacement; a value counts as often as its content times as
    often as its style was drawn.
    """
    rng = np.random.default_rng(seed)
    sides = [np.unique(side, return_inverse=True) for side in zip(*pairs, strict=True)]
    x, means = np.asarray(values), []
    while len(means) < _RESAMPLES:
        weights = np.ones(len(x))
        for names, at in sides:
            weights *= rng.multinomial(len(names), np.full(len(names), 1 / len(names)))[at]
        if weights.any():
            means.append(weights @ x / weights.sum())
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def reach(rows: Sequence[Row], ours: str | None) -> list[Reach]:
    """How many steps each method needs to reach the mean J that `ours` reaches after 1, 5 and 10 steps.

    Compared on the pairs that both were run on. `steps` is the first number of steps after which the method was judged
    and is no worse; None if it never is.
    """
    by_method: dict[str, dict[int, dict[int, float]]] = {}
    for row in rows:
        by_method.setdefault(row.method, {}).setdefault(row.steps, {})[row.pair] = row.J
    goals = by_method.get(ours, {}) if ours else {}
    found = []
    for method, curve in by_method.items():
        if method == ours or len(curve) < 2:
            continue
        everywhere = set.intersection(*(set(by_pair) for by_pair in curve.values()))
        for target in TARGETS:
            goal = goals.get(target, {})
            common = sorted(goal.keys() & everywhere)
            if common:
                wanted = np.mean([goal[i] for i in common])
                there = [k for k in sorted(curve) if np.mean([curve[k][i] for i in common]) <= wanted]
                found.append(Reach(method, target, float(wanted), there[0] if there else None))
    return found


def machine_line() -> str:
    """This machine, for a reader of its numbers."""
    return f"{processor()}, {os.cpu_count()} cores; {devices()}"
