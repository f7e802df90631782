"""Meta-training: a straight loop over outer steps that can be stopped anywhere and continued by the same line."""

import csv
import functools
import logging
import signal
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from metastyle import adapt, bundles, checkpoint, config, evaluate, generator, images, mesh, meta, vgg
from metastyle.adapt import Problem
from metastyle.tasks import Prefetcher, TaskSampler

LOGGED = ("loss", "query", "support_first", "support_mean", "gradient_norm")
_VAL_STYLES = 4
_TUNING_TASKS = 4
_log = logging.getLogger("metastyle")


def train(settings: config.Config, workdir: str, problem: Problem | None = None, params: Any = None) -> bool:
    """Runs or continues a run in `workdir`; returns whether it is complete (False: it was asked to stop).

    Writes config.json, checkpoints/, metrics.csv, TensorBoard events, pictures/ and at the end bundle/. `problem` and
    `params` replace style transfer on VGG features, for tests. Raises InputError or FileNotFoundError for bad
    settings before anything is written, and FloatingPointError when a loss is not finite.
    """
    run, outer = settings.run, settings.outer
    mesh.enable_compile_cache()
    parallel = mesh.Parallel(run.parallel, outer.tasks)
    params = vgg.load(settings.vgg) if params is None else params
    problem = problem or adapt.style_problem(settings.generator, settings.loss)
    sampler = TaskSampler(settings)
    state = meta.initial_state(settings)
    main = jax.process_index() == 0
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    checkpoint.claim(workdir, settings)

    with checkpoint.Checkpoints(workdir / "checkpoints", run.keep_checkpoints) as saved, _StopSignal() as stop:
        # Resume policy: 1. the newest complete checkpoint, 2. else the start. Tasks are a function of (seed, step), so
        # there is nothing else to restore; rows of metrics.csv beyond the checkpoint are dropped and written again.
        start = saved.latest() or 0
        state = saved.restore(start, state, parallel.replicated) if start else parallel.replicate(state)
        params = parallel.replicate(params)
        if main:
            _announce(settings, parallel, state, start)
        log = _Log(workdir, start, run.steps) if main else None
        step_function, first_order, pending = None, None, []
        tasks = parallel.local_indices(outer.tasks)
        with Prefetcher(sampler.task, tasks, start, run.steps, threads=settings.data.threads) as batches:
            for step, batch in batches:
                batch = parallel.split(batch)
                if meta.is_first_order(settings, step) != first_order:
                    first_order = meta.is_first_order(settings, step)
                    step_function = _compile(problem, settings, first_order, parallel, (state, batch, params), main)
                state, metrics = step_function(state, batch, params)
                pending.append((step, metrics))
                done, last = step + 1, step + 1 == run.steps
                saving = last or done % run.checkpoint_every == 0 or stop.requested
                if saving or done % run.log_every == 0:
                    rows = _finite([(s, {k: float(m[k]) for k in LOGGED}) for s, m in pending], saved.latest())
                    pending = []
                    if main:
                        log.write(rows, run.log_every, batches.waited)
                if saving:
                    saved.save(done, parallel.for_checkpoint(state), settings)
                if main and (last or done % run.picture_every == 0):
                    pictures(workdir, settings, state["meta"], params, problem, done, log)
                if stop.requested and not last:
                    break
        saved.wait()
        complete = int(state["step"]) >= run.steps
        if main:
            log.close()
    if complete and main and (start < run.steps or not (workdir / "bundle" / "config.json").exists()):
        finish(workdir, settings, jax.tree.map(np.asarray, state["meta"]), sampler, problem, params)
    return complete


def finish(workdir: Path, settings: config.Config, learned: meta.Meta, sampler: TaskSampler, problem: Problem, params: Any):
    """Chooses the Adam rate on training styles that come after the last step, and writes the bundle."""
    tasks = [sampler.task(settings.run.steps, i) for i in range(_TUNING_TASKS)]
    rate = evaluate.choose_adam_lr(learned, settings, tasks, params, problem)
    bundles.save_bundle(workdir / "bundle", bundles.Bundle(settings, learned, rate))
    print(f"wrote {workdir / 'bundle'} (Adam lr {rate:g} beyond {settings.inner.steps} steps)", flush=True)


