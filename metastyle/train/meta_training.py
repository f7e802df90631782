"""A run of meta-training: outer steps on tasks, and at the end a bundle."""

import dataclasses
import functools
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from metastyle import config
from metastyle.data.on_device import DeviceSampler, Pictures, draw
from metastyle.data.procedural import source
from metastyle.data.sources import load_square
from metastyle.data.tasks import Task, TaskSampler, without_changes
from metastyle.errors import InputError
from metastyle.images import contact_sheet
from metastyle.meta import adaptation, outer_loop, tune_rates
from metastyle.meta.parameters import Meta
from metastyle.meta.problem import LossFunction, Networks, Prepared, Problem, style_problem
from metastyle.nets import architecture, generator, style_encoder
from metastyle.nets.params import Flat, count_parameters, split_by_scope
from metastyle.system import compile_cache
from metastyle.train import checkpoint, data_record, loop, mesh, multihost
from metastyle.weights import bundles, loss_network, vgg_files

LOGGED = ("loss", "query", "support_first", "support_mean", "gradient_norm")
_SOURCES = ("content", "style", "val_content", "val_style")  # of the settings of the data
_VAL_STYLES = 4
_TUNING_TASKS = 8


def train(
    settings: config.Config,
    workdir: str | os.PathLike,
    problem: Problem | None = None,
    loss_networks: Networks | None = None,
    timeout: float = config.PEER_TIMEOUT,
) -> None:
    """Runs a meta-training in `workdir`, or continues it there, until it is complete.

    Writes config.json, data.json, checkpoints/, metrics.csv, speed.json, TensorBoard events/, pictures/, and at the end
    bundle/. `problem` and `loss_networks` replace style transfer on VGG features, for tests. Several processes
    (multihost.join) run it together, and each ends when another does not answer for `timeout` seconds.

    Raises InputError or FileNotFoundError for bad settings or data before anything is written, InputError for a workdir
    of another run, InUse while another process runs it, FloatingPointError when a loss is not finite, and Stopped when
    the run was asked to stop.
    """
    compile_cache.enable_compile_cache()
    workdir, run, outer, main = Path(workdir), settings.run, settings.outer, jax.process_index() == 0
    parallel = mesh.Parallel(run.parallel, outer.tasks)
    _check_side_by_side(settings, parallel)
    least = architecture.parse(settings.generator.arch, "generator.arch").min_side
    architecture.check_size(settings.data.size, settings.data.size, least, "data.size")
    loss_networks = networks(settings) if loss_networks is None else loss_networks
    if problem is None:
        side_by_side = outer.tasks_side_by_side > 1
        octaves = settings.encoder.octaves
        problem = style_problem(settings.generator, settings.loss, bool(outer.vgg), side_by_side, octaves)
    problem = problem._replace(prepare=jax.jit(problem.prepare))  # one program outside the step too, for pictures
    tuning, origin = _tuning_sampler(settings), bundles.load_start(workdir, settings)
    state = outer_loop.initial_state(settings, begin_from(origin, settings) if origin else None)
    training = _training(settings, parallel, problem, loss_networks, state.meta)
    with multihost.only_run(workdir):
        with checkpoint.Checkpoints(workdir / "checkpoints", run.keep_checkpoints) as saved:
            done = saved.latest() or 0
            checkpoint.claim(workdir, settings, done)
            data_record.note(workdir, run, functools.partial(data_record.sources, settings.data, _SOURCES), done)
            if main and origin and not bundles.exists(workdir / "start"):
                bundles.save_bundle(workdir / "start", origin)
            store = checkpoint.CheckpointStore(saved, settings, parallel.replicated, parallel.for_checkpoint)
            start, state = loop.run(training, parallel.replicate(state), run, store, workdir, timeout=timeout)
        if start == run.steps and _is_bundle_of(workdir / "bundle", settings):
            if main:
                print(f"{workdir} is complete after {start} steps; raise run.steps to continue it", flush=True)
            return
        made = _make_bundle(settings, origin, outer_loop.deployed(outer, state), tuning, problem, loss_networks)
        if main:
            bundles.save_bundle(workdir / "bundle", made)
            rates = f"Adam lr {made.adam_lr:g} beyond {settings.inner.steps} steps"
            print(f"wrote {workdir / 'bundle'} ({rates})", flush=True)


def _check_side_by_side(settings: config.Config, parallel: mesh.Parallel) -> None:
    """Raises InputError if a device's tasks cannot be divided into groups that it computes side by side."""
    outer, share = settings.outer, settings.outer.tasks // len(parallel.devices)
    if share % outer.tasks_side_by_side:
        raise InputError(
            f"`outer.tasks_side_by_side`: expected a divisor of the {share} tasks of each of the "
            f"{len(parallel.devices)} devices, got {outer.tasks_side_by_side}"
        )


