"""Blind votes between the outputs of an evaluation: the page to vote on, and what the votes say."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metastyle.errors import InputError
from metastyle.evaluate.report.html import encode_pictures, fill_template, to_base64
from metastyle.evaluate.report.table import INPUTS, align

QUESTIONS = {"content": "keeps the photograph better", "style": "has the style better"}
_Z95 = 1.959963984540054


def write_vote_page(results: dict[str, Any], out: str | os.PathLike, seed: int = 0) -> Path | None:
    """Writes OUT/vote.html, blind choices between the last outputs of two methods; returns its path.

    The choices come in rounds: in each, every two methods meet once for each question, on a pair drawn without
    replacement, so that a voter who stops early has still compared all of them. `seed` draws the order and the sides.
    Where there are fewer than two methods to choose between, or no inputs to compare with, nothing is written, and an
    earlier page is removed.

    Raises FileNotFoundError where a picture is not there.
    """
    last = _last_steps(results)
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
    pictures = encode_pictures(out, (file for (_, pair), file in files.items() if pair in pairs))
    of_pair = lambda name: {pair: pictures[files[name, pair]] for pair in pairs if (name, pair) in files}
    data = {
        "names": [to_base64(name.encode()) for name in methods],
        "references": {question: of_pair(name) for question, name in zip(QUESTIONS, INPUTS, strict=True)},
        "outputs": [of_pair(name) for name in methods],
        "choices": choices,
    }
    # Votes that a browser keeps belong to these pictures in this order.
    data["key"] = hashlib.sha256(json.dumps(data).encode()).hexdigest()[:16]
    return fill_template("vote.html", out, {"data": json.dumps(data).replace("<", "\\u003c")})


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


def format_preferences(found: Sequence[dict[str, Any]]) -> str:
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
            blocks.append("\n".join([f"which {words} ({question})", *align(cells, text=2)]))
    return "\n\n".join(blocks)


def _last_steps(results: dict[str, Any]) -> dict[str, int]:
    """The steps of the last output of each method that has any, the bounds apart."""
    steps = {row["method"]: row["steps"] for row in sorted(results["rows"], key=lambda row: row["steps"])}
    names = (m["name"] for m in results["methods"])
    return {name: steps[name] for name in names if name in steps and name not in INPUTS}


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
