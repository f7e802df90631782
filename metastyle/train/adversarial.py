"""A run of adversarial training: steps of a system's players, and with every checkpoint its style files."""

import functools
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from metastyle import config
from metastyle.adversarial import game
from metastyle.config import Adversarial
from metastyle.data import domains
from metastyle.data.domains import Domain, PairSampler
from metastyle.errors import InputError
from metastyle.nets.params import count_parameters
from metastyle.system import compile_cache
from metastyle.train import adversarial_systems, checkpoint, data_record, loop, mesh, multihost
from metastyle.train.adversarial_systems import System


def train(settings: Adversarial, workdir: str | os.PathLike, timeout: float = config.PEER_TIMEOUT) -> None:
    """Runs an adversarial training in `workdir`, or continues it there, until it is complete.

    Writes config.json, data.json, checkpoints/, metrics.csv, speed.json, TensorBoard events/, pictures/, and with every
    checkpoint style files of the moving average (adversarial_systems.py). Several processes (multihost.join) run it
    together, and each ends when another does not answer for `timeout` seconds.

    Raises InputError or FileNotFoundError for bad settings or data before anything is written, InputError for a workdir
    of another run, InUse while another process runs it, FloatingPointError when a loss is not finite, and Stopped when
    the run was asked to stop.
    """
    compile_cache.enable_compile_cache()
    workdir, run = Path(workdir), settings.run
    parallel = mesh.Parallel(run.parallel, settings.batch, name="batch")
    photos, domain = _two(settings)
    system = adversarial_systems.begin(settings, photos, domain, workdir)
    training = _training(settings, parallel, PairSampler(settings, photos, domain), system)
    state = game.initial_state(settings, system.players, system.pool)
    with multihost.only_run(workdir):
        with checkpoint.Checkpoints(workdir / "checkpoints", run.keep_checkpoints) as saved:
            done = saved.latest() or 0
            checkpoint.claim(workdir, settings, done)
            sources = {f"data.domains.{x.name}": x.source for x in (photos, domain)}
            data_record.note(workdir, run, lambda: sources, done)
            store = checkpoint.CheckpointStore(saved, settings, parallel.replicated, parallel.for_checkpoint)
            start, state = loop.run(training, parallel.replicate(state), run, store, workdir, timeout=timeout)
        if start == run.steps:  # nothing was left to do, so no step has exported anything
            training.export(state)
    if jax.process_index() == 0:
        for path in system.written:
            print(f"wrote {path}", flush=True)


def _two(settings: Adversarial) -> tuple[Domain, Domain]:
    found = domains.open_domains(settings.data)
    if len(found) != 2:
        names = ", ".join(domain.name for domain in found)
        raise InputError(
            f"`data.domains`: expected photographs and one other domain for a {settings.system}, got {names}"
        )
    return found[0], found[1]


def _training(settings: Adversarial, parallel: mesh.Parallel, sampler: PairSampler, system: System) -> loop.Training:
    replicas = parallel.replicate(system.constants)
    return loop.Training(
        task=sampler.sample,
        indices=parallel.local_indices(settings.batch),
        columns=system.metrics,
        shown=system.shown,
        prepare=lambda step, state, batch: (state, parallel.split(batch)),
        compile=lambda _, state, batch: _compile(settings, system.loss, parallel, (state, batch, replicas)),
        describe=functools.partial(_describe, parallel, system.players),
        export=lambda state: None if jax.process_index() else system.export(state),
        picture=system.picture,
        threads=settings.data.threads,
    )


def _describe(parallel: mesh.Parallel, players: game.Players, start: int) -> str:
    return (
        f"{len(parallel.devices)} {parallel.devices[0].platform} devices in {jax.process_count()} processes; "
        f"{count_parameters(players.generator):,} parameters of the generator and {count_parameters(players.critic):,} "
        f"of the critic learn; {f'continued from step {start}' if start else 'from the start'}"
    )


def _step(
    settings: Adversarial,
    loss: game.Loss,
    state: game.State,
    batch: dict[str, jax.Array],
    constants: Any,
    axis: str,
) -> tuple[game.State, loop.Metrics]:
    samples, noted = multihost.without_flags(batch)
    return game.step(settings, loss, state, samples, constants, axis, noted)


def _compile(settings: Adversarial, loss: game.Loss, parallel: mesh.Parallel, arguments: Sequence[Any]) -> loop.Program:
    began = time.monotonic()
    compiled = parallel.wrap(functools.partial(_step, settings, loss)).lower(*arguments).compile()
    line = f"compiled the step in {time.monotonic() - began:.0f} s"
    return loop.Program(lambda state, batch: compiled(state, batch, arguments[-1]), line)
