"""A new generator learns to do what a bundle's generator does, before it is meta-trained for more.

With y the picture that the bundle's generator makes of a photograph in the style that its encoder guesses, averaged
over phases (nets/phases.py), x that of the new one, and f the features of the bundle's own loss network at its taps, it
minimises

    |x - y|^2 / |y - mean(y)|^2  +  mean over taps of |f(x) - f(y)|^2 / |f(y)|^2

The average has no texture at the period of the old network's pixel grid, and is nearly the same wherever the photograph
lies on it. So a new network that is made for that learns both at once. No step needs VGG-16, so a step costs a fraction
of one of meta-training.
"""

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metastyle import config
from metastyle.compress.distill_vgg import optimizer
from metastyle.config import Imitation
from metastyle.data.tasks import Task, TaskSampler
from metastyle.images import contact_sheet
from metastyle.losses import perceptual
from metastyle.meta import outer_loop
from metastyle.meta.parameters import Meta, guess_start
from metastyle.nets import architecture, generator, style_encoder, vgg
from metastyle.nets.params import Flat, split_by_scope
from metastyle.system import compile_cache
from metastyle.train import loop, one_device
from metastyle.train.meta_training import fitting, val_tasks
from metastyle.train.multihost import STOP_FLAGS
from metastyle.weights import bundles, loss_network

Batch = dict[str, jax.Array]
METRICS = ("loss", "pixels", "features")


class State(NamedTuple):
    """The state of a run: the new meta-parameters, and Adam's."""

    meta: Meta
    optimizer: optax.OptState


class Model(NamedTuple):
    """What is imitated: the bundle's meta-parameters, and its loss network, by which its encoder reads styles."""

    meta: Meta
    network: vgg.Params


def imitate(settings: Imitation, workdir: str | os.PathLike) -> None:
    """Runs an imitation in `workdir`, or continues it there, until it is complete.

    Writes config.json, data.json, checkpoints/, metrics.csv, speed.json, TensorBoard events/, pictures/, and with every
    checkpoint bundle/.

    Raises InputError or FileNotFoundError for bad settings or data before anything is written, InputError for a workdir
    that doesn't fit, InUse while another process runs it, FloatingPointError when a loss is not finite, and Stopped
    when the run was asked to stop.
    """
    compile_cache.enable_compile_cache()
    workdir = Path(workdir)
    least = architecture.parse(settings.generator.arch, "generator.arch").min_side
    architecture.check_size(settings.data.size, settings.data.size, least, "data.size")
    origin = bundles.load_bundle(settings.bundle)
    split_by_scope(generator.shapes(settings.generator), settings.scope, "scope")  # raises for one that doesn't fit
    model = Model(jax.tree.map(jnp.asarray, origin.meta), loss_network.load_own(origin))
    learner = learner_config(settings, origin)
    meta = begin(settings, learner, origin.meta)
    state = State(meta, optimizer(settings).init(cast(Any, meta)))
    shown = val_tasks(learner)

    def export(state: State) -> None:
        meta = jax.tree.map(np.asarray, state.meta)
        made = bundles.Bundle(learner, meta, origin.adam_lr, origin.pictures_seen, network_sha256=origin.network_sha256)
        bundles.save_bundle(workdir / "bundle", made)

    training = loop.Training(
        task=TaskSampler(learner).task,
        indices=range(settings.tasks),
        columns=METRICS,
        shown="loss",
        prepare=lambda step, state, batch: (state, {name: x for name, x in batch.items() if name != STOP_FLAGS}),
        compile=lambda _, state, batch: loop.Program(
            *loop.compiled(functools.partial(step, settings, origin.config), state, batch, model)
        ),
        export=export,
        picture=lambda state: _grid(settings, origin.config, model, state, shown),
        threads=settings.data.threads,
    )
    one_device.run(training, state, settings, workdir, ("content", "style", "val_content", "val_style"))
    print(f"wrote {workdir / 'bundle'}", flush=True)


def learner_config(settings: Imitation, origin: bundles.Bundle) -> config.Config:
    """The settings of the new bundle: those of the old one, but for the generator, its scope and the data.

    Its tasks have one photograph and no support.
    """
    own = origin.config
    return dataclasses.replace(
        own,
        run=settings.run,
        data=settings.data,
        generator=settings.generator,
        inner=dataclasses.replace(own.inner, scope=settings.scope, steps=0),
        encoder=dataclasses.replace(
            own.encoder, octaves=settings.octaves, code=own.encoder.code // own.encoder.octaves * settings.octaves
        ),
        outer=dataclasses.replace(own.outer, tasks=settings.tasks, query=1, tasks_side_by_side=1),
        start="",
    )


