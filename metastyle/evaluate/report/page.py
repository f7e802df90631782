"""An evaluation for people, from its results: a table, the curve, a page with every picture, and blind votes.

`results` is what an evaluation leaves in OUT/results.json, its pictures beside it; None stands for "not measured".
"""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import math
import os
import random
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from metastyle.errors import InputError
from metastyle.system import paths
from metastyle.system.files import atomic
from metastyle.system.optional import need

QUESTIONS = {"content": "keeps the photograph better", "style": "has the style better"}
INPUTS = ("photograph", "style picture")  # the bounds: judged as if they were outputs, never voted on

_TEMPLATES = paths.ASSETS / "report"
_BUDGET = 13_000_000  # characters of all pictures of a page
_LADDER = ((512, 90), (256, 85), (256, 75), (192, 75), (160, 70), (128, 60))  # longer side in px, JPEG quality
_COLOURS = (  # Okabe and Ito, and two of Tol's
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#882255", "#999933",
)  # fmt: skip
_Z95 = 1.959963984540054


class _Column(NamedTuple):
    key: str
    label: str
    digits: int
    better: str
    meaning: str


_COLUMNS = (
    _Column("J", "J", 3, "↓", "the total loss, C + 5 S"),
    _Column("C", "C", 3, "↓", "content loss: how far the VGG features are from the photograph's; 0 is the photograph"),
    _Column("S", "S", 3, "↓", "style loss: how far the Gram matrices are from the style's; 0 is the style picture"),
    _Column("S_mean_std", "S_mean_std", 3, "↓", "style loss of means and standard deviations: a second opinion on S"),
    _Column(
        "closed", "closed", 3, "↑",
        "share of the way from the photograph's J (0) to that of Gatys's optimisation (1); mean over pairs",
    ),
    _Column("closed_median", "median", 3, "↑", "median of closed over pairs"),
    _Column("closed_ratio", "ratio", 3, "↑", "closed of the mean losses: pairs on which little is to gain weigh less"),
    _Column("ssim", "SSIM", 3, "↑", "structural similarity of the luma with the photograph's; 1 is the photograph"),
    _Column("cfsd", "CFSD", 3, "↓", "distance between self-similarities of the features; 0 is the photograph"),
    _Column("grid", "grid", 2, "↓", "how far a grid of period 2 or 4 px stands out; about 1 where there is none"),
    _Column("lpips", "LPIPS", 3, "↓", "learned perceptual distance from the photograph"),
    _Column("artfid", "ArtFID", 2, "↓", "(1 + LPIPS) (1 + FID): content kept and style had, over all pairs"),
    _Column("adapt_s", "adapt_s", 2, "↓", "seconds to fit the style"),
    _Column("stylize_ms", "stylize_ms", 1, "↓", "milliseconds to stylise a photograph once the style is fitted"),
    _Column("pairs", "pairs", 0, "", "photograph-style pairs that the means are over"),
)  # fmt: skip
_NEED_WEIGHTS = ("lpips", "artfid")  # columns that are there only where they were measured
_OF_SUMMARY = ("closed_median", "closed_ratio", "artfid", "pairs")  # columns that no single pair has


def table(results: dict[str, Any]) -> str:
    """The summary for a terminal: a line per method and number of steps, then notes on what the numbers stand on."""
    columns = _columns(results["summary"])
    cells = [["method", "steps", *(c.label for c in columns)]]
    for entry in results["summary"]:
        numbers = [_number(entry.get(c.key), c.digits) for c in columns]
        cells.append([entry["method"], str(entry["steps"]), *numbers])
    return "\n".join([*_aligned(cells), "", *_notes(results)])


def plot(results: dict[str, Any], path: str | os.PathLike) -> None:
    """Draws mean J against steps with its 95 % interval, a line per method, and the two bounds; a PNG at `path`.

    Raises InputError where matplotlib is not installed.
    """
    with atomic(path) as temporary:
        temporary.write_bytes(_curve(results))