def _training(
    settings: config.Config, parallel: mesh.Parallel, problem: Problem, loss_networks: Networks, meta: Meta
) -> loop.Training:
    """Describes the run for the loop: outer steps on sampled tasks."""
    outer, on_tasks = settings.outer, problem
    constants: Constants = loss_networks
    if settings.data.on_device:
        sampler = DeviceSampler(settings)
        on_tasks, constants = draw_first(problem, settings), Drawing(loss_networks, sampler.pictures)
    else:
        sampler = TaskSampler(settings)
    val, replicas = val_tasks(settings), parallel.replicate(constants)
    return loop.Training(
        task=sampler.task,
        indices=parallel.local_indices(outer.tasks),
        columns=LOGGED,
        shown="query",
        program=functools.partial(outer_loop.is_first_order, settings),
        prepare=lambda step, state, batch: (state, parallel.split(batch)),
        compile=lambda first_order, state, batch: _compile(
            on_tasks, settings, first_order, parallel, (state, batch, replicas)
        ),
        describe=functools.partial(_describe, settings, parallel, meta),
        picture=lambda state: picture_grid(settings, outer_loop.deployed(outer, state), val, problem, loss_networks),
        threads=settings.data.threads,
    )


def _make_bundle(
    settings: config.Config,
    origin: bundles.Bundle | None,
    learned: Meta,
    sampler: TaskSampler,
    problem: Problem,
    loss_networks: Networks,
) -> bundles.Bundle:
    """The run's bundle. Its rates are chosen on tasks of `sampler`, which are learned as at deployment.

    Every process makes the bundle, though only one writes it: processes with nothing to do would give up on that one.
    """
    tasks = [sampler.task(settings.run.steps, i) for i in range(_TUNING_TASKS)]
    support = np.stack(source.photographs(math.prod(tasks[0]["support"].shape[:2]), settings.data.size))
    tasks = [task | {"support": support.reshape(task["support"].shape)} for task in tasks]
    learned, rate = tune_rates.choose(learned, settings, tasks, loss_networks, problem)
    digest = loss_network.digest(loss_networks.inner) if settings.encoder.hidden else ""
    return bundles.Bundle(settings, learned, rate, origin.pictures_seen if origin else 0, network_sha256=digest)


def networks(settings: config.Config) -> Networks:
    """Loads the loss networks of these settings."""
    inner = vgg_files.load(settings.vgg)
    style_encoder.check(settings, inner)
    return Networks(inner, vgg_files.load(settings.outer.vgg, "outer.vgg") if settings.outer.vgg else None)


class Drawing(NamedTuple):
    """What a step needs, besides its tasks, when the accelerator draws the tasks' pictures (`draw_first`)."""

    networks: Networks
    pictures: Pictures


Constants = Networks | Drawing  # of a run: what each step takes and none changes


def draw_first(problem: Problem, settings: config.Config) -> Problem:
    """The problem for tasks of a DeviceSampler, whose pictures the step draws itself.

    Its functions take a `Drawing` where those of `problem` take the loss networks.
    """

    def prepare(task: dict[str, jax.Array], drawing: Drawing) -> Prepared:
        return problem.prepare(draw(settings, task["draw"], drawing.pictures), drawing.networks)

    def with_drawing(loss: LossFunction) -> LossFunction:
        return lambda fast, slow, batch, target, drawing: loss(fast, slow, batch, target, drawing.networks)

    query_loss = with_drawing(problem.query_loss) if problem.query_loss else None
    return Problem(prepare, with_drawing(problem.loss), query_loss)


def begin_from(found: bundles.Bundle, settings: config.Config) -> Meta:
    """The meta-parameters of a run that starts from a bundle.

    The generator must be the bundle's, the scope may differ. Of the encoder and of the learned rates, those parameters
    are taken whose shapes fit; the others are drawn as in a run without a start.

    Raises InputError if the bundle has another generator.
    """
    learned = outer_loop.initial_meta(settings)
    if architecture.parse(found.config.generator.arch) != architecture.parse(settings.generator.arch):
        raise InputError(
            f"`start`: expected a bundle of {settings.generator.arch}, got {found.config.generator.arch} "
            f"in {settings.start}; set `generator.arch` to that"
        )
    params = found.meta.fast | found.meta.slow
    fast, slow = split_by_scope(params, settings.inner.scope)
    log_lr = learned.log_lr | fitting(found.meta.log_lr, learned.log_lr)
    encoder = learned.encoder
    if encoder is not None and found.meta.encoder is not None:
        taken = fitting(found.meta.encoder, encoder)
        if taken.keys() >= {"hidden/kernel", "hidden/bias"}:
            encoder = encoder | taken  # a last layer trained on other hidden units is worse than zeros
    return jax.tree.map(jax.numpy.asarray, Meta(fast=fast, slow=slow, log_lr=log_lr, encoder=encoder))


def fitting(theirs: Flat, ours: Flat) -> Flat:
    """Those of their tensors that have the name and shape of one of ours."""
    return {path: theirs[path] for path, x in ours.items() if path in theirs and theirs[path].shape == x.shape}


