"""Blind votes between the outputs of an evaluation: the page to vote on, and what the votes say."""

import hashlib
import itertools
import json
import math
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metastyle.errors import InputError
from metastyle.evaluate.report.html import encode_pictures, fill_template, to_base64
from metastyle.evaluate.report.table import align
from metastyle.evaluate.results import BOUNDS, Results
from metastyle.system.files import is_file, read_input

QUESTIONS = {"content": "keeps the photograph better", "style": "has the style better"}
_REFERENCES = dict(zip(QUESTIONS, BOUNDS, strict=True))  # the input that outputs are compared with
_Z95 = 1.959963984540054


class Choice(NamedTuple):
    """A question to a voter; `left` and `right` are indexes of methods."""

    pair: int
    question: str
    left: int
    right: int


class Vote(NamedTuple):
    """An answer: the names of the two methods, and of the one that won, None for "can't tell"."""

    question: str
    left: str
    right: str
    winner: str | None


class Preference(NamedTuple):
    """How often `method` was preferred to `against`, or to all others where that is None.

    wins: a vote without winner counts as half a win for both. share: wins / comparisons. low, high: its 95 % interval.
    """

    question: str
    method: str
    against: str | None
    wins: float
    comparisons: int
    share: float
    low: float
    high: float


def write_vote_page(results: Results, out: str | os.PathLike, seed: int = 0) -> Path | None:
    """Writes OUT/vote.html, blind choices between the last outputs of two methods; returns its path.

    The choices come in rounds: in each, every two methods meet once for each question, on a pair drawn without
    replacement, so that a voter who stops early has still compared all of them. `seed` draws the order and the sides.
    Where there are fewer than two methods to choose between, or no inputs to compare with, nothing is written, and an
    earlier page is removed.

    Raises FileNotFoundError where a picture is not there, and InputError where Jinja2 is not installed.
    """
    last = _last_steps(results)
    files = {}
    for row in results.rows:
        if row.picture and (row.method in BOUNDS or last.get(row.method) == row.steps):
            files[row.method, row.pair] = row.picture
    rng = random.Random(seed)
    methods = rng.sample(list(last), len(last))  # an index says nothing about the method
    choices = _draw_choices(files, methods, [pair.pair for pair in results.pairs], rng)
    if not choices:
        (Path(out) / "vote.html").unlink(missing_ok=True)
        return None
    pairs = sorted({choice.pair for choice in choices})
    pictures = encode_pictures(out, (file for (_, pair), file in files.items() if pair in pairs))

    def of_method(name: str) -> dict[int, str]:
        return {pair: pictures[files[name, pair]] for pair in pairs if (name, pair) in files}

    data = {
        "names": [to_base64(name.encode()) for name in methods],
        "references": {question: of_method(name) for question, name in _REFERENCES.items()},
        "outputs": [of_method(name) for name in methods],
        "choices": choices,
    }
    # Votes that a browser keeps belong to these pictures in this order.
    key = hashlib.sha256(json.dumps(data).encode()).hexdigest()[:16]
    return fill_template("vote.html", out, {"data": data | {"key": key}})


def _last_steps(results: Results) -> dict[str, int]:
    """The steps of the last output of each method that has any, the bounds apart."""
    steps: dict[str, int] = {}
    for row in results.rows:
        steps[row.method] = max(row.steps, steps.get(row.method, 0))
    names = [method.name for method in results.methods]
    return {name: steps[name] for name in names if name in steps and name not in BOUNDS}


def _draw_choices(
    files: Mapping[tuple[str, int], str], methods: Sequence[str], pairs: Sequence[int], rng: random.Random
) -> list[Choice]:
    """All choices in rounds; files: the pictures by method and pair."""
    columns = []
    for (i, one), (j, other) in itertools.combinations(enumerate(methods), 2):
        for question, reference in _REFERENCES.items():
            there = [pair for pair in pairs if all((name, pair) in files for name in (one, other, reference))]
            columns.append([Choice(pair, question, *rng.sample((i, j), 2)) for pair in rng.sample(there, len(there))])
    choices: list[Choice] = []
    for row in itertools.zip_longest(*columns):
        met = [choice for choice in row if choice]
        choices += rng.sample(met, len(met))
    return choices


