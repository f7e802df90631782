"""An evaluation for people, from its results: a table, the curve, a page with every picture, and blind votes.

`results` is what an evaluation leaves in OUT/results.json, its pictures beside it; None stands for "not measured".
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from metastyle.evaluate.report.html import encode_pictures, fill_template, to_base64
from metastyle.evaluate.report.plot import draw_curve
from metastyle.evaluate.report.table import INPUTS, OF_SUMMARY, Column, describe_basis, format_number, measured_columns


def write_page(results: dict[str, Any], out: str | os.PathLike) -> Path:
    """Writes OUT/index.html, one file that needs no other and no network; returns its path.

    out: the folder that each row's "picture" is relative to. The pictures are embedded as JPEG, smaller ones the more
    there are, so that the page stays below 15 MB.

    Raises:
      FileNotFoundError: a picture is not there.
      InputError: matplotlib is not installed.
    """
    looks, rows = _looks(results), {(r["method"], r["steps"], r["pair"]): r for r in results["rows"] if r["picture"]}
    shown = [rows[*look, p["pair"]] for p in results["pairs"] for look in looks if (*look, p["pair"]) in rows]
    pictures = encode_pictures(out, (row["picture"] for row in shown))
    grid = "\n".join(_pair(pair, looks, rows, pictures) for pair in results["pairs"])
    settings = results["settings"] | {"versions": results["versions"], "machine": results["machine"]}
    if results["skipped"]:
        settings["skipped"] = [f"{s['file']} ({s['reason']})" for s in results["skipped"]]
    measured = measured_columns(results["summary"])
    parts = {
        "lead": escape(_lead(results)),
        "columns": str(len(looks)),
        "summary": _summary(results, measured),
        "notes": "".join(f"<li>{escape(note)}</li>" for note in describe_basis(results)),
        "legend": "".join(f"<dt>{escape(c.label)}</dt><dd>{escape(c.meaning)}</dd>" for c in measured),
        "curve": "data:image/png;base64," + to_base64(draw_curve(results)),
        "reach": _reach(results),
        "methods": _methods(results),
        "pictures": grid,
        "method_options": _options(r["method"] for r in results["rows"]),
        "steps_options": _options(sorted({r["steps"] for r in results["rows"]})),
        "rows": _rows(results),
        "settings": "".join(f"<dt>{escape(k)}</dt><dd>{escape(_text(v))}</dd>" for k, v in settings.items()),
    }
    return fill_template("index.html", out, parts)


def _looks(results: dict[str, Any]) -> list[tuple[str, int]]:
    """(method, steps) of the pictures to look at: of a bundle the first, about 10 and the last, else the last."""
    steps: dict[str, set[int]] = {}
    for row in results["rows"]:
        steps.setdefault(row["method"], set()).add(row["steps"])
    kinds = {m["name"]: m["kind"] for m in results["methods"]}
    looks = []
    for name in [*INPUTS, *(name for name in kinds if name not in INPUTS)]:
        taken = sorted(steps.get(name, ()))
        if kinds.get(name) == "bundle":
            taken = sorted({taken[0], min(taken, key=lambda k: abs(k - 10)), taken[-1]}) if taken else []
        else:
            taken = taken[-1:]
        looks += [(name, k) for k in taken]
    return looks


def _title(method: str, steps: int, looks: list[tuple[str, int]]) -> str:
    if steps == 0 and [m for m, _ in looks].count(method) == 1:  # it takes no steps
        return method
    return f"{method}, {steps} step{'' if steps == 1 else 's'}"


def _lead(results: dict[str, Any]) -> str:
    settings, count = results["settings"], len(results["pairs"])
    size = f" at {settings['size']} px" if "size" in settings else ""
    return f"{count} pairs of a photograph and a style{size}, {len(results['methods'])} methods; {results['machine']}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    return "-" if value in (None, "") else str(value)


def _options(values: Iterable[Any]) -> str:
    return "".join(f"<option>{escape(str(value))}</option>" for value in dict.fromkeys(values))


def _head(label: str, *, text: bool = False, column: Column | None = None) -> str:
    """A column's head that sorts."""
    title = f' title="{escape(column.meaning)}"' if column else ""
    arrow = f" {column.better}" if column and column.better else ""
    kind = ' class="text" data-sort="text"' if text else ' data-sort="number"'
    return f'<th scope="col"{kind}{title}><button>{escape(label)}{arrow}</button></th>'


def _cells(entry: dict[str, Any], columns: Iterable[Column]) -> str:
    """The numbers as they read, and with more digits to sort by."""
    found = []
    for column in columns:
        value = entry.get(column.key)
        exact = "" if value is None else f"{value:.6g}"
        found.append(f'<td data-v="{exact}">{format_number(value, column.digits)}</td>')
    return "".join(found)


