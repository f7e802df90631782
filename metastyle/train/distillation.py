"""A run of distillation: the slim network, the pictures that it learns from, and its file."""

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from metastyle import config
from metastyle.compress import distill_vgg, prune_vgg
from metastyle.config import Distillation
from metastyle.data.tasks import Task, TaskSampler, without_changes
from metastyle.errors import InputError
from metastyle.images import contact_sheet
from metastyle.meta.parameters import guess_start
from metastyle.nets import architecture, generator, style_encoder, vgg
from metastyle.nets.params import Flat
from metastyle.system import compile_cache
from metastyle.train import loop, one_device
from metastyle.train.multihost import STOP_FLAGS
from metastyle.weights import bundles, loss_network, vgg_files

_SHOWN = 6  # styles in a picture grid
_PRUNED_ON = 64  # tasks, of 3 pictures each, that pruning sees

Guess = Callable[[np.ndarray], Flat]


def distill(settings: Distillation, workdir: str | os.PathLike) -> None:
    """Runs a distillation in `workdir`, or continues it there, until it is complete.

    Writes config.json, data.json, checkpoints/, metrics.csv, speed.json, TensorBoard events/, pictures/ (the works of
    painter and canvas for the latest styles) and, with every checkpoint, slim_vgg.safetensors.

    Raises InputError or FileNotFoundError for bad settings or data before anything is written, InputError for a workdir
    that doesn't fit, InUse while another process runs it, FloatingPointError when a loss is not finite, and Stopped
    when the run was asked to stop.
    """
    compile_cache.enable_compile_cache()
    workdir = Path(workdir)
    least = architecture.parse(settings.painter.arch, "painter.arch").min_side
    architecture.check_size(settings.data.size, settings.data.size, least, "data.size")
    teacher, task, guess = vgg_files.load(settings.vgg), picture_tasks(settings), load_guess(settings)
    start = vgg_files.load(settings.start, "start") if settings.start else None
    some = [x for i in range(_PRUNED_ON) for x in task(i * settings.steps_per_style, 0).values()]
    state = distill_vgg.initial_state(settings, teacher, np.concatenate(some), start)
    shown = _Shown(settings.steps_per_style)

    def prepare(step: int, state: distill_vgg.State, batch: Task) -> tuple[distill_vgg.State, Task]:
        batch = {name: x[0] for name, x in batch.items() if name != STOP_FLAGS}
        shown.step = step
        return state._replace(**_renewed(settings, step, batch, guess)), batch

    def export(state: distill_vgg.State) -> None:
        save_network(prune_vgg.network(state.slim, teacher), workdir / vgg_files.SLIM.name)

    training = loop.Training(
        task=task,
        indices=[0],
        columns=distill_vgg.METRICS,
        shown="loss",
        prepare=prepare,
        compile=lambda _, state, batch: _compile(settings, teacher, shown, state, batch),
        export=export,
        picture=lambda state: shown.grid(),
        threads=settings.data.threads,
    )
    one_device.run(training, state, settings, workdir, ("content", "style"))
    print(f"wrote {workdir / vgg_files.SLIM.name}", flush=True)


