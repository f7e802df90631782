"""The page of an evaluation, with its table, its curve and every picture."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metastyle.evaluate.report.html import encode_pictures, fill_template, to_base64
from metastyle.evaluate.report.plot import draw_curve
from metastyle.evaluate.report.table import OF_SUMMARY, describe_basis, format_number, measured_columns
from metastyle.evaluate.results import BOUNDS, PairNames, Reach, Results, Row


class _Look(NamedTuple):
    """An output to look at: of a method after a number of steps."""

    method: str
    steps: int


class _Figure(NamedTuple):
    """A picture with its caption; `source` is its data URI, empty if the method was not run on the pair."""

    title: str
    numbers: str
    source: str


class _Line(NamedTuple):
    """The pictures of a pair; the same place in every line is the same look."""

    pair: PairNames
    figures: list[_Figure]


class _ReachTable(NamedTuple):
    """A line per method, with an entry per target; `ours` is the method that is to be reached."""

    ours: str
    targets: list[int]
    lines: dict[str, dict[int, Reach]]


def write_page(results: Results, out: str | os.PathLike) -> Path:
    """Writes OUT/index.html, one file that needs no other and no network; returns its path.

    out: the folder that each row's `picture` is relative to. The pictures are embedded as JPEG, smaller ones the more
    there are, so that the page stays below 15 MB.

    Raises:
      FileNotFoundError: a picture is not there.
      InputError: matplotlib or Jinja2 is not installed.
    """
    values = {
        "results": results,
        "bounds": BOUNDS,
        "lead": _lead(results),
        "columns": measured_columns(results.summary),
        "notes": describe_basis(results),
        "curve": "data:image/png;base64," + to_base64(draw_curve(results)),
        "reach": _reach_table(results),
        "pictures": _pictures(results, out),
        "pairs": {pair.pair: pair for pair in results.pairs},
        "row_columns": [c for c in measured_columns(results.rows) if c.key not in OF_SUMMARY],
        "method_names": list(dict.fromkeys(row.method for row in results.rows)),
        "step_counts": sorted({row.steps for row in results.rows}),
        "settings": _settings(results),
    }
    return fill_template("index.html", out, values)


def _lead(results: Results) -> str:
    size = f" at {results.settings['size']} px" if "size" in results.settings else ""
    pairs, methods = len(results.pairs), len(results.methods)
    return f"{pairs} pairs of a photograph and a style{size}, {methods} methods; {results.machine}"


def _settings(results: Results) -> dict[str, str]:
    shown = results.settings | {"versions": results.versions, "machine": results.machine}
    if results.skipped:
        shown["skipped"] = [f"{skip.file} ({skip.reason})" for skip in results.skipped]
    return {name: _text(value) for name, value in shown.items()}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    return "-" if value in (None, "") else str(value)


def _reach_table(results: Results) -> _ReachTable | None:
    ours = next((method.name for method in results.methods if method.kind == "bundle"), None)
    if not results.reach or ours is None:
        return None
    lines: dict[str, dict[int, Reach]] = {}
    for entry in results.reach:
        lines.setdefault(entry.method, {})[entry.target] = entry
    return _ReachTable(ours, sorted({entry.target for entry in results.reach}), lines)


def _pictures(results: Results, out: str | os.PathLike) -> list[_Line]:
    looks = _choose_looks(results)
    rows = {(_Look(row.method, row.steps), row.pair): row for row in results.rows if row.picture}
    shown = [rows[look, pair.pair] for pair in results.pairs for look in looks if (look, pair.pair) in rows]
    sources = encode_pictures(out, (row.picture for row in shown))
    lines = []
    for pair in results.pairs:
        found = [(look, rows.get((look, pair.pair))) for look in looks]
        lines.append(_Line(pair, [_figure(_title(look, looks), row, sources) for look, row in found]))
    return lines


def _figure(title: str, row: Row | None, sources: dict[str, str]) -> _Figure:
    if row is None:
        return _Figure(title, "", "")
    numbers = " ".join(f"{name}\N{NO-BREAK SPACE}{format_number(getattr(row, name), 2)}" for name in "JCS")
    return _Figure(title, numbers, sources[row.picture])


def _choose_looks(results: Results) -> list[_Look]:
    """The pictures to look at: of a bundle the first, the one at about 10 steps and the last, of others the last."""
    steps: dict[str, set[int]] = {}
    for row in results.rows:
        steps.setdefault(row.method, set()).add(row.steps)
    kinds = {method.name: method.kind for method in results.methods}
    looks = []
    for name in [*BOUNDS, *(name for name in kinds if name not in BOUNDS)]:
        taken = sorted(steps.get(name, ()))
        if taken and kinds.get(name) == "bundle":
            taken = sorted({taken[0], min(taken, key=lambda k: abs(k - 10)), taken[-1]})
        else:
            taken = taken[-1:]
        looks += [_Look(name, k) for k in taken]
    return looks


def _title(look: _Look, looks: Sequence[_Look]) -> str:
    if look.steps == 0 and [other.method for other in looks].count(look.method) == 1:  # it takes no steps
        return look.method
    return f"{look.method}, {look.steps} step{'' if look.steps == 1 else 's'}"
