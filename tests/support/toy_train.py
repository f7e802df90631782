"""A run of the toy problem as a program that tests kill.

    python -m tests.support.toy_train WORKDIR [SECTION.FIELD=VALUE ...]

Besides settings it takes timeout=SECONDS, that of `meta_training.train`, and patience=SECONDS, that of
`multihost.join`. pause=SECONDS prolongs every step, tuning=SECONDS the choice of the Adam rate. real=1 trains what
`real_settings` says instead of the toy problem.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path

from configs import tiny_cpu
from metastyle import config
from metastyle.cli.app import guard, leave
from metastyle.config import PEER_TIMEOUT
from metastyle.data import tasks
from metastyle.meta import tune_rates
from metastyle.train import multihost
from metastyle.train.meta_training import train
from tests.support import toy

RUN = {"steps": 20, "log_every": 1, "checkpoint_every": 4, "keep_checkpoints": 100, "picture_every": 1000}


def settings(changes: dict[str, dict]):
    """Those of the toy problem, changed: {"run": {"steps": 3}}; first order, which compiles faster."""
    inner, outer, run = (changes.get(section, {}) for section in ("inner", "outer", "run"))
    made = toy.settings(inner={"steps": 1} | inner, outer={"second_order_from": 10**6} | outer, run=RUN | run)
    return dataclasses.replace(
        made, data=dataclasses.replace(made.data, val_content="procedural", val_style="procedural")
    )


def real_settings(changes: dict[str, dict]):
    """Style transfer by the default generator and the slim loss network: configs/tiny_cpu.py, smaller."""
    made = tiny_cpu.get_config()
    for given in ({"run": RUN, "data": {"size": 32}, "inner": {"steps": 1}, "outer": {"tasks": 4}}, changes):
        made.update(given)
    return config.from_dict(made.to_dict())


def last_row(workdir: Path) -> int:
    """The latest step in metrics.csv, 0 while there is none."""
    try:
        return int((workdir / "metrics.csv").read_text().splitlines()[-1].partition(",")[0])
    except (OSError, IndexError, ValueError):
        return 0


def main(arguments: list[str]) -> None:
    workdir, *given = arguments
    changes, options = {}, {"timeout": PEER_TIMEOUT, "pause": 0, "tuning": 0, "patience": PEER_TIMEOUT, "real": 0}
    for name, _, value in (argument.partition("=") for argument in given):
        section, _, field = name.partition(".")
        target = changes.setdefault(section, {}) if field else options
        target[field or name] = json.loads(value)
    task = tasks.TaskSampler.task

    def slow(self, step, index):
        time.sleep(options["pause"])
        return task(self, step, index)

    tasks.TaskSampler.task = slow
    tune_rates.choose = lambda learned, *_, **__: time.sleep(options["tuning"]) or (learned, 1e-3)
    multihost.join(options["patience"])
    if options["real"]:
        train(real_settings(changes), workdir, timeout=options["timeout"])
    else:
        train(settings(changes), workdir, toy.problem(), toy.VGG, options["timeout"])


if __name__ == "__main__":
    leave(guard(main, sys.argv[1:]))
