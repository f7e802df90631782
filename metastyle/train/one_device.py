"""A run on the first device of one process, which stops and goes on in its folder."""

import functools
from collections.abc import Sequence
from pathlib import Path

import jax

from metastyle.config import Distillation, Imitation
from metastyle.train import checkpoint, data_record, loop, multihost


def run(
    training: loop.Training,
    state: loop.State,
    settings: Distillation | Imitation,
    workdir: Path,
    sources: Sequence[str],
) -> None:
    """Runs a training in `workdir`, or continues it there, until it is complete, and has exported its last state.

    sources: the fields of `settings.data` whose lists of files are recorded (data_record.py).

    Raises InputError for a workdir of another run, InUse while another process runs it, FloatingPointError when a loss
    is not finite, and Stopped when the run was asked to stop.
    """
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with multihost.only_run(workdir):
        with checkpoint.Checkpoints(workdir / "checkpoints", settings.run.keep_checkpoints) as saved:
            done = saved.latest() or 0
            checkpoint.claim(workdir, settings, done)
            data_record.note(
                workdir, settings.run, functools.partial(data_record.sources, settings.data, sources), done
            )
            store = checkpoint.CheckpointStore(saved, settings, place)
            begun, state = loop.run(training, state, settings.run, store, workdir)
        if begun == settings.run.steps:  # nothing was left to do, so no step has exported anything
            training.export(state)
