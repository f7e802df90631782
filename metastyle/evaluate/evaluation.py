"""Held-out evaluation: every method on the same pairs, judged alike, continued where it stopped (docs/evaluation.md).

The unit of work is a cell, one method on one pair: OUT/cells/METHOD/PAIR.json holds its scores after each number of
steps, OUT/pictures/METHOD/ its outputs. Once all cells are there, results.json, pairs.csv, the plot and the pages are
made from them.
"""

import contextlib
import csv
import dataclasses
import functools
import hashlib
import json
import os
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from metastyle import config
from metastyle.config import Evaluation
from metastyle.data.sources import open_source
from metastyle.errors import InputError
from metastyle.evaluate import methods
from metastyle.evaluate.baselines import johnson
from metastyle.evaluate.judge import Judge
from metastyle.evaluate.methods import Method, Start
from metastyle.evaluate.pairs import Pair, Pairs
from metastyle.evaluate.pairs import of as pairs_of
from metastyle.evaluate.report import page
from metastyle.evaluate.results import Results, assemble
from metastyle.images import codec
from metastyle.losses import perceptual
from metastyle.meta import inner_loop, outer_loop
from metastyle.nets import generator, metric_nets, vgg
from metastyle.system import files
from metastyle.system.optional import need
from metastyle.train import checkpoint, mesh
from metastyle.weights import bundles

_UNTUNED_ADAM_LR = 1e-3  # of a checkpoint, for steps beyond K; a bundle has chosen its own
_METASTYLE_ADAM_LR = 1e-3
_POLL_S = 10
_JUDGING = 3.0  # passes through the VGG that looking at one pair's outputs takes
_FORMAT = 1  # of a cell; a change of what is measured changes it


def settings(file: Any, given: dict[str, Any]) -> Evaluation:
    """Those of a config file (a ConfigDict, or None for the defaults) with what the command line changes."""
    values = (file.to_dict() if file else {}) | given
    if "steps" in given:
        try:
            values["steps"] = tuple(sorted({int(step) for step in given["steps"]}))
        except ValueError:
            raise InputError(f"`steps`: expected whole numbers from 0, got {','.join(given['steps'])}") from None
    return config.from_dict(values, Evaluation)


def load(
    paths: Sequence[str],
    adam_all: Sequence[str] = (),
    learn_with: Sequence[str] = (),
    dtype: Sequence[str] = (),
    judged: Sequence[str] = (),
    backend: Sequence[str] = (),
) -> dict[str, Start]:
    """The bundles of PATH or NAME=PATH, by name; a PATH alone is its own name.

    Those named in `adam_all` are deployed as MetaStyle is: every parameter adapts, by Adam at 1e-3, from step 0, which
    is the encoder's guess where there is one. Those in `learn_with` (NAME=WEIGHTS) learn with another loss network than
    the one they were trained with, those in `dtype` (NAME=DTYPE) with convolutions in that: "float32" or "bfloat16".
    Those in `judged` learn on the photograph that is judged, those in `backend` (NAME=BACKEND) are run by that: see
    methods.Start.
    """
    found, teachers = {}, {}
    for text in paths:
        name, named, path = text.partition("=")
        if not named or bundles.there(text):  # a folder whose name has a = in it
            name, path = text, text
        if name in found:
            raise InputError(f"`bundle`: expected different names, got {name} twice; pass NAME=PATH")
        found[name] = bundles.load_bundle(path)
    for name in adam_all:
        found[name] = _by_adam(_named(name, found, "adam_all"))
    for text in learn_with:
        name, _, weights = text.partition("=")
        _named(name, found, "learn_with")
        if vgg.recorded(weights) != weights:
            raise FileNotFoundError(f"`learn_with`: expected NAME=WEIGHTS, a file, got {text!r}")
        teachers[name] = weights
    for text in dtype:
        name, _, kind = text.partition("=")
        start = _named(name, found, "dtype")
        network = dataclasses.replace(start.config.generator, dtype=kind)
        found[name] = dataclasses.replace(start, config=dataclasses.replace(start.config, generator=network))
    starts = {name: Start(start, learns_with=teachers.get(name, "")) for name, start in found.items()}
    for name in judged:
        starts[name] = _named(name, starts, "judged")._replace(judged=True)
    for text in backend:
        name, _, kind = text.partition("=")
        start = _named(name, starts, "backend")
        if kind not in config.BACKENDS:
            raise InputError(f"`backend`: expected NAME=BACKEND, of {', '.join(config.BACKENDS)}, got {text!r}")
        starts[name] = start._replace(backend=kind)
    return starts