def page(results: dict[str, Any], out: str | os.PathLike) -> Path:
    """Writes OUT/index.html, one file that needs no other and no network; returns its path.

    out: the folder that each row's "picture" is relative to. The pictures are embedded as JPEG, smaller ones the more
    there are, so that the page stays below 15 MB.

    Raises:
      FileNotFoundError: a picture is not there.
      InputError: matplotlib is not installed.
    """
    looks, rows = _looks(results), {(r["method"], r["steps"], r["pair"]): r for r in results["rows"] if r["picture"]}
    shown = [rows[*look, p["pair"]] for p in results["pairs"] for look in looks if (*look, p["pair"]) in rows]
    pictures = _encoded(out, (row["picture"] for row in shown))
    grid = "\n".join(_pair(pair, looks, rows, pictures) for pair in results["pairs"])
    settings = results["settings"] | {"versions": results["versions"], "machine": results["machine"]}
    if results["skipped"]:
        settings["skipped"] = [f"{s['file']} ({s['reason']})" for s in results["skipped"]]
    measured = _columns(results["summary"])
    parts = {
        "lead": escape(_lead(results)),
        "columns": str(len(looks)),
        "summary": _summary(results, measured),
        "notes": "".join(f"<li>{escape(note)}</li>" for note in _notes(results)),
        "legend": "".join(f"<dt>{escape(c.label)}</dt><dd>{escape(c.meaning)}</dd>" for c in measured),
        "curve": "data:image/png;base64," + _base64(_curve(results)),
        "reach": _reach(results),
        "methods": _methods(results),
        "pictures": grid,
        "method_options": _options(r["method"] for r in results["rows"]),
        "steps_options": _options(sorted({r["steps"] for r in results["rows"]})),
        "rows": _rows(results),
        "settings": "".join(f"<dt>{escape(k)}</dt><dd>{escape(_text(v))}</dd>" for k, v in settings.items()),
    }
    return _write("index.html", out, parts)


def vote_page(results: dict[str, Any], out: str | os.PathLike, seed: int = 0) -> Path | None:
    """Writes OUT/vote.html, blind choices between the last outputs of two methods; returns its path.

    The choices come in rounds: in each, every two methods meet once for each question, on a pair drawn without
    replacement, so that a voter who stops early has still compared all of them. `seed` draws the order and the sides.
    Where there are fewer than two methods to choose between, or no inputs to compare with, nothing is written, and an
    earlier page is removed.

    Raises FileNotFoundError where a picture is not there.
    """
    last = {method: steps for method, steps in _looks(results) if method not in INPUTS}
    files = {}
    for row in results["rows"]:
        if row["picture"] and (row["method"] in INPUTS or last.get(row["method"]) == row["steps"]):
            files[row["method"], row["pair"]] = row["picture"]
    rng = random.Random(seed)
    methods = rng.sample(list(last), len(last))  # an index says nothing about the method
    choices = _choices(files, methods, [p["pair"] for p in results["pairs"]], rng)
    if not choices:
        (Path(out) / "vote.html").unlink(missing_ok=True)
        return None
    pairs = sorted({pair for pair, *_ in choices})
    pictures = _encoded(out, (file for (_, pair), file in files.items() if pair in pairs))
    of_pair = lambda name: {pair: pictures[files[name, pair]] for pair in pairs if (name, pair) in files}
    data = {
        "names": [_base64(name.encode()) for name in methods],
        "references": {question: of_pair(name) for question, name in zip(QUESTIONS, INPUTS, strict=True)},
        "outputs": [of_pair(name) for name in methods],
        "choices": choices,
    }
    # Votes that a browser keeps belong to these pictures in this order.
    data["key"] = hashlib.sha256(json.dumps(data).encode()).hexdigest()[:16]
    return _write("vote.html", out, {"data": json.dumps(data).replace("<", "\\u003c")})


