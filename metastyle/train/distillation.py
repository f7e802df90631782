"""A run of distillation: the loop over steps, which can be stopped anywhere and continued by the same line."""

import dataclasses
import functools
import os
import time
from pathlib import Path

import jax
import numpy as np

from metastyle import config
from metastyle.compress import distill_vgg, prune_vgg
from metastyle.config import Distillation
from metastyle.data.prefetch import Prefetcher
from metastyle.data.tasks import Task, TaskSampler, without_changes
from metastyle.errors import InputError
from metastyle.images import contact_sheet
from metastyle.meta.parameters import guess_start
from metastyle.nets import architecture, style_encoder, vgg
from metastyle.nets.params import Flat
from metastyle.system import compile_cache
from metastyle.system.signals import StopSignal
from metastyle.train import checkpoint
from metastyle.train.run_log import RunLog
from metastyle.weights import bundles, loss_network, vgg_files

FILE_NAME = "slim_vgg.safetensors"
_SHOWN = 6  # rows of a picture
_PRUNED_ON = 64  # tasks of 3 pictures


def run(settings: Distillation, workdir: str | os.PathLike) -> bool:
    """Runs or continues a run in `workdir`; returns whether it is complete (False: it was asked to stop).

    Writes config.json, checkpoints/, metrics.csv, TensorBoard events/, pictures/ (the latest subjects, styles and what
    painter and canvas made of them) and, with every checkpoint, slim_vgg.safetensors. Raises InputError or
    FileNotFoundError for bad settings or data before anything is written, InputError for a workdir that doesn't fit,
    FloatingPointError when a loss is not finite.
    """
    compile_cache.enable_compile_cache()
    times, workdir = settings.run, Path(workdir)
    architecture.parse(settings.painter.arch, "painter.arch")
    teacher, task, guess = vgg_files.load(settings.vgg), pictures(settings), guesser(settings)
    some = [x for i in range(_PRUNED_ON) for x in task(i * settings.hold, 0).values()]
    state = distill_vgg.initial_state(settings, teacher, np.concatenate(some))
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with checkpoint.Checkpoints(workdir / "checkpoints", times.keep_checkpoints) as saved, StopSignal() as stop:
        checkpoint.claim(workdir, settings, saved.latest() or 0)
        start, state = saved.resume(state, place)
        step, pending, shown = None, [], {}
        with (
            RunLog(workdir, start, times.steps, distill_vgg.METRICS, "loss") as log,
            Prefetcher(task, [0], start, times.steps, threads=settings.data.threads) as batches,
        ):
            for k, batch in batches:
                batch = {name: x[0] for name, x in batch.items()}
                state = state | _renewed(settings, k, batch, guess)
                if step is None:
                    began = time.monotonic()
                    function = functools.partial(distill_vgg.step, settings)
                    step = jax.jit(function, donate_argnums=0).lower(state, batch, teacher).compile()
                    log.say(f"compiled the step in {time.monotonic() - began:.0f} s")
                state, metrics, shown[k // settings.hold] = step(state, batch, teacher)
                done, stopping = k + 1, stop.requested
                pending.append((done, metrics))
                saving = stopping or done == times.steps or done % times.checkpoint_every == 0
                picturing = done == times.steps or done % times.picture_every == 0
                if saving or picturing or done % times.log_every == 0:
                    saved.check()
                    log.write(jax.device_get(pending), times.log_every, saved.latest(), batches.waited)
                    pending, shown = [], dict(list(shown.items())[-_SHOWN:])
                if saving:
                    saved.save(done, state, settings)
                    export(prune_vgg.network(state["slim"], teacher), workdir / FILE_NAME)
                if picturing:
                    log.picture(_grid(shown), done)
                if stopping:
                    break
        saved.wait()
    if stop.requested:
        print(f"stopped after step {int(state['step'])} of {times.steps}; the same line continues", flush=True)
        return False
    if step is None:  # nothing was to be done: the network is that of the last checkpoint, or the pruned one
        export(prune_vgg.network(state["slim"], teacher), workdir / FILE_NAME)
    print(f"wrote {workdir / FILE_NAME}", flush=True)
    return True


def pictures(settings: Distillation):
    """`task(step, 0)`: the pictures of a step, "style", "photograph" and "subject", each f32[1, S, S, 3].

    Style and subject stay for `hold` steps.
    """
    shared = {"data": vars(settings.data), "run": vars(settings.run)}
    chosen = config.from_dict(shared | {"inner": {"steps": 1}})
    held = functools.lru_cache(maxsize=4)(functools.partial(TaskSampler(chosen).task, index=1))
    # Of a step's own task only the photograph is used: its style need not be worked on.
    quick = TaskSampler(dataclasses.replace(chosen, data=without_changes(chosen.data)))

    def task(step: int, _: int) -> Task:
        shared, own = held(step // settings.hold), quick.task(step, 0)
        return {"style": shared["style"][:1], "subject": shared["query"], "photograph": own["query"]}

    return task


def guesser(settings: Distillation):
    """`guess(style)`: the generator that `bundle` has for a style f32[1, S, S, 3] before any step; None without one.

    Raises InputError where the painter is none of its generators.
    """
    if not settings.bundle:
        return None
    bundle = bundles.load_bundle(settings.bundle)
    if bundle.config.generator.arch != settings.painter.arch:
        raise InputError(
            f"`painter.arch`: expected that of `bundle`, {bundle.config.generator.arch}, got {settings.painter.arch}; "
            "set it to that"
        )
    network = loss_network.load_own(bundle)
    code = jax.jit(style_encoder.code)

    def guess(style: np.ndarray) -> Flat:
        return bundle.meta.slow | guess_start(bundle.meta, code(network, style)).fast

    return guess


def _renewed(settings: Distillation, step: int, batch: Task, guess=None) -> dict:
    """What starts afresh at this step: with a new style the canvas, and with every `renew`-th the painter.

    Where there is a `guess`, the painter starts from it for each of the second half of `renew` styles.
    """
    out, since = {}, step // settings.hold % settings.renew
    if step % settings.hold == 0:
        rng = np.random.default_rng((settings.run.seed, step))
        noise = rng.uniform(size=batch["subject"].shape)
        flat = np.broadcast_to(rng.uniform(size=3), batch["subject"].shape)
        mixed = 0.5 * (batch["subject"] + batch["style"])
        starts = (batch["subject"], noise, flat, mixed)
        out["canvas"] = distill_vgg.new_canvas(settings, starts[step // settings.hold % len(starts)].astype(np.float32))
        if since == 0:
            out["painter"] = distill_vgg.untrained_painter(settings, step)
        elif guess and since >= settings.renew / 2:
            out["painter"] = distill_vgg.learner(guess(batch["style"]), settings.guess_lr)
    return out


def _grid(shown: dict) -> np.ndarray:
    columns = ("photograph", "subject", "style", "painting", "canvas")
    return contact_sheet.grid([[np.asarray(x[c][0]) for c in columns] for x in shown.values()], column_labels=columns)


def export(slim: vgg.Params, path: str | os.PathLike) -> None:
    """Writes the slim network as vgg.load reads it, in float16."""
    tensors = {key: x.astype(np.float16) for key, x in vgg_files.tensors(slim).items()}
    convention = {k: np.asarray(x).tolist() for k, x in slim["input"].items()}
    vgg_files.save(path, tensors, convention | {"channels": "rgb"}, name="workdir")