def _named(name: str, found: dict[str, Any], argument: str) -> Any:
    if name not in found:
        names = " or ".join(found) or "of which there is none"
        raise InputError(f"`{argument}`: expected the name of a bundle, {names}, got {name}")
    return found[name]


def _by_adam(start: bundles.Bundle) -> bundles.Bundle:
    inner = dataclasses.replace(start.config.inner, scope="all", steps=0)
    fast = start.meta["fast"] | start.meta["slow"]
    learned = start.meta | {"fast": fast, "slow": {}, "log_lr": inner_loop.initial_log_lr(fast, inner)}
    deployed = bundles.Bundle(dataclasses.replace(start.config, inner=inner), learned, _METASTYLE_ADAM_LR)
    # Its training is what it was: the inner steps, which are gone from the settings, saw photographs too.
    return dataclasses.replace(deployed, seen_before=start.pictures_seen - deployed.pictures_seen)


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
    mesh.enable_compile_cache()
    out, params = Path(out), vgg.load(settings.vgg)
    pairs = pairs_of(settings)
    if len(pairs) < settings.pairs:
        print(f"{len(pairs)} pairs, every photograph with every style; there are not {settings.pairs}", flush=True)
    chosen = _methods(settings, starts, params, out)
    _check_names(starts)
    left, skipped = pairs.readable()
    inception = _inception(settings)
    lpips = metric_nets.load_lpips(settings.lpips) if settings.lpips else None
    judge = Judge(params, lpips)
    _make(out)
    for skip in skipped:
        print(f"skipped {skip.file}: {skip.reason}", flush=True)
    digest = f"{bundles.network_digest(params)} {bundles.sha256(lpips) if lpips else ''}"
    cells = [Cell(out, method, i, digest) for method in chosen for i in _pairs_of(method, left, pairs)]
    mine = [cell for cell in cells if cell.pair % part[1] == part[0]]
    _evaluate([cell for cell in mine if not cell.load(pairs)["complete"]], pairs, judge)
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
    taken = {_slug(name): name for name in (*config.METHODS, *methods.BOUNDS)}
    for name in starts:
        if _slug(name) in taken:
            raise InputError(f"`bundle`: expected another name than {taken[_slug(name)]}, got {name}; pass NAME=PATH")
        taken[_slug(name)] = name


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_.@" else "_" for c in name)


def _inception(settings: Evaluation) -> metric_nets.Params | None:
    if not settings.inception:
        return None
    if not settings.lpips:
        raise InputError("`inception`: expected --lpips as well, ArtFID's other half, got none")
    if settings.size < metric_nets.MIN_SIDE:
        raise InputError(f"`size`: expected at least {metric_nets.MIN_SIDE} px for ArtFID, got {settings.size}")
    return metric_nets.load_inception(settings.inception)


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"`out`: cannot make {out} ({error.strerror}); use another") from None


def _johnson(settings: Evaluation, params: vgg.Params, folder: Path) -> Method:
    """Its mistakes are found now: its turn comes after hours of others."""
    generator.parse(settings.johnson_arch, "johnson_arch")
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
    load = functools.cache(lambda weights: params if weights == settings.vgg else vgg.load(weights))
    ours = []
    for name, start in starts.items():
        recorded = start.bundle.config.vgg
        own = vgg.recorded(recorded)
        if own != recorded and not start.learns_with:
            raise FileNotFoundError(
                f"`bundle`: the loss network of {name}, {recorded}, is gone; pass --learn_with={name}=vgg16"
            )
        ours.append(methods.bundle(name, start, load(start.learns_with or own), settings.steps, load(own)))
    bounds = [name for name in ("identity", "style") if name in settings.methods]
    others = [name for name in config.METHODS if name in settings.methods and name not in bounds]
    found = [m for name in bounds for m in make[name]()] + ours + [m for name in others for m in make[name]()]
    return found


