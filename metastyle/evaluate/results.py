"""From the rows of an evaluation, one per method, steps and pair, to its results: see docs/evaluation.md."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from metastyle.config import Evaluation
from metastyle.evaluate.methods import Method
from metastyle.evaluate.pairs import Pair, Skipped
from metastyle.system.machine import processor, versions

COLUMNS = ("J", "C", "S", "S_mean_std", "ssim", "cfsd", "grid", "lpips", "adapt_s", "stylize_ms")
TARGETS = (1, 5, 10)  # the other methods are to reach what the first bundle reaches after so many steps
_HARDLY = 0.1  # share of J(photo): a pair on which Gatys gains less says nothing about `closed`
_RESAMPLES = 2000
_PACKAGES = ("metastyle", "jax", "flax", "numpy", "scikit-image")

Row = dict[str, Any]
Results = dict[str, Any]


def assemble(
    settings: Evaluation, chosen: list[Method], rows: list[Row], pairs: Sequence[Pair], skipped: Sequence[Skipped]
) -> Results:
    """The results of a complete evaluation, as results.json holds them; see docs/evaluation.md for every field."""
    photo = {row["pair"]: row["J"] for row in rows if row["method"] == "photograph"}
    final = settings.gatys_iterations
    best = {row["pair"]: row["J"] for row in rows if row["method"] == "gatys" and row["steps"] == final}
    left_out = sorted(i for i in best if i in photo and photo[i] - best[i] < _HARDLY * photo[i])
    for row in rows:
        i = row["pair"]
        usable = i in best and i in photo and i not in left_out
        row["closed"] = (photo[i] - row["J"]) / (photo[i] - best[i]) if usable else None
    names = {pair.index: (pair.content_name, pair.style_name) for pair in pairs}
    judged = [{row["pair"] for row in rows if row["method"] == method.name} for method in chosen]
    common = set.intersection(*filter(None, judged)) if any(judged) else set()
    summary, curves = [], {}
    for method in chosen:
        by_steps: dict[int, list[Row]] = {}
        for row in rows:
            if row["method"] == method.name:
                by_steps.setdefault(row["steps"], []).append(row)
        summary += [_summary(by_steps[k], photo, best) for k in sorted(by_steps)]
        if by_steps:
            curves[method.name] = _curve(by_steps, common, names)
    return {
        "settings": dataclasses.asdict(settings),
        "versions": versions(_PACKAGES),
        "machine": machine(),
        "skipped": [skip._asdict() for skip in skipped],
        "left_out": left_out,
        "pairs": [{"pair": i, "content": content, "style": style} for i, (content, style) in names.items()],
        "methods": [{"name": m.name, "kind": m.kind, "pictures_seen": m.pictures_seen, "note": m.note} for m in chosen],
        "rows": rows,
        "summary": summary,
        "curves": curves,
        "curve_pairs": sorted(common),
        "reach": reach(rows, next((m.name for m in chosen if m.kind == "bundle"), None)),
    }


def _summary(rows: list[Row], photo: dict[int, float], best: dict[int, float]) -> dict[str, Any]:
    """The means over pairs of one method after one number of steps."""

    def mean(column):
        values = [row[column] for row in rows if row[column] is not None]
        return float(np.mean(values)) if values else None

    closed = [row["closed"] for row in rows if row["closed"] is not None]
    gained = [(photo[r["pair"]] - r["J"], photo[r["pair"]] - best[r["pair"]]) for r in rows if r["closed"] is not None]
    return {
        "method": rows[0]["method"], "steps": rows[0]["steps"], "pairs": len(rows),
        **{column: mean(column) for column in COLUMNS},
        "closed": mean("closed"),
        "closed_median": float(np.median(closed)) if closed else None,
        "closed_ratio": float(np.divide(*np.sum(gained, 0))) if gained else None,
        "closed_pairs": len(closed),
        "artfid": None,
    }  # fmt: skip


def _curve(by_steps: dict[int, list[Row]], common: set[int], names: dict[int, tuple[str, str]]) -> dict[str, list]:
    """Mean J of one method against steps with its interval, on the pairs that all methods were run on."""
    curve: dict[str, list] = {"steps": sorted(by_steps), "J": [], "low": [], "high": []}
    for k in curve["steps"]:
        compared = [row for row in by_steps[k] if row["pair"] in common]
        values = [row["J"] for row in compared]
        bounds = interval(values, [names[row["pair"]] for row in compared]) if values else (None, None)
        curve["J"].append(float(np.mean(values)) if values else None)
        curve["low"].append(bounds[0])
        curve["high"].append(bounds[1])
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


def reach(rows: list[Row], ours: str | None) -> list[dict[str, Any]]:
    """How many steps each method needs to reach the mean J that `ours` reaches after 1, 5 and 10 steps.

    Compared on the pairs that both were run on; "steps" is the first after which the method was judged and is no worse,
    None where there is none.
    """
    by_method: dict[str, dict[int, dict[int, float]]] = {}
    for row in rows:
        by_method.setdefault(row["method"], {}).setdefault(row["steps"], {})[row["pair"]] = row["J"]
    out = []
    for method, curve in by_method.items():
        for target in TARGETS if method != ours else ():
            goal = by_method.get(ours, {}).get(target)
            if goal is None or len(curve) < 2:
                continue
            common = sorted(set(goal) & set.intersection(*(set(by_pair) for by_pair in curve.values())))
            if common:
                wanted = np.mean([goal[i] for i in common])
                there = [k for k in sorted(curve) if np.mean([curve[k][i] for i in common]) <= wanted]
                out.append(
                    {"method": method, "target": target, "J": float(wanted), "steps": there[0] if there else None}
                )
    return out


def machine() -> str:
    """This machine, for a reader of its numbers."""
    device = jax.devices()[0]
    return f"{processor()}, {os.cpu_count()} cores; {jax.device_count()} x {device.device_kind}"