def _table(head: str, body: Iterable[str]) -> str:
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _summary(results: dict[str, Any], columns: list[Column]) -> str:
    head = _head("method", text=True) + _head("steps") + "".join(_head(c.label, column=c) for c in columns)
    body, before = [], None
    for entry in results["summary"]:
        name = entry["method"]
        kind = "bound" if name in INPUTS else "group" if name != before else ""
        body.append(
            f'<tr class="{kind}"><td class="text">{escape(name)}</td><td>{entry["steps"]}</td>'
            f"{_cells(entry, columns)}</tr>"
        )
        before = name
    return _table(head, body)


def _rows(results: dict[str, Any]) -> str:
    columns = [c for c in measured_columns(results["rows"]) if c.key not in OF_SUMMARY]
    head = _head("method", text=True) + _head("steps") + _head("pair")
    head += _head("photograph", text=True) + _head("style", text=True)
    head += "".join(_head(c.label, column=c) for c in columns)
    pairs = {p["pair"]: p for p in results["pairs"]}
    body = []
    for row in results["rows"]:
        pair = pairs[row["pair"]]
        body.append(
            f'<tr><td class="text">{escape(row["method"])}</td><td>{row["steps"]}</td>'
            f'<td><a href="#pair-{row["pair"]}">{row["pair"]}</a></td>'
            f'<td class="text">{escape(pair["content"])}</td><td class="text">{escape(pair["style"])}</td>'
            f"{_cells(row, columns)}</tr>"
        )
    return _table(head, body)


def _reach(results: dict[str, Any]) -> str:
    """A line per method, a column per target; `reach` has one entry for each cell."""
    reach = {(r["method"], r["target"]): r for r in results["reach"]}
    first = next((m["name"] for m in results["methods"] if m["kind"] == "bundle"), None)
    if not reach or first is None:
        return "<p>Not measured.</p>"
    targets = sorted({target for _, target in reach})
    head = '<th scope="col" class="text">method</th>'
    head += "".join(f'<th scope="col">{target} step{"" if target == 1 else "s"}</th>' for target in targets)
    body = []
    for name in dict.fromkeys(method for method, _ in reach):
        cells = ""
        for target in targets:
            entry = reach.get((name, target), {"steps": "-", "J": None})
            steps = "not reached" if entry["steps"] is None else entry["steps"]
            goal = "" if entry["J"] is None else f" <span>(J {entry['J']:.3f})</span>"
            cells += f"<td>{steps}{goal}</td>"
        body.append(f'<tr><td class="text">{escape(name)}</td>{cells}</tr>')
    return (
        "<p>The first of the judged numbers of steps after which a method's mean J is no more than what "
        f"<b>{escape(first)}</b> has after the steps at the head of the column (in brackets, on the pairs that both "
        'were run on).</p><div class="scroll">'
        f"{_table(head, body)}</div>"
    )


def _methods(results: dict[str, Any]) -> str:
    head = "".join(
        f'<th scope="col" class="{kind}">{name}</th>'
        for name, kind in (("method", "text"), ("kind", "text"), ("pictures seen in training", ""), ("note", "text"))
    )
    body = []
    for method in results["methods"]:
        seen = "-" if method["pictures_seen"] is None else f"{method['pictures_seen']:,}"
        body.append(
            f'<tr><td class="text">{escape(method["name"])}</td><td class="text">{escape(method["kind"])}</td>'
            f'<td>{seen}</td><td class="text wide">{escape(method["note"])}</td></tr>'
        )
    return _table(head, body)


def _pair(pair: dict[str, Any], looks: list[tuple[str, int]], rows: dict, pictures: dict[str, str]) -> str:
    """One line of the pictures: a figure per look, so that the same place in every line is the same method."""
    figures = []
    for method, steps in looks:
        row = rows.get((method, steps, pair["pair"]))
        title = _title(method, steps, looks)
        numbers = (
            "" if row is None else " ".join(f"{key}\N{NO-BREAK SPACE}{format_number(row.get(key), 2)}" for key in "JCS")
        )
        title, numbers = escape(title), escape(numbers)
        picture = '<div class="blank">none</div>'
        if row is not None:
            source = pictures[row["picture"]]
            picture = f'<button><img loading="lazy" decoding="async" alt="{title}" src="{source}"></button>'
        figures.append(f"<figure>{picture}<figcaption><b>{title}</b> <span>{numbers}</span></figcaption></figure>")
    name = f"{escape(pair['content'])} <span>in the style of</span> {escape(pair['style'])}"
    return (
        f'<h3 id="pair-{pair["pair"]}"><span>pair {pair["pair"]}:</span> {name}</h3>\n<div class="pictures">'
        f"{''.join(figures)}</div>"
    )
