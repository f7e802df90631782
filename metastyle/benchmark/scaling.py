"""How meta-training scales: a calculation for clusters, and small runs on processes of this machine."""

import dataclasses
import functools
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from metastyle import config
from metastyle.benchmark import timing
from metastyle.errors import InputError
from metastyle.meta import outer_loop
from metastyle.meta.problem import style_problem
from metastyle.nets.params import count_parameters
from metastyle.system.files import temporary_folder
from metastyle.system.machine import run_process
from metastyle.train import meta_training

_RUN = {  # small enough for a step to take seconds; every process compiles it
    "config": "configs/tiny_cpu.py",
    "config.inner.steps": 2,
    "config.run.log_every": 1,
    "config.run.checkpoint_every": 1000,
    "config.run.picture_every": 1000,
}


@dataclasses.dataclass(frozen=True)
class Cluster:
    """What is assumed of the hosts of a cluster. The defaults describe a DGX H200."""

    peak: float = 494e12  # FLOP/s of a device, in tf32
    share: float = 0.2  # the share of the peak that a step reaches
    devices: int = 8  # in each host
    inside: float = 450e9  # bytes/s that a device sends to another one of its host (NVLink, one way)
    between: float = 50e9  # bytes/s that a device sends to another host (one 400 Gb/s adapter for each)
    latency: float = 10e-6  # seconds of a round of messages
    decoded: float = 80.0  # photographs/s that a core decodes and crops (experiments.benchmark, section data)
    read: float = 100e3  # bytes of a photograph in the data set


class Work(NamedTuple):
    """What one step of one device takes. sent: bytes of what is averaged; photographs: to be decoded."""

    flops: float
    sent: int
    photographs: int


class Estimate(NamedTuple):
    """What one step of a cluster takes, and what every host must read during it."""

    compute: float  # seconds
    talk: float  # seconds of the mean over devices
    efficiency: float  # compute / (compute + talk), since nothing overlaps
    photographs: float  # per second and host
    cores: float  # of a host, that decode photographs
    read: float  # bytes/s and host


def count_work(settings: config.Config, tasks: int) -> Work:
    """Counts the work of a device with `tasks` tasks, in the program that XLA gets on a CPU.

    On a CPU the inner steps are unrolled, so that no loop hides operations from the count. Raises InputError
    on a backend where XLA counts nothing.
    """
    settings = dataclasses.replace(settings, outer=dataclasses.replace(settings.outer, tasks_side_by_side=1))
    inner, outer, size = settings.inner, settings.outer, settings.data.size
    photograph = lambda *shape: jax.ShapeDtypeStruct((1, *shape, size, size, 3), "float32")
    task = {
        "style": photograph(settings.data.shots),
        "support": photograph(inner.steps, inner.support),
        "query": photograph(outer.query),
    }
    state, params = jax.eval_shape(lambda: outer_loop.initial_state(settings)), meta_training.networks(settings)
    problem = style_problem(
        settings.generator, settings.loss, other_judge=bool(outer.vgg), code_octaves=settings.encoder.octaves
    )
    step = functools.partial(outer_loop.outer_step, problem, settings, inner.first_order)
    # The norm of the meta-gradient is not sent, but the stop flag is, so as many numbers are sent as are logged.
    sent = 4 * (sum(count_parameters(part) for part in state.meta.parts().values()) + len(meta_training.LOGGED))
    pictures = sum(math.prod(x.shape[:-3]) for x in task.values())
    flops = timing.count_flops(step, state, task, params)
    if flops is None:
        raise InputError("XLA reports no cost analysis on this backend; set JAX_PLATFORMS=cpu")
    return Work(tasks * flops, sent, tasks * pictures)


def estimate_step(work: Work, devices: int, cluster: Cluster) -> Estimate:
    """Estimates one step on `devices` devices.

    The all-to-all and the all-gather send (n - 1) / n of the operand each over every link, at the pace of the slowest
    one, in log2(n) rounds each.
    """
    compute = work.flops / (cluster.peak * cluster.share)
    link = cluster.inside if devices <= cluster.devices else cluster.between
    moved = 2 * (devices - 1) / devices * work.sent
    talk = moved / link + 2 * math.ceil(math.log2(devices)) * cluster.latency
    rate = min(devices, cluster.devices) * work.photographs / (compute + talk)
    return Estimate(compute, talk, compute / (compute + talk), rate, rate / cluster.decoded, rate * cluster.read)


