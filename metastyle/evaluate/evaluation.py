"""Held-out evaluation: every method on the same pairs, judged alike, continued where it stopped (docs/evaluation.md).

The unit of work is a cell, one method on one pair: OUT/cells/METHOD/PAIR.json holds its scores after each number of
steps, OUT/pictures/METHOD/ its outputs. Once all cells are there, results.json, pairs.csv, the plot and the pages are
made from them.
"""

import contextlib
import csv
import functools
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from metastyle import config
from metastyle.config import Evaluation
from metastyle.data.sources import open_source
from metastyle.errors import InputError
from metastyle.evaluate import methods, metrics
from metastyle.evaluate.baselines import johnson
from metastyle.evaluate.cells import Cell, fill, slug
from metastyle.evaluate.judge import Judge
from metastyle.evaluate.methods import Method
from metastyle.evaluate.pairs import Pairs, pairs_of
from metastyle.evaluate.report.page import write_page
from metastyle.evaluate.report.plot import plot_curve
from metastyle.evaluate.report.table import format_table
from metastyle.evaluate.report.votes import write_vote_page
from metastyle.evaluate.results import Results, assemble
from metastyle.evaluate.starts import Start
from metastyle.images import codec
from metastyle.nets import architecture, metric_nets, vgg
from metastyle.system import compile_cache, files
from metastyle.system.optional import need
from metastyle.system.tensor_file import sha256
from metastyle.weights import loss_network, vgg_files
from metastyle.weights import metric_nets as metric_weights


def settings(file: Any, given: dict[str, Any]) -> Evaluation:
    """Those of a config file (a ConfigDict, or None for the defaults) with what the command line changes."""
    values = (file.to_dict() if file else {}) | given
    if "steps" in given:
        try:
            values["steps"] = tuple(sorted({int(step) for step in given["steps"]}))
        except ValueError:
            raise InputError(f"`steps`: expected whole numbers from 0, got {','.join(given['steps'])}") from None
    return config.from_dict(values, Evaluation)


def parse_part(text: str) -> tuple[int, int]:
    """(i, n) of "i/n": this process does part i of n, i from 0."""
    with contextlib.suppress(ValueError):
        i, n = map(int, text.split("/"))
        if 0 <= i < n:
            return i, n
    raise InputError(f"`part`: expected i/n with 0 <= i < n such as 0/4, got {text!r}")


def run(
    settings: Evaluation, starts: dict[str, Start], out: str | os.PathLike, part: tuple[int, int] = (0, 1)
) -> Results | None:
    """Evaluates `starts` and `settings.methods`; what an earlier call has done in `out` is not done again.

    Returns the results once all cells are there, whichever process made them, and None while some of other parts are
    missing. Writes into `out` results.json, pairs.csv, table.txt, curve.png, index.html and vote.html, besides cells
    and pictures. Raises InputError or FileNotFoundError for bad input before anything is written.
    """
    for package in ("matplotlib.figure", "skimage.metrics"):
        need(package, "an evaluation")
    compile_cache.enable_compile_cache()
    out, params = Path(out), vgg_files.load(settings.vgg)
    pairs = pairs_of(settings)
    if len(pairs) < settings.pairs:
        print(f"{len(pairs)} pairs, every photograph with every style; there are not {settings.pairs}", flush=True)
    chosen = _methods(settings, starts, params, out)
    _check_names(starts)
    left, skipped = pairs.readable()
    inception = _inception(settings)
    lpips = metric_weights.load_lpips(settings.lpips) if settings.lpips else None
    judge = Judge(params, lpips)
    _make(out)
    for skip in skipped:
        print(f"skipped {skip.file}: {skip.reason}", flush=True)
    digest = f"{loss_network.digest(params)} {sha256(lpips) if lpips else ''}"
    cells = [Cell(out, method, i, digest) for method in chosen for i in _spread(method, left, pairs)]
    mine = [cell for cell in cells if cell.pair % part[1] == part[0]]
    fill([cell for cell in mine if not cell.load(pairs)["complete"]], pairs, judge)
    loaded = [cell.load(pairs) for cell in cells]
    missing = sum(not cell["complete"] for cell in loaded)
    if missing:
        print(f"{missing} of {len(cells)} cells are still missing; run the other parts, or the same line", flush=True)
        return None
    rows = [row for cell in loaded for row in cell["rows"]]
    results = assemble(settings, chosen, rows, [pairs[i] for i in left], skipped)
    if inception is not None:
        _add_artfid(results, pairs, inception, out)
    _write(results, out)
    return results


def _check_names(starts: Collection[str]) -> None:
    """Each method has a folder of its own, and no bundle goes by the name of a method, chosen or not."""
    taken = {slug(name): name for name in (*config.METHODS, *methods.BOUNDS)}
    for name in starts:
        if slug(name) in taken:
            raise InputError(f"`bundle`: expected another name than {taken[slug(name)]}, got {name}; pass NAME=PATH")
        taken[slug(name)] = name