def pictures(workdir: Path, settings: config.Config, learned: meta.Meta, params: Any, problem: Problem, step: int, log: "_Log"):
    """The photograph, the style, and the photograph in that style after 0 and K steps, for fixed val styles."""
    data, inner = settings.data, settings.inner
    val = TaskSampler(settings, prefix="val_")
    contents, styles = val.content, val.style
    learned = jax.tree.map(np.asarray, learned)
    square = lambda source, i: images.square(images.load(source[i % len(source)])[0], data.size)
    rows = []
    for i in range(min(_VAL_STYLES, len(styles))):
        photograph, style = square(contents, i), square(styles, i * len(styles) // _VAL_STYLES)
        support = np.stack([square(contents, i + 1 + j) for j in range(inner.steps * inner.support)] or [photograph])
        task = {"style": style[None], "support": support[:, None], "query": photograph[None]}
        prepared = problem.prepare(jax.tree.map(jnp.asarray, task), params)
        batches = jax.tree.map(lambda x: x[:, 0], prepared.support)
        fast, _ = adapt.adapt(
            problem.loss, learned, batches, (prepared.target, params), steps=inner.steps, inner=inner, adam_lr=0.0
        )  # fmt: skip
        views = [generator.stylize(settings.generator, {**f, **learned["slow"]}, photograph[None])[0] for f in (learned["fast"], fast)]
        rows.append([photograph, style, *map(np.asarray, views)])
    labels = ["photograph", "style", "0 steps", f"{inner.steps} steps"]
    grid = images.grid(rows, column_labels=labels)
    (workdir / "pictures").mkdir(exist_ok=True)
    images.save(workdir / "pictures" / f"step_{step:07d}.png", grid)
    log.picture(grid, step)


class _StopSignal:
    """Notes SIGTERM and SIGINT: the loop saves and ends at the next step."""

    def __enter__(self) -> "_StopSignal":
        self.requested = False
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.requested = True


class _Log:
    """metrics.csv, TensorBoard events and a progress bar with the time left."""

    def __init__(self, workdir: Path, start: int, steps: int):
        path = workdir / "metrics.csv"
        kept = []
        if path.exists():
            with path.open(newline="") as file:
                kept = [row for row in csv.reader(file) if row[0] != "step" and int(row[0]) <= start]
        with images.atomic(path) as temporary, open(temporary, "w", newline="") as file:
            csv.writer(file).writerows([("step", *LOGGED), *kept])
        self._csv = path.open("a", newline="")
        self._events = SummaryWriter(str(workdir / "events"), purge_step=start or None)
        self._bar = tqdm(total=steps, initial=start, unit="step", mininterval=1.0)
        self._waited, self._since = 0.0, time.monotonic()

    def write(self, rows: list[tuple[int, dict[str, float]]], every: int, waited: float) -> None:
        """Shows every step's progress; writes the steps whose number is a multiple of `every`."""
        seconds = max(time.monotonic() - self._since, 1e-9)
        share = (waited - self._waited) / seconds
        for step, metrics in rows:
            if (step + 1) % every == 0:
                csv.writer(self._csv).writerow([step + 1, *(repr(metrics[k]) for k in LOGGED)])
                for name, value in metrics.items():
                    self._events.add_scalar(name, value, step + 1)
                self._events.add_scalar("data_wait_share", share, step + 1)
        self._csv.flush()
        query = np.mean([metrics["query"] for _, metrics in rows])
        self._bar.set_postfix_str(f"query loss {query:.3f}, data wait {share:.0%}", refresh=False)
        self._bar.update(len(rows))
        self._waited, self._since = waited, time.monotonic()

    def picture(self, grid: np.ndarray, step: int) -> None:
        self._events.add_image("val", images.to_uint8(grid), step, dataformats="HWC")

    def close(self) -> None:
        self._csv.close()
        self._events.close()
        self._bar.close()


def _finite(rows: list[tuple[int, dict[str, float]]], last_good: int | None) -> list[tuple[int, dict[str, float]]]:
    for step, metrics in rows:
        for name, value in metrics.items():
            if not np.isfinite(value):
                good = f"the checkpoint of step {last_good}" if last_good else "no checkpoint yet"
                raise FloatingPointError(f"step {step + 1}: {name} is {value}; last good: {good}; lower outer.lr or inner.lr")
    return rows


def _announce(settings: config.Config, parallel: mesh.Parallel, state: meta.State, start: int) -> None:
    learned = {part: generator.count(flat) for part, flat in state["meta"].items()}
    per_task = settings.inner.steps * settings.inner.support + settings.outer.query
    print(
        f"{len(parallel.devices)} {parallel.devices[0].platform} devices in {jax.process_count()} processes "
        f"({settings.run.parallel}), {settings.outer.tasks} tasks x {per_task} photographs of {settings.data.size} px per step; "
        f"{learned['fast']:,} fast, {learned['slow']:,} slow parameters, {learned['log_lr']:,} rates; "
        f"{'from the start' if not start else f'continued from step {start}'}",
        flush=True,
    )


def _compile(problem, settings, first_order, parallel, arguments, main):
    order = "first" if first_order else "second"
    began = time.monotonic()
    step = parallel.compile(functools.partial(meta.outer_step, problem, settings, first_order))
    compiled = step.lower(*arguments).compile()
    memory = compiled.memory_analysis()
    if main:
        temporary = f"{memory.temp_size_in_bytes / 2**20:.0f} MiB" if memory else "unknown"
        took = time.monotonic() - began
        print(f"compiled the {order}-order step in {took:.0f} s; temporary memory {temporary}", flush=True)
    return compiled
