"""The records of an evaluation as results.json holds them; docs/evaluation.md describes every field.

None stands for "not measured" throughout.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from metastyle.errors import InputError
from metastyle.system import files

BOUNDS = ("photograph", "style picture")  # judged as if they were outputs: the two ends between which outputs lie


class Row(NamedTuple):
    """The scores of a method after a number of steps on one pair.

    J to lpips: see judge.Scores. shift: metrics.shift_change, of methods that stylise any photograph. adapt_s: seconds
    of learning. stylize_ms: milliseconds to stylise the photograph. picture: the output's file, relative to the
    evaluation's folder. closed: share of the way from the photograph's J to that of Gatys's optimisation. closed3: the
    same of J3, and of the optimisation of J3.
    """

    method: str
    steps: int
    pair: int
    J: float
    C: float | None = None
    S: float | None = None
    S2: float | None = None
    S4: float | None = None
    J3: float | None = None
    S_mean_std: float | None = None
    ssim: float | None = None
    cfsd: float | None = None
    grid: float | None = None
    shift: float | None = None
    patches: float | None = None
    colors: float | None = None
    contrast: float | None = None
    dark: float | None = None
    light: float | None = None
    lpips: float | None = None
    adapt_s: float | None = None
    stylize_ms: float | None = None
    picture: str = ""
    closed: float | None = None
    closed3: float | None = None


class Summary(NamedTuple):
    """The means over pairs of a method after a number of steps; the fields are those of Row, and a few of all pairs.

    closed_ratio: `closed` of the mean losses. closed_pairs: the number of pairs that have a `closed`.
    """

    method: str
    steps: int
    pairs: int
    J: float | None = None
    C: float | None = None
    S: float | None = None
    S2: float | None = None
    S4: float | None = None
    J3: float | None = None
    S_mean_std: float | None = None
    ssim: float | None = None
    cfsd: float | None = None
    grid: float | None = None
    shift: float | None = None
    patches: float | None = None
    colors: float | None = None
    contrast: float | None = None
    dark: float | None = None
    light: float | None = None
    lpips: float | None = None
    adapt_s: float | None = None
    stylize_ms: float | None = None
    closed: float | None = None
    closed_median: float | None = None
    closed_ratio: float | None = None
    closed_pairs: int = 0
    closed3: float | None = None
    artfid: float | None = None


class Curve(NamedTuple):
    """Mean J of a method against steps, and the bounds of its 95 % interval."""

    steps: list[int]
    J: list[float | None]
    low: list[float | None]
    high: list[float | None]


class Reach(NamedTuple):
    """The first `steps` after which a method has the mean J that the first bundle has after `target` steps."""

    method: str
    target: int
    J: float
    steps: int | None


class PairNames(NamedTuple):
    """A pair by its number, and the names of its pictures."""

    pair: int
    content: str
    style: str


class Skipped(NamedTuple):
    """A picture that can't be read, and why."""

    file: str
    reason: str


class About(NamedTuple):
    """What a method is: see methods.Method."""

    name: str
    kind: str
    pictures_seen: int | None
    note: str


class Results(NamedTuple):
    """A complete evaluation.

    settings: those of config.Evaluation, as JSON holds them. left_out: the pairs without `closed`, on which Gatys's
    optimisation hardly gains. curve_pairs: the pairs that all methods were run on, which the curves are of.
    """

    settings: dict[str, Any]
    versions: dict[str, str]
    machine: str
    skipped: list[Skipped]
    left_out: list[int]
    pairs: list[PairNames]
    methods: list[About]
    rows: list[Row]
    summary: list[Summary]
    curves: dict[str, Curve]
    curve_pairs: list[int]
    reach: list[Reach]


def to_json(results: Results) -> dict[str, Any]:
    """The results as dicts and lists."""
    return {name: _plain(value) for name, value in results._asdict().items()}


def _plain(value: Any) -> Any:
    """`value` with dicts instead of named tuples."""
    if hasattr(value, "_asdict"):
        return value._asdict()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def write(results: Results, out: Path) -> None:
    """Writes OUT/results.json."""
    files.write(out / "results.json", (json.dumps(to_json(results), indent=1) + "\n").encode())


def read_rows(report: Path) -> tuple[dict[str, Any], list[Row]]:
    """The settings and the rows of a finished evaluation, whichever version wrote it.

    Raises FileNotFoundError where there is no results.json, and InputError where it is not of an evaluation.
    """
    path = report / "results.json"
    if not files.is_file(path, "report"):
        raise FileNotFoundError(f"`report`: expected the folder of a finished evaluation, got {report}")
    data = files.read_input(path, "report")
    try:
        found = json.loads(data.decode())
        return found["settings"], [row_of(values) for values in found["rows"]]
    except (ValueError, TypeError, KeyError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else error
        raise InputError(f"`report`: {path} is not of an evaluation ({what}); run the evaluation again") from None


def row_of(values: dict[str, Any]) -> Row:
    """A row from its dict in JSON; measures that an earlier version lacked are None."""
    required = {name: values[name] for name in ("method", "steps", "pair", "J", "picture")}
    return Row(**{name: values[name] for name in Row._fields if name in values} | required)
