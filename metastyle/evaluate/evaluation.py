"""Held-out evaluation: every method on the same pairs, judged alike, continued where it stopped (docs/evaluation.md).

The unit of work is a cell, one method on one pair, whose rows are kept on disk (cells.py). Once all cells are complete,
results.json, pairs.csv, the table, the curve and the pages are made from them.
"""

import contextlib
import csv
import dataclasses
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from metastyle import config
from metastyle.config import Evaluation
from metastyle.errors import InputError
from metastyle.evaluate import metrics, results
from metastyle.evaluate.cells import Cell, fill_cells
from metastyle.evaluate.judge import Judge
from metastyle.evaluate.lineup import choose_methods, choose_pairs
from metastyle.evaluate.outputs import parse as parse_outputs
from metastyle.evaluate.pairs import Pairs, pairs_of
from metastyle.evaluate.report.page import write_page
from metastyle.evaluate.report.plot import plot_curve
from metastyle.evaluate.report.table import format_table
from metastyle.evaluate.report.votes import write_vote_page
from metastyle.evaluate.results import PairNames, Results, Row
from metastyle.evaluate.starts import Start, parse_bundle
from metastyle.evaluate.summary import assemble
from metastyle.images import codec
from metastyle.nets import metric_nets
from metastyle.system import compile_cache, files, lock
from metastyle.system.optional import need
from metastyle.system.tensor_file import sha256
from metastyle.weights import loss_network, metric_files, vgg_files

_PACKAGES = ("matplotlib.figure", "skimage.metrics")


class _Weights(NamedTuple):
    """Weights of the networks that LPIPS and ArtFID need, None where they are not measured."""

    lpips: metric_nets.Params | None
    inception: metric_nets.Params | None


def read_settings(values: Mapping[str, Any], bundles: Sequence[str] = (), outputs: Sequence[str] = ()) -> Evaluation:
    """The settings in a config's values, with what the flags --bundle and --outputs give.

    bundles, outputs: as for starts.parse_bundle and outputs.parse.

    As the command line has them, `methods` may be names with commas between them, and `steps` in any order.
    """
    named = {
        "bundles": _named("bundle", values.get("bundles"), map(parse_bundle, bundles)),
        "outputs": _named("outputs", values.get("outputs"), map(parse_outputs, outputs)),
    }
    settings = config.from_dict({**values, **named, **_split_methods(values)}, Evaluation)
    return dataclasses.replace(settings, steps=tuple(sorted(set(settings.steps))))