def begin(settings: Imitation, learner: config.Config, old: Meta) -> Meta:
    """Draws the new meta-parameters, and takes those of `keep` from the old ones, with what guesses and moves them."""
    drawn = outer_loop.initial_meta(learner)
    theirs, ours = old.fast | old.slow, drawn.fast | drawn.slow
    kept = fitting(theirs, split_by_scope(ours, settings.keep, "keep")[0])
    own = lambda flat: jax.tree.map(jnp.asarray, flat | {path: kept[path] for path in kept.keys() & flat.keys()})
    encoder = drawn.encoder and old.encoder and _carried_encoder(drawn, old, kept)
    return Meta(fast=own(drawn.fast), slow=own(drawn.slow), log_lr=drawn.log_lr, encoder=encoder)


def _carried_encoder(drawn: Meta, old: Meta, kept: Flat) -> Flat:
    """The old encoder, which guesses zero changes of norms that are not kept, and knows nothing of further octaves."""
    assert old.encoder is not None and drawn.encoder is not None
    reads = np.zeros(drawn.encoder["hidden/kernel"].shape, np.float32)
    known = old.encoder["hidden/kernel"][: len(reads)]
    reads[: len(known)] = known
    columns = style_encoder.columns(old.fast)
    hidden = old.encoder["out/kernel"].shape[0]
    parts = [
        old.encoder["out/kernel"][:, columns[path]] if path in kept else np.zeros((hidden, place.stop - place.start))
        for path, place in style_encoder.columns(drawn.fast).items()
    ]
    changed = {"hidden/kernel": reads, "out/kernel": np.concatenate(parts, 1).astype(np.float32)}
    return jax.tree.map(jnp.asarray, old.encoder | changed)


def step(
    settings: Imitation, old: config.Config, state: State, batch: Batch, model: Model
) -> tuple[State, dict[str, jax.Array]]:
    """Takes one step on tasks with "style" f32[tasks, shots, S, S, 3] and "query" f32[tasks, 1, S, S, 3]."""
    tasks = [{name: x[i] for name, x in batch.items()} for i in range(settings.tasks)]
    seen = [_imitated(settings, old, model, task) for task in tasks]

    def objective(meta: Meta) -> tuple[jax.Array, dict[str, jax.Array]]:
        found = []
        for task, (code, goal) in zip(tasks, seen, strict=True):
            output = stylised(settings.generator, meta, code, task["query"])
            found.append(_errors(settings, model.network, output, goal))
        metrics = {name: jnp.stack([x[name] for x in found]).mean() for name in METRICS}
        return metrics["loss"], metrics

    gradient, metrics = jax.grad(objective, has_aux=True)(state.meta)
    updates, moments = optimizer(settings).update(gradient, state.optimizer)
    return State(cast(Meta, optax.apply_updates(cast(Any, state.meta), updates)), moments), metrics


def stylised(net: config.Generator, meta: Meta, code: jax.Array, photographs: jax.Array) -> jax.Array:
    """The photographs, f32[N, H, W, 3], as the encoder's guess stylises them."""
    start = guess_start(meta, code)
    return generator.apply(net, start.fast | start.slow, photographs)


def _imitated(settings: Imitation, old: config.Config, model: Model, task: Batch) -> tuple[jax.Array, jax.Array]:
    """The code of the task's style for the new encoder, and what the bundle's generator makes of its photograph."""
    most = max(settings.octaves, old.encoder.octaves)
    code = style_encoder.code(model.network, task["style"], count=most)
    net = dataclasses.replace(old.generator, phases=settings.phases)
    goal = stylised(net, model.meta, code[: old.encoder.octaves], task["query"])
    return code[: settings.octaves], goal


def _errors(settings: Imitation, network: vgg.Params, output: jax.Array, goal: jax.Array) -> dict[str, jax.Array]:
    centred = goal - goal.mean((1, 2), keepdims=True)
    pixels = jnp.square(output - goal).mean() / (jnp.square(centred).mean() + 1e-4)
    ours, theirs = (vgg.features(network, x) for x in (output, goal))
    features = jnp.stack([perceptual.ratio(ours[tap], theirs[tap]) for tap in vgg.TAPS]).mean()
    return {"loss": pixels + settings.features * features, "pixels": pixels, "features": features}


def _grid(settings: Imitation, old: config.Config, model: Model, state: State, tasks: list[Task]) -> np.ndarray:
    """A grid f32[H, W, 3] with a row for each task: photograph, style, the imitated picture and the imitation."""

    @jax.jit
    def pictures(meta: Meta, task: Batch) -> list[jax.Array]:
        code, goal = _imitated(settings, old, model, task)
        return [task["query"][0], task["style"][0], goal[0], stylised(settings.generator, meta, code, task["query"])[0]]

    given = [{name: jnp.asarray(task[name]) for name in ("style", "query")} for task in tasks]
    rows = [[np.asarray(x) for x in pictures(state.meta, task)] for task in given]
    return contact_sheet.grid(rows, column_labels=["photograph", "style", "imitated", "imitation"])