def read_votes(paths: Sequence[str | os.PathLike]) -> list[Any]:
    """The votes of all files, each a votes.json from a vote page, as JSON has them.

    A vote that is in two files, as when somebody downloads now and again later, counts once. Raises FileNotFoundError,
    and InputError for a file that holds no list of votes.
    """
    votes: dict[str, Any] = {}
    for path in paths:
        if not is_file(path, "votes"):
            raise FileNotFoundError(f"`votes`: no such file: {os.fspath(path)!r}; give votes.json of a vote page")
        data = read_input(path, "votes")
        try:
            found = json.loads(data.decode())
        except ValueError as error:  # not JSON, or not text
            raise InputError(
                f"`votes`: cannot read {os.fspath(path)!r} ({error}); use votes.json of a vote page"
            ) from None
        if not isinstance(found, list):
            raise InputError(f"`votes`: expected a list in {os.fspath(path)!r}, got {type(found).__name__}")
        votes |= {json.dumps(vote, sort_keys=True): vote for vote in found}
    return list(votes.values())


def count_preferences(votes: Sequence[Any]) -> list[Preference]:
    """How often each method was preferred.

    votes: {"pair": int, "question": "content" or "style", "left": method, "right": method, "winner": method or None}
    each, as from `read_votes`; other keys are ignored.

    Returns:
      For each question, one entry per method (`against` None), most preferred first, then one for every two methods
      that met. Intervals are Wilson's score intervals, which take votes as independent.

    Raises InputError where there is no vote, or a malformed one.
    """
    if not votes:
        raise InputError("`votes`: expected at least one vote, got none; vote on a vote page and download votes.json")
    checked = [_check_vote(vote, i) for i, vote in enumerate(votes)]
    found: list[Preference] = []
    for question in QUESTIONS:
        asked = [vote for vote in checked if vote.question == question]
        names = dict.fromkeys(name for vote in asked for name in (vote.left, vote.right))
        methods = [_count(asked, question, name, None) for name in names]
        methods.sort(key=lambda p: (-p.share, p.method))
        found += methods
        for one, other in itertools.combinations([p.method for p in methods], 2):
            between = [vote for vote in asked if {vote.left, vote.right} == {one, other}]
            if between:
                found.append(_count(between, question, one, other))
    return found


def format_preferences(found: Sequence[Preference]) -> str:
    """What `count_preferences` returns, for a terminal."""
    blocks = []
    for question, words in QUESTIONS.items():
        cells = [["method", "against", "wins", "comparisons", "share", "95 % interval"]]
        for p in found:
            if p.question == question:
                against = "all others" if p.against is None else p.against
                interval = f"{p.low:.3f} to {p.high:.3f}"
                cells.append([p.method, against, f"{p.wins:g}", str(p.comparisons), f"{p.share:.3f}", interval])
        if cells[1:]:
            blocks.append("\n".join([f"which {words} ({question})", *align(cells, text=2)]))
    return "\n\n".join(blocks)


def _check_vote(vote: Any, i: int) -> Vote:
    if not isinstance(vote, dict):
        raise InputError(f"`votes`: expected an object with question, left, right, winner, got {vote!r} as vote {i}")
    for key in ("pair", "question", "left", "right", "winner"):
        if key not in vote:
            raise InputError(f"`votes`: expected the key {key!r} in vote {i}, got {', '.join(vote) or 'no key'}")
    question, left, right, winner = (vote[key] for key in Vote._fields)
    if question not in tuple(QUESTIONS):
        raise InputError(f"`votes`: expected the question {' or '.join(QUESTIONS)}, got {question!r} in vote {i}")
    if not isinstance(left, str) or not isinstance(right, str) or left == right:
        raise InputError(f"`votes`: expected the names of two methods, got {left!r} and {right!r} in vote {i}")
    if winner not in (left, right, None):
        raise InputError(f"`votes`: expected the winner {left!r}, {right!r} or null, got {winner!r} in vote {i}")
    return Vote(question, left, right, winner)


def _count(votes: Sequence[Vote], question: str, method: str, against: str | None) -> Preference:
    met = [vote.winner for vote in votes if method in (vote.left, vote.right)]
    wins, count = sum(0.5 if winner is None else float(winner == method) for winner in met), len(met)
    low, high = _wilson_interval(wins / count, count)
    return Preference(question, method, against, wins, count, wins / count, low, high)


def _wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % score interval (1927) of a share of `count`; defined for 0 and 1 too."""
    spread = _Z95**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * share * (1 - share) + spread**2 / 4) / (1 + spread)
    return max(centre - half, 0.0), min(centre + half, 1.0)