def _pairs_of(method: Method, left: list[int], pairs: Pairs) -> list[int]:
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


class Cell:
    """One method on one pair: its rows on disk, as far as they are."""

    def __init__(self, out: Path, method: Method, pair: int, digest: str):
        """digest: of everything that scores depend on besides the method and the pair."""
        slug = _slug(method.name)
        self.method, self.pair, self._out, self._digest = method, pair, out, digest
        self._path = out / "cells" / slug / f"{pair:03d}.json"
        self._pictures = Path("pictures", slug)

    def _key(self, pairs: Pairs) -> str:
        text = f"{_FORMAT} {self._digest} {self.method.key} {pairs.digest(self.pair)}"
        return hashlib.sha256(text.encode()).hexdigest()

    def load(self, pairs: Pairs) -> dict[str, Any]:
        """{"key", "complete", "rows"}; no rows where they are of anything else than this, or a picture is gone."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            found = json.loads(self._path.read_text())
            there = all((self._out / row["picture"]).is_file() for row in found["rows"])
            if there and found["key"] == self._key(pairs):
                return found
        return {"key": self._key(pairs), "complete": False, "rows": []}

    def fill(self, pairs: Pairs, judge: Judge) -> Iterator[int]:
        """Runs the method and writes a row for each of its views; yields their numbers of steps."""
        pair, cell = pairs[self.pair], self.load(pairs)
        rows = {row["steps"]: row for row in cell["rows"]}
        (self._out / self._pictures).mkdir(parents=True, exist_ok=True)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for view in self.method.views(pair):
            picture = self._pictures / f"{self.pair:03d}_{view.steps}.png"
            codec.save(self._out / picture, view.picture)
            rows[view.steps] = {
                "method": self.method.name, "steps": view.steps, "pair": self.pair, **judge(view.picture, pair),
                "adapt_s": view.adapt_s, "stylize_ms": view.stylize_ms, "picture": picture.as_posix(),
            }  # fmt: skip
            self._write(cell | {"rows": [rows[k] for k in sorted(rows)]})
            yield view.steps
        self._write(cell | {"rows": [rows[k] for k in sorted(rows)], "complete": True})

    def _write(self, cell: dict[str, Any]) -> None:
        with files.atomic(self._path) as temporary:
            temporary.write_text(json.dumps(cell))


def _evaluate(cells: list[Cell], pairs: Pairs, judge: Judge) -> None:
    """Fills the cells; says first about how long that takes, and then how far it is."""
    if not cells:
        return
    unit = _seconds_per_pass(judge, pairs[cells[0].pair])
    costs = [cell.method.cost + _JUDGING for cell in cells]
    print(
        f"{len(cells)} cells to fill ({', '.join(dict.fromkeys(cell.method.name for cell in cells))}): "
        f"about {_duration(unit * sum(costs))} on this machine",
        flush=True,
    )
    warm, bar_format = set(), "{percentage:3.0f}% [{elapsed} < {remaining}]{postfix}"
    with tqdm(total=sum(costs), bar_format=bar_format) as bar:
        for cell, cost in zip(cells, costs, strict=True):
            bar.set_postfix_str(f"{cell.method.name}, pair {cell.pair}")
            if cell.method.name not in warm:
                cell.method.warm_up(pairs[cell.pair])
                warm.add(cell.method.name)
            began = bar.n
            for steps in cell.fill(pairs, judge):
                share = min(steps / cell.method.last, 1.0) if cell.method.last else 1.0
                bar.update(max(began + share * cost - bar.n, 0))
            bar.update(began + cost - bar.n)


def _seconds_per_pass(judge: Judge, pair: Pair) -> float:
    """Of one pass forward and back through the VGG at this size, measured."""
    loss, content = config.Loss(), pair.content[None]
    target = perceptual.style_target(judge.params, pair.style[None], loss)
    kept = perceptual.content_target(judge.params, content, loss)
    gradient = jax.jit(jax.grad(lambda x, *fixed: perceptual.perceptual(fixed[0], x, *fixed[1:], loss).total.sum()))
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(gradient(content, judge.params, kept, target))
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes / 60:.1f} hours" if minutes > 90 else f"{max(minutes, 1):.0f} min"


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
            line["artfid"] = metric_nets.artfid(distances, np.stack(met), np.stack(outputs))


def summary(results: Results, out: str | os.PathLike) -> str:
    """What a terminal shows at the end: the table, and where the rest is."""
    return f"{page.table(results)}\nsee {Path(out, 'index.html')}, {Path(out, 'vote.html')} and results.json"


def _write(results: Results, out: Path) -> None:
    with files.atomic(out / "results.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
    with files.atomic(out / "pairs.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, ("pair", "content", "style"))
        writer.writeheader()
        writer.writerows(results["pairs"])
    with files.atomic(out / "table.txt") as temporary:
        temporary.write_text(page.table(results) + "\n")
    page.plot(results, out / "curve.png")
    page.page(results, out)
    page.vote_page(results, out)


def follow(
    settings: Evaluation, checkpoints: str | os.PathLike, out: str | os.PathLike, part: tuple[int, int] = (0, 1),
    watch: bool = False,
) -> Results | None:  # fmt: skip
    """Evaluates every checkpoint in a run's folder `checkpoints`; with `watch`, also those to come, until its last.

    A checkpoint is kept as a bundle in OUT/starts, since a run deletes its older ones.
    """
    folder, out = Path(checkpoints), Path(out)
    last, done, results = _settings_of(folder).run.steps, None, None
    while True:
        _keep(folder, out / "starts")
        kept = sorted((out / "starts").glob("step_*"))
        if not kept and not watch:
            raise InputError(f"`checkpoints`: expected checkpoints of a run in {folder}, got none")
        if kept and kept != done:
            results = run(settings, {path.name: Start(bundles.load_bundle(path)) for path in kept}, out, part)
            done = kept
        elif not watch or (kept and kept[-1].name == _step_name(last)):
            return results
        else:
            time.sleep(_POLL_S)


def _step_name(step: int) -> str:
    return f"step_{step:07d}"


def _settings_of(checkpoints: Path) -> config.Config:
    path = checkpoints.parent / "config.json"
    if not checkpoints.is_dir() or not path.is_file():
        raise FileNotFoundError(f"`checkpoints`: expected the folder `checkpoints` of a run, got {checkpoints}")
    try:
        return config.from_dict(json.loads(path.read_text()))
    except ValueError as error:
        raise InputError(f"`checkpoints`: {path} is not the settings of a run ({error})") from None


def _keep(folder: Path, starts: Path) -> None:
    """Makes bundles of the checkpoints that are there and have none yet."""
    settings = _settings_of(folder)
    origin = bundles.started_from(folder.parent, settings)
    seen_before = origin.pictures_seen if origin else 0
    with checkpoint.Checkpoints(folder) as saved:
        for step in saved.steps():
            target = starts / _step_name(step)
            if (target / "config.json").exists():
                continue
            try:
                state = saved.restore(step, outer_loop.initial_state(settings), None)
            except InputError:
                print(f"skipped step {step}: its run has deleted it meanwhile, or it is damaged", flush=True)
                continue
            learned = outer_loop.deployed(settings.outer, state)
            until_then = dataclasses.replace(settings, run=dataclasses.replace(settings.run, steps=step))
            bundles.save_bundle(target, bundles.Bundle(until_then, learned, _UNTUNED_ADAM_LR, seen_before))