def _inception(settings: Evaluation) -> metric_nets.Params | None:
    if not settings.inception:
        return None
    if not settings.lpips:
        raise InputError("`inception`: expected --lpips as well, ArtFID's other half, got none")
    if settings.size < metric_nets.MIN_SIDE:
        raise InputError(f"`size`: expected at least {metric_nets.MIN_SIDE} px for ArtFID, got {settings.size}")
    return metric_weights.load_inception(settings.inception)


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"`out`: cannot make {out} ({error.strerror}); use another") from None


def _johnson(settings: Evaluation, params: vgg.Params, folder: Path) -> Method:
    """Its mistakes are found now: its turn comes after hours of others."""
    architecture.parse(settings.johnson_arch, "johnson_arch")
    open_source(settings.train_contents, "content", size=settings.size, seed=0, name="train_contents")
    recipe = johnson.settings(
        settings.train_contents, size=settings.size, steps=settings.johnson_steps, batch=settings.johnson_batch,
        arch=settings.johnson_arch,
    )  # fmt: skip
    return methods.johnson(recipe, params, folder, settings.baseline_pairs)


def _methods(settings: Evaluation, starts: dict[str, Start], params: vgg.Params, out: Path) -> list[Method]:
    """In the order of the table: bounds, ours, the others."""
    first = next(iter(starts.values())).bundle.config if starts else config.Config()
    make = {
        "identity": lambda: [methods.identity()],
        "style": lambda: [methods.style_picture()],
        "gatys": lambda: [methods.gatys(params, settings.gatys_iterations, settings.gatys_pairs or None)],
        "johnson": lambda: [_johnson(settings, params, out / "johnson")],
        "random": lambda: [methods.random_start(first, params, settings.steps, lr) for lr in methods.RANDOM_LRS],
        "lite": lambda: [methods.lite()],
    }  # fmt: skip
    load = functools.cache(lambda weights: params if weights == settings.vgg else vgg_files.load(weights))
    ours = []
    for name, start in starts.items():
        recorded = start.bundle.config.vgg
        own = vgg_files.recorded(recorded)
        if own != recorded and not start.learns_with:
            raise FileNotFoundError(
                f"`bundle`: the loss network of {name}, {recorded}, is gone; pass --learn_with={name}=vgg16"
            )
        ours.append(methods.bundle(name, start, load(start.learns_with or own), settings.steps, load(own)))
    bounds = [name for name in ("identity", "style") if name in settings.methods]
    others = [name for name in config.METHODS if name in settings.methods and name not in bounds]
    found = [m for name in bounds for m in make[name]()] + ours + [m for name in others for m in make[name]()]
    return found


def _spread(method: Method, left: list[int], pairs: Pairs) -> list[int]:
    """The pairs that a method is run on: all that are left, or as many of them as it says, evenly spread.

    Where one's style is taken already, it is the next one with another, as long as there is one.
    """
    count, chosen = method.pairs or len(left), []
    if count >= len(left):
        return left
    for k in range(count):
        at = k * len(left) // count
        rest = [i for i in left[at:] + left[:at] if i not in chosen]
        taken = {pairs.style(i) for i in chosen}
        chosen.append(next((i for i in rest if pairs.style(i) not in taken), rest[0]))
    return sorted(chosen)


def _add_artfid(results: Results, pairs: Pairs, inception: metric_nets.Params, out: Path) -> None:
    """ArtFID of every method after every number of steps, from the pictures on disk."""
    styles: dict[int, np.ndarray] = {}
    for line in tqdm(results["summary"], desc="ArtFID"):
        rows = [r for r in results["rows"] if (r["method"], r["steps"]) == (line["method"], line["steps"])]
        for i in {row["pair"] for row in rows} - styles.keys():
            styles[i] = np.asarray(metric_nets.inception(inception, pairs[i].style[None])[0])
        outputs = [metric_nets.inception(inception, codec.load(out / row["picture"])[0][None])[0] for row in rows]
        if len(rows) == len(results["pairs"]) > 1:  # its FID grows as pictures get fewer
            distances, met = np.array([row["lpips"] for row in rows]), [styles[row["pair"]] for row in rows]
            line["artfid"] = metrics.artfid(distances, np.stack(met), np.stack(outputs))


def summary(results: Results, out: str | os.PathLike) -> str:
    """What a terminal shows at the end: the table, and where the rest is."""
    return f"{format_table(results)}\nsee {Path(out, 'index.html')}, {Path(out, 'vote.html')} and results.json"


def _write(results: Results, out: Path) -> None:
    with files.atomic(out / "results.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
    with files.atomic(out / "pairs.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, ("pair", "content", "style"))
        writer.writeheader()
        writer.writerows(results["pairs"])
    with files.atomic(out / "table.txt") as temporary:
        temporary.write_text(format_table(results) + "\n")
    plot_curve(results, out / "curve.png")
    write_page(results, out)
    write_vote_page(results, out)