def read_votes(paths: Sequence[str | os.PathLike]) -> list[dict[str, Any]]:
    """The votes of all files, each a votes.json from a vote page.

    A vote that is in two files, as when somebody downloads now and again later, counts once. Raises FileNotFoundError,
    and InputError for a file that holds no list of votes.
    """
    votes: dict[str, dict[str, Any]] = {}
    for path in paths:
        if not Path(path).is_file():
            raise FileNotFoundError(f"`votes`: no such file: {os.fspath(path)!r}; give votes.json of a vote page")
        try:
            found = json.loads(Path(path).read_bytes())
        except ValueError as error:  # not JSON, or not text
            raise InputError(
                f"`votes`: cannot read {os.fspath(path)!r} ({error}); use votes.json of a vote page"
            ) from None
        if not isinstance(found, list):
            raise InputError(f"`votes`: expected a list in {os.fspath(path)!r}, got {type(found).__name__}")
        votes |= {json.dumps(vote, sort_keys=True): vote for vote in found}
    return list(votes.values())


def preferences(votes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How often each method was preferred.

    votes: {"pair": int, "question": "content" or "style", "left": method, "right": method, "winner": method or None}
    each; other keys are ignored.

    Returns:
      For each question, one entry per method ("against": None), most preferred first, then one for every two methods
      that met. "wins" counts a None winner as half a win for both; "share" is wins / comparisons, "low" and "high" its
      95 % interval (Wilson's score interval, which takes votes as independent).

    Raises InputError where there is no vote, or a malformed one.
    """
    if not votes:
        raise InputError("`votes`: expected at least one vote, got none; vote on a vote page and download votes.json")
    for i, vote in enumerate(votes):
        _check(vote, i)
    found = []
    for question in QUESTIONS:
        asked = [vote for vote in votes if vote["question"] == question]
        names = dict.fromkeys(name for vote in asked for name in (vote["left"], vote["right"]))
        methods = [_preference(asked, question, name, None) for name in names]
        methods.sort(key=lambda p: (-p["share"], p["method"]))
        found += methods
        for one, other in itertools.combinations([p["method"] for p in methods], 2):
            between = [vote for vote in asked if {vote["left"], vote["right"]} == {one, other}]
            if between:
                found.append(_preference(between, question, one, other))
    return found


def preference_table(found: Sequence[dict[str, Any]]) -> str:
    """What `preferences` returns, for a terminal."""
    blocks = []
    for question, words in QUESTIONS.items():
        cells = [["method", "against", "wins", "comparisons", "share", "95 % interval"]]
        for p in found:
            if p["question"] == question:
                interval = f"{p['low']:.3f} to {p['high']:.3f}"
                against = "all others" if p["against"] is None else p["against"]
                cells.append(
                    [p["method"], against, f"{p['wins']:g}", str(p["comparisons"]), f"{p['share']:.3f}", interval]
                )
        if cells[1:]:
            blocks.append("\n".join([f"which {words} ({question})", *_aligned(cells, text=2)]))
    return "\n\n".join(blocks)


def _check(vote: Any, i: int) -> None:
    if not isinstance(vote, dict):
        raise InputError(f"`votes`: expected an object with question, left, right, winner, got {vote!r} as vote {i}")
    for key in ("pair", "question", "left", "right", "winner"):
        if key not in vote:
            raise InputError(f"`votes`: expected the key {key!r} in vote {i}, got {', '.join(vote) or 'no key'}")
    sides = (vote["left"], vote["right"])
    if vote["question"] not in tuple(QUESTIONS):
        raise InputError(
            f"`votes`: expected the question {' or '.join(QUESTIONS)}, got {vote['question']!r} in vote {i}"
        )
    if not all(isinstance(name, str) for name in sides) or sides[0] == sides[1]:
        raise InputError(f"`votes`: expected the names of two methods, got {sides[0]!r} and {sides[1]!r} in vote {i}")
    if vote["winner"] not in (*sides, None):
        raise InputError(
            f"`votes`: expected the winner {sides[0]!r}, {sides[1]!r} or null, got {vote['winner']!r} in vote {i}"
        )


def _preference(votes: list[dict], question: str, method: str, against: str | None) -> dict[str, Any]:
    met = [vote["winner"] for vote in votes if method in (vote["left"], vote["right"])]
    wins, count = sum(0.5 if winner is None else float(winner == method) for winner in met), len(met)
    low, high = _wilson(wins / count, count)
    return {
        "question": question, "method": method, "against": against, "wins": wins, "comparisons": count,
        "share": wins / count, "low": low, "high": high,
    }  # fmt: skip


def _wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % score interval (1927) of a share of `count`; defined for 0 and 1 too."""
    spread = _Z95**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * share * (1 - share) + spread**2 / 4) / (1 + spread)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _choices(files: dict, methods: list[str], pairs: list[int], rng: random.Random) -> list[tuple[int, str, int, int]]:
    """(pair, question, index of the left method, of the right one), in rounds."""
    columns = []
    for (i, one), (j, other) in itertools.combinations(enumerate(methods), 2):
        for question, reference in zip(QUESTIONS, INPUTS, strict=True):
            there = [pair for pair in pairs if all((name, pair) in files for name in (one, other, reference))]
            columns.append([(pair, question, *rng.sample((i, j), 2)) for pair in rng.sample(there, len(there))])
    choices = []
    for row in itertools.zip_longest(*columns):
        met = [choice for choice in row if choice]
        choices += rng.sample(met, len(met))
    return choices


def _columns(entries: Sequence[dict[str, Any]]) -> list[_Column]:
    return [c for c in _COLUMNS if c.key not in _NEED_WEIGHTS or any(e.get(c.key) is not None for e in entries)]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _aligned(cells: list[list[str]], text: int = 1) -> list[str]:
    """Lines of a table; the first `text` columns are flush left, numbers flush right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(c.ljust(w) if i < text else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]


def _notes(results: dict[str, Any]) -> list[str]:
    """What the numbers stand on, and what is missing from them."""
    counts = [entry["closed_pairs"] for entry in results["summary"] if entry["closed"] is not None]
    if not counts:
        notes = ["closed: not measured, it needs the photograph and Gatys's optimisation"]
    else:
        fewest, most = min(counts), max(counts)
        on = f"{most}" if fewest == most else f"{fewest} to {most}"
        notes = [f"closed: 0 is the photograph, 1 is Gatys's optimisation; on {on} of {len(results['pairs'])} pairs"]
        if results["left_out"]:
            left_out = ", ".join(map(str, results["left_out"]))
            notes[0] += f", without {left_out}, where Gatys's hardly improves on the photograph"
        notes.append("the style picture as output has a high closed with the content gone: read closed with C and S")
    if skipped := results["skipped"]:
        some = ", ".join(f"{s['file']!r} ({s['reason']})" for s in skipped[:3])
        more = f" and {len(skipped) - 3} more" if skipped[3:] else ""
        notes.append(f"skipped, since they could not be read: {some}{more}")
    missing = [c.label for c in _COLUMNS if c.key in _NEED_WEIGHTS and c not in _columns(results["summary"])]
    if missing:
        notes.append(f"{' and '.join(missing)}: not measured, no weights were passed")
    return notes


def _curve(results: dict[str, Any]) -> bytes:
    need("matplotlib.figure", "the curve")
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    curves, pairs = results["curves"], len(results["curve_pairs"])
    lines, labels, last = [], [], 1
    values = lambda name, key: [math.nan if x is None else x for x in curves[name][key]]
    for name, colour in zip(INPUTS, ("#444444", "#999999"), strict=True):
        if name in curves:
            (level,) = values(name, "J")
            lines.append(axes.axhline(level, linestyle="--", linewidth=1.2, color=colour, zorder=1))
            labels.append(f"{name} ({level:.2f})")
    methods = [m["name"] for m in results["methods"] if m["name"] in curves and m["name"] not in INPUTS]
    styles = zip(itertools.cycle(_COLOURS), itertools.cycle("osD^vPX*"))
    for name, (colour, marker) in zip(methods, styles, strict=False):
        curve = curves[name]
        mean, low, high = (values(name, key) for key in ("J", "low", "high"))
        if len(mean) > 1:
            lines += axes.plot(curve["steps"], mean, marker=marker, markersize=5, color=colour, linewidth=1.8)
            axes.fill_between(curve["steps"], low, high, color=colour, alpha=0.1, linewidth=0)
            labels.append(name)
            last = max(last, *curve["steps"])
        else:  # one pass, however many steps the others take
            lines.append(axes.axhline(mean[-1], linestyle=":", linewidth=1.8, color=colour))
            labels.append(f"{name} ({mean[-1]:.2f})")
    # Logarithmic, but linear up to 1 step: 0 has a place too.
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    ticks = [0, *(a * 10**n for n in range(9) for a in (1, 2, 5))]
    axes.set_xticks([t for t in ticks if t <= last])
    axes.set(
        xlim=(-0.25, 1.2 * last), xlabel="gradient steps", ylabel=f"mean J = C + 5 S of {pairs} pairs", yscale="log"
    )
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(plain)
        axis.set_minor_locator(NullLocator())
    axes.grid(color="#e3e7eb", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    # A name is no markup, but a legend leaves out _names and reads $ as mathematics: numbers stand in for the names.
    legend = figure.legend(lines, [str(i) for i in range(len(lines))], loc="outside right upper", frameon=False)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set(text=label, parse_math=False)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=140, format="png")
    return stream.getvalue()


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


def _encoded(out: str | os.PathLike, files: Iterable[str]) -> dict[str, str]:
    """Each picture file, relative to `out`, as a data URI: JPEG, as large and as good as the budget lets them be."""
    files, found = list(dict.fromkeys(files)), {}
    for side, quality in _LADDER:
        found = {file: _jpeg(Path(out) / file, side, quality) for file in files}
        if sum(map(len, found.values())) <= _BUDGET:
            break
    return found


def _jpeg(path: Path, side: int, quality: int) -> str:
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + _base64(stream.getvalue())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _write(template: str, out: str | os.PathLike, parts: dict[str, str]) -> Path:
    """Fills the {{names}} of a template, in one go, so that what is filled in stays as it is."""
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    text = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], text)
    path = Path(out) / template
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")  # a file name may not be valid Unicode
    return path


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


def _head(label: str, *, text: bool = False, column: _Column | None = None) -> str:
    """A column's head that sorts."""
    title = f' title="{escape(column.meaning)}"' if column else ""
    arrow = f" {column.better}" if column and column.better else ""
    kind = ' class="text" data-sort="text"' if text else ' data-sort="number"'
    return f'<th scope="col"{kind}{title}><button>{escape(label)}{arrow}</button></th>'


def _cells(entry: dict[str, Any], columns: Iterable[_Column]) -> str:
    """The numbers as they read, and with more digits to sort by."""
    found = []
    for column in columns:
        value = entry.get(column.key)
        exact = "" if value is None else f"{value:.6g}"
        found.append(f'<td data-v="{exact}">{_number(value, column.digits)}</td>')
    return "".join(found)


def _table(head: str, body: Iterable[str]) -> str:
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _summary(results: dict[str, Any], columns: list[_Column]) -> str:
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
    columns = [c for c in _columns(results["rows"]) if c.key not in _OF_SUMMARY]
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
        numbers = "" if row is None else " ".join(f"{key}\N{NO-BREAK SPACE}{_number(row.get(key), 2)}" for key in "JCS")
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