def _named(flag: str, in_file: Mapping[str, Any] | None, on_line: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """What a setting of the file and a flag give together, by name."""
    found = dict(in_file or {})
    for name, value in on_line:
        if name in found:
            raise InputError(f"`{flag}`: expected different names, got {name} twice; pass NAME=PATH")
        found[name] = value
    return found


def parse_part(text: str) -> tuple[int, int]:
    """(i, n) of "i/n": this process does part i of n, i from 0."""
    with contextlib.suppress(ValueError):
        i, n = map(int, text.split("/"))
        if 0 <= i < n:
            return i, n
    raise InputError(f"`part`: expected i/n with 0 <= i < n such as 0/4, got {text!r}")


def run(
    settings: Evaluation, starts: Mapping[str, Start], out: str | os.PathLike, part: tuple[int, int] = (0, 1)
) -> Results | None:
    """Evaluates `starts` and `settings.methods`; what an earlier call has done in `out` is not done again.

    starts: the loaded bundles. Returns the results once all cells are complete, whichever process filled them, and None
    while cells of other parts are missing. Writes into `out` results.json, pairs.csv, table.txt, curve.png, index.html
    and vote.html, besides cells and pictures. Raises InputError or FileNotFoundError for bad input before anything is
    written, and errors.InUse while another process does this part.
    """
    for package in _PACKAGES:
        need(package, "an evaluation")
    compile_cache.enable_compile_cache()
    out, params = Path(out), vgg_files.load(settings.vgg)
    pairs = pairs_of(settings)
    if len(pairs) < settings.pairs:
        print(f"{len(pairs)} pairs, every photograph with every style; there are not {settings.pairs}", flush=True)
    chosen = choose_methods(settings, starts, params, out)
    left, skipped = pairs.readable()
    weights = _load_weights(settings)
    files.make_folder(out, "out")
    for skip in skipped:
        print(f"skipped {skip.file}: {skip.reason}", flush=True)
    digest = f"{loss_network.digest(params)} {sha256(jax.device_get(weights.lpips)) if weights.lpips else ''}"
    cells = [Cell(out, method, i, digest) for method in chosen for i in choose_pairs(method, left, pairs)]
    with lock.of_folder(out, "out", "-{}-of-{}".format(*part)):
        rows = _fill(cells, pairs, Judge(params, weights.lpips), part)
        if rows is None:
            return None
        found = assemble(settings, chosen, rows, [pairs[i] for i in left], skipped)
        if weights.inception is not None:
            found = _with_artfid(found, pairs, weights.inception, out)
        _write(found, out)
    return found


def _split_methods(values: Mapping[str, Any]) -> dict[str, Any]:
    names = values.get("methods")
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return {}
    return {"methods": tuple(name for text in names for name in text.split(",") if name)}


def _load_weights(settings: Evaluation) -> _Weights:
    if settings.inception and not settings.lpips:
        raise InputError("`inception`: expected --config.lpips as well, ArtFID's other half, got none")
    if settings.inception and settings.size < metric_nets.MIN_SIDE:
        raise InputError(f"`size`: expected at least {metric_nets.MIN_SIDE} px for ArtFID, got {settings.size}")
    return _Weights(
        metric_files.load_lpips(settings.lpips) if settings.lpips else None,
        metric_files.load_inception(settings.inception) if settings.inception else None,
    )


def _fill(cells: Sequence[Cell], pairs: Pairs, judge: Judge, part: tuple[int, int]) -> list[Row] | None:
    """Fills the cells of this part that aren't complete; the rows of all cells, or None if some are still missing."""
    mine = [cell for cell in cells if cell.pair % part[1] == part[0]]
    fill_cells([cell for cell in mine if not cell.load(pairs).complete], pairs, judge)
    kept = [cell.load(pairs) for cell in cells]
    missing = sum(not cell.complete for cell in kept)
    if missing:
        print(f"{missing} of {len(cells)} cells are still missing; run the other parts, or the same line", flush=True)
        return None
    return [row for cell in kept for row in cell.rows]


def _with_artfid(found: Results, pairs: Pairs, inception: metric_nets.Params, out: Path) -> Results:
    """Adds the ArtFID of every method after every number of steps, from the pictures on disk."""
    styles: dict[int, np.ndarray] = {}
    summary = []
    for line in tqdm(found.summary, desc="ArtFID"):
        rows = [row for row in found.rows if (row.method, row.steps) == (line.method, line.steps)]
        for i in {row.pair for row in rows} - styles.keys():
            styles[i] = np.asarray(metric_nets.inception(inception, pairs[i].style[None])[0])
        if len(rows) == len(found.pairs) > 1:  # its FID grows as pictures get fewer
            line = line._replace(artfid=_artfid(rows, styles, inception, out))
        summary.append(line)
    return found._replace(summary=summary)


def _artfid(rows: Sequence[Row], styles: Mapping[int, np.ndarray], inception: metric_nets.Params, out: Path) -> float:
    outputs = [metric_nets.inception(inception, codec.load(out / row.picture)[0][None])[0] for row in rows]
    distances, met = np.array([row.lpips for row in rows]), [styles[row.pair] for row in rows]
    return metrics.artfid(distances, np.stack(met), np.stack(outputs))


def describe(found: Results, out: str | os.PathLike) -> str:
    """What a terminal shows at the end: the table, and where the rest is."""
    pages = [str(Path(out, name)) for name in ("index.html", "vote.html") if Path(out, name).is_file()]
    return f"{format_table(found)}\nsee {', '.join(pages)} and results.json"


def _write(found: Results, out: Path) -> None:
    results.write(found, out)
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerow(PairNames._fields)
    writer.writerows(found.pairs)
    files.write(out / "pairs.csv", lines.getvalue().encode())
    files.write(out / "table.txt", (format_table(found) + "\n").encode())
    plot_curve(found, out / "curve.png")
    write_page(found, out)
    write_vote_page(found, out)
