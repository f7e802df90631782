"""Evaluates every checkpoint of a run, as they appear."""

import dataclasses
import json
import os
import time
from pathlib import Path

from metastyle import config
from metastyle.config import Deployment, Evaluation
from metastyle.errors import InputError
from metastyle.evaluate import evaluation
from metastyle.evaluate.results import Results
from metastyle.evaluate.starts import load_starts
from metastyle.meta import outer_loop
from metastyle.system import files, lock
from metastyle.train import checkpoint
from metastyle.weights import bundles

_UNTUNED_ADAM_LR = 1e-3  # for steps beyond the learned ones; only a finished bundle has a rate of its own
_POLL_S = 10


def follow_run(
    settings: Evaluation,
    checkpoints: str | os.PathLike,
    out: str | os.PathLike,
    part: tuple[int, int] = (0, 1),
    watch: bool = False,
) -> Results | None:
    """Evaluates every checkpoint in a run's folder `checkpoints`; with `watch`, also those to come, until its last.

    A checkpoint is kept as a bundle in OUT/starts, since a run deletes its older ones. Raises InputError for settings
    that name bundles, and where no checkpoint is there, and errors.InUse while another process follows it.
    """
    if settings.bundles:
        raise InputError("`bundle`: expected bundles or --checkpoints, got both; evaluate them one after the other")
    folder, out = Path(checkpoints), Path(out)
    last, done, results = _settings_of(folder).run.steps, None, None
    files.make_folder(out, "out")
    with lock.of_folder(out, "out", "-following-{}-of-{}".format(*part)):
        while True:
            _keep(folder, out / "starts")
            kept = sorted((out / "starts").glob("step_*"))
            if not kept and not watch:
                raise InputError(f"`checkpoints`: expected checkpoints of a run in {folder}, got none")
            if kept and kept != done:
                chosen = dataclasses.replace(settings, bundles={path.name: Deployment(str(path)) for path in kept})
                results, done = evaluation.run(chosen, load_starts(chosen.bundles), out, part), kept
            elif not watch or (kept and kept[-1].name == _step_name(last)):
                return results
            else:
                time.sleep(_POLL_S)


def _step_name(step: int) -> str:
    return f"step_{step:07d}"


def _settings_of(checkpoints: Path) -> config.Config:
    """The settings of the run that writes the checkpoints."""
    path = checkpoints.parent / "config.json"
    if not files.is_folder(checkpoints, "checkpoints") or not files.is_file(path, "checkpoints"):
        raise FileNotFoundError(f"`checkpoints`: expected the folder `checkpoints` of a run, got {checkpoints}")
    data = files.read_input(path, "checkpoints")
    try:
        return config.from_dict(json.loads(data.decode()))
    except ValueError as error:
        raise InputError(f"`checkpoints`: {path} is not the settings of a run ({error})") from None


def _keep(folder: Path, starts: Path) -> None:
    """Makes a bundle of every checkpoint that has none yet."""
    settings = _settings_of(folder)
    origin = bundles.load_start(folder.parent, settings)
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