def picture_tasks(settings: Distillation) -> Callable[[int, int], Task]:
    """A function `task(step, 0)` of the pictures of a step: "style", "photograph", "subject", each f32[1, S, S, 3].

    Style and subject stay the same for `steps_per_style` steps.
    """
    shared = {"data": vars(settings.data), "run": vars(settings.run)}
    chosen = config.from_dict(shared | {"inner": {"steps": 1}})
    held = functools.lru_cache(maxsize=4)(functools.partial(TaskSampler(chosen).task, index=1))
    # Of the step's own task only the photograph is used, so its style need not be changed in any way.
    quick = TaskSampler(dataclasses.replace(chosen, data=without_changes(chosen.data)))

    def task(step: int, _: int) -> Task:
        shared, own = held(step // settings.steps_per_style), quick.task(step, 0)
        return {"style": shared["style"][:1], "subject": shared["query"], "photograph": own["query"]}

    return task


def load_guess(settings: Distillation) -> Guess | None:
    """A function that gives the bundle's generator for a style f32[1, S, S, 3] before any step; None without a bundle.

    Raises InputError if the bundle's generators have another architecture than the painter.
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
    code = jax.jit(functools.partial(style_encoder.code, count=bundle.config.encoder.octaves))

    def guess(style: np.ndarray) -> Flat:
        return bundle.meta.slow | guess_start(bundle.meta, code(network, style)).fast

    return guess


def _renewed(
    settings: Distillation, step: int, batch: Task, guess: Guess | None = None
) -> dict[str, distill_vgg.Learner]:
    """The parts of the state that start afresh at this step.

    The canvas does with each new style, the painter with every `styles_per_painter`-th one. With a `guess`, the painter
    also starts from the guess for each style in the second half of its `styles_per_painter` styles, and every second
    canvas from the subject as the guessed generator stylises it.
    """
    if step % settings.steps_per_style:
        return {}
    style = step // settings.steps_per_style
    rng = np.random.default_rng((settings.run.seed, step))
    noise = rng.uniform(size=batch["subject"].shape)
    flat = np.broadcast_to(rng.uniform(size=3), batch["subject"].shape)
    mixed = 0.5 * (batch["subject"] + batch["style"])
    starts = (batch["subject"], noise, flat, mixed)
    if guess:
        guessed = generator.stylize(settings.painter, guess(batch["style"]), batch["subject"])
        starts = (np.asarray(guessed), batch["subject"], np.asarray(guessed), noise)
    out = {"canvas": distill_vgg.new_canvas(settings, starts[style % len(starts)].astype(np.float32))}
    since = style % settings.styles_per_painter
    if since == 0:
        out["painter"] = distill_vgg.untrained_painter(settings, step)
    elif guess and since >= settings.styles_per_painter / 2:
        out["painter"] = distill_vgg.new_learner(guess(batch["style"]), settings.guess_lr)
    return out


def _compile(
    settings: Distillation, teacher: vgg.Params, shown: "_Shown", state: distill_vgg.State, batch: Task
) -> loop.Program:
    """Compiles the step, which adds its pictures to `shown`."""
    step, line = loop.compiled(functools.partial(distill_vgg.step, settings), state, batch, teacher)

    def take(state: distill_vgg.State, batch: Task) -> tuple[distill_vgg.State, loop.Metrics]:
        state, metrics, pictures = step(state, batch)
        shown.add(pictures)
        return state, metrics

    return loop.Program(take, line)


class _Shown:
    """The latest pictures to show: those of the last step of each style."""

    def __init__(self, steps_per_style: int):
        self.step = 0
        self._steps_per_style = steps_per_style
        self._pictures: dict[int, distill_vgg.Batch] = {}

    def add(self, pictures: distill_vgg.Batch) -> None:
        """Adds the pictures of `step`, in place of those of earlier steps with the same style."""
        self._pictures[self.step // self._steps_per_style] = pictures
        self._pictures = dict(list(self._pictures.items())[-_SHOWN:])

    def grid(self) -> np.ndarray:
        """A grid f32[H, W, 3] that has a row for each style."""
        columns = ("photograph", "subject", "style", "painting", "canvas")
        rows = [[np.asarray(pictures[c][0]) for c in columns] for pictures in self._pictures.values()]
        return contact_sheet.grid(rows, column_labels=columns)


def save_network(slim: vgg.Params, path: str | os.PathLike) -> None:
    """Writes the slim network in float16, in the form that vgg_files.load reads."""
    tensors = {key: x.astype(np.float16) for key, x in vgg_files.tensors(slim).items()}
    mean, std = (tuple(np.asarray(slim["input"][key]).tolist()) for key in ("mean", "std"))
    vgg_files.save(path, tensors, vgg.Convention("rgb", mean, std), name="workdir")