def describe(settings: config.Config, devices: Sequence[int], tasks: int, cluster: Cluster | None = None) -> str:
    """Writes the assumptions and a table in Markdown, a row for each number of `devices`, with `tasks` tasks each."""
    cluster, one = cluster or Cluster(), count_work(settings, tasks)
    lines = [
        f"A step of a device (tasks: {tasks}, {settings.data.size} px): {one.flops / 1e12:.2f} TFLOP, "
        f"{one.photographs} pictures, a mean over devices of {one.sent / 2**20:.2f} MiB.",
        f"Assumed: {cluster.share:.0%} of {cluster.peak / 1e12:.0f} TFLOP/s; {cluster.devices} devices a host, each "
        f"sends {cluster.inside / 1e9:.0f} GB/s inside and {cluster.between / 1e9:.0f} GB/s to other hosts, "
        f"{1e6 * cluster.latency:.0f} us a round of messages;",
        f"nothing overlaps; a core decodes {cluster.decoded:.0f} pictures/s, of {cluster.read / 1e3:.0f} kB each.",
        "",
        "| devices | pictures/s | compute, ms | mean, ms | efficiency | a host: pictures/s | cores | MB/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for n in devices:
        found = estimate_step(one, n, cluster)
        total = n * one.photographs / (found.compute + found.talk)
        lines.append(
            f"| {n} | {total:,.0f} | {1000 * found.compute:.1f} | {1000 * found.talk:.2f} | {found.efficiency:.1%} | "
            f"{found.photographs:,.0f} | {found.cores:.1f} | {found.read / 1e6:.0f} |"
        )
    return "\n".join(lines)


def parse_grid(grid: Sequence[str], tasks: int) -> list[tuple[int, int]]:
    """Parses "2x1" into (processes, devices of each). Raises InputError where the product doesn't divide the tasks."""
    found = []
    for text in filter(None, grid):
        counts = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
        if not counts or tasks % (int(counts[1]) * int(counts[2])):
            raise InputError(
                f"`grid`: expected processes x devices whose product divides the {tasks} tasks, such as 2x1, "
                f"got {text!r}; --tasks sets another number"
            )
        found.append((int(counts[1]), int(counts[2])))
    return found


def time_grid(root: Path, grid: Sequence[tuple[int, int]], steps: int, tasks: int) -> str:
    """Times the same small run on each (processes, devices) of this machine; returns a table in Markdown.

    It also has the largest relative difference from the first run, over all steps, of the loss and of the norm of the
    meta-gradient. The first run of a table is compared with itself.

    The `tasks` are shared out among the devices. root: the checkout, for launch/simulate_hosts.sh. Raises InputError
    where a run fails.
    """
    rows = [_run(root, *counts, steps, tasks) for counts in tqdm(grid, unit="run", leave=False)]
    lines = [
        "",
        "| processes x devices | tasks a device | steps/s | to the first | bytes sent a step | in messages "
        "| loss differs by | gradient's norm by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (n, d), run in zip(grid, rows, strict=True):
        share = run.rate / rows[0].rate
        lines.append(
            f"| {n} x {d} | {tasks // (n * d)} | {run.rate:.3g} | {share:.0%} | {run.sent:,} | {run.messages} "
            f"| {_difference(run.losses, rows[0].losses)} | {_difference(run.norms, rows[0].norms)} |"
        )
    return "\n".join(lines)


class _Run(NamedTuple):
    """What a run wrote: steps/s, the bytes and messages that a device sends in a step, and numbers of every step."""

    rate: float
    sent: int
    messages: int
    losses: np.ndarray
    norms: np.ndarray


def _difference(found: np.ndarray, expected: np.ndarray) -> str:
    """The largest relative difference, as a text."""
    return f"{np.abs(found / expected - 1).max():.1g}"


def _run(root: Path, processes: int, devices: int, steps: int, tasks: int) -> _Run:
    """Runs a small meta-training on this machine."""
    with temporary_folder() as folder:
        given = {"workdir": f"{folder}/run", "config.run.steps": steps, "config.outer.tasks": tasks}
        flags = [f"--{name}={value}" for name, value in (_RUN | given).items()]
        line = ["bash", "launch/simulate_hosts.sh", str(processes), str(devices), *flags]
        environment = os.environ | {"PYTHON": sys.executable}
        done = run_process(line, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.stderr.write(done.stderr)
            raise InputError(f"`grid`: the run of {processes} x {devices} failed; see above")
        speed = json.loads(Path(folder, "run", "speed.json").read_text())
        metrics = np.genfromtxt(Path(folder, "run", "metrics.csv"), delimiter=",", names=True)
    sent, messages = speed.get("sent_bytes", 0), speed.get("collectives", 0)
    return _Run(speed["steps_per_second"], sent, messages, metrics["loss"], metrics["gradient_norm"])