def _tuning_sampler(settings: config.Config) -> TaskSampler:
    """Tasks with synthetic styles that no run has seen, on which rates are chosen, and at least one inner step."""
    inner = dataclasses.replace(settings.inner, steps=max(settings.inner.steps, 1))
    data = without_changes(settings.data)
    unseen = source.ProceduralSource("style", data.size, settings.run.seed + 1)
    return TaskSampler(dataclasses.replace(settings, inner=inner, data=data), style=unseen)


def val_tasks(settings: config.Config) -> list[Task]:
    """The tasks of the picture grid, the same for the whole run: style, query and support [N, 1, S, S, 3]."""
    val, inner = TaskSampler(settings, prefix="val_"), settings.inner
    count, support = min(_VAL_STYLES, len(val.style)), max(inner.steps * inner.support, 1)
    size, contents = settings.data.size, len(val.content)
    photographs = np.stack([load_square(val.content, i % contents, size) for i in range(count + support)])[:, None]
    styles = np.stack([load_square(val.style, i * len(val.style) // count, size) for i in range(count)])[:, None]
    return [
        {"style": style, "support": photographs[i + 1 : i + 1 + support], "query": photographs[i]}
        for i, style in enumerate(styles)
    ]


def picture_grid(
    settings: config.Config, learned: Meta, tasks: Sequence[Task], problem: Problem, loss_networks: Networks
) -> np.ndarray:
    """A grid f32[H, W, 3] with a row for each task: photograph, style, and the outputs after 0 and after all steps."""
    inner, rows = settings.inner, []
    for task in tasks:
        prepared = problem.prepare(jax.tree.map(jax.numpy.asarray, task), loss_networks)
        begun = adaptation.begin_prepared(learned, prepared)
        start = begun.start
        fast, _ = adaptation.adapt(problem.loss, begun, loss_networks, adaptation.Plan(inner.steps, inner, 0.0))
        views = [
            generator.stylize(settings.generator, {**learned_fast, **start.slow}, task["query"])
            for learned_fast in (start.fast, fast)
        ]
        rows.append([np.asarray(x[0]) for x in (task["query"], task["style"], *views)])
    return contact_sheet.grid(rows, column_labels=["photograph", "style", "0 steps", f"{inner.steps} steps"])


def _is_bundle_of(folder: Path, settings: config.Config) -> bool:
    """Whether the folder is a bundle that a run with these settings wrote."""
    try:
        return bundles.load_bundle(folder).config == settings
    except (InputError, FileNotFoundError):
        return False


def _describe(settings: config.Config, parallel: mesh.Parallel, meta: Meta, start: int) -> str:
    """The sizes that follow from the settings, and where the run starts."""
    learned = {part: count_parameters(flat) for part, flat in meta.parts().items()}
    per_task = settings.inner.steps * settings.inner.support + settings.outer.query
    return (
        f"{len(parallel.devices)} {parallel.devices[0].platform} devices in {jax.process_count()} processes "
        f"({settings.run.parallel}), {settings.outer.tasks // len(parallel.devices)} tasks per device, "
        f"{settings.outer.tasks * per_task} photographs of {settings.data.size} px per step; "
        f"{learned['fast']:,} fast, {learned['slow']:,} slow parameters, {learned['log_lr']:,} rates; "
        f"{f'continued from step {start}' if start else 'from the start'}"
    )


def _step(
    problem: Problem,
    settings: config.Config,
    first_order: bool,
    state: outer_loop.MetaState,
    batch: dict[str, jax.Array],
    constants: Constants,
    axis: str,
) -> tuple[outer_loop.MetaState, loop.Metrics]:
    """One outer step. The mean of the stop flags is among the metrics, so it travels in the same messages."""
    tasks, noted = multihost.without_flags(batch)
    return outer_loop.outer_step(problem, settings, first_order, state, tasks, constants, axis, noted)


def _compile(
    problem: Problem,
    settings: config.Config,
    first_order: bool,
    parallel: mesh.Parallel,
    arguments: tuple[outer_loop.MetaState, Any, Constants],
) -> loop.Program:
    """Compiles the outer step for these arguments, the last of which are always the same."""
    began = time.monotonic()
    step = parallel.wrap(functools.partial(_step, problem, settings, first_order))
    compiled = step.lower(*arguments).compile()
    memory = compiled.memory_analysis()
    temporary = f"{memory.temp_size_in_bytes / 2**20:.0f} MiB" if memory else "unknown"
    order = "first-order" if first_order else "second-order"
    kind = "Reptile" if settings.outer.update == "reptile" else order
    line = f"compiled the {kind} step in {time.monotonic() - began:.0f} s, temporary memory {temporary}"
    facts = {}
    if len(parallel.devices) > 1:
        sent = mesh.traffic(compiled.as_text() or "")
        facts = {"sent_bytes": sum(size for _, size in sent), "collectives": len(sent)}
        line += f", {facts['sent_bytes']:,} bytes in {len(sent)} {' and '.join(sorted({kind for kind, _ in sent}))}"
    *_, constants = arguments
    return loop.Program(lambda state, batch: compiled(state, batch, constants), line, facts)
