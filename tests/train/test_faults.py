"""Real processes, real TCP, real kills: the numbers stay the same, and no work is lost. The toy problem, at 16 px."""

import csv
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from metastyle.errors import RETRY
from metastyle.meta import outer_loop
from metastyle.train import checkpoint
from tests.support import toy_train
from tests.support.places import ROOT

pytestmark = pytest.mark.processes

STEPS = toy_train.RUN["steps"]
PATIENCE = 240  # seconds for what should take a few


class Started:
    """`toy_train` on `hosts` processes of `devices` devices each; what it prints goes into the folder `logs`."""

    def __init__(self, logs, workdir, *arguments, hosts=1, devices=1):
        environment = dict(os.environ)
        program, arguments = "tests.support.toy_train", [str(workdir), *arguments]
        if hosts > 1:
            environment |= {"PROGRAM": f"-m {program}", "PYTHON": sys.executable, "GRACE": "5"}
            line = ["bash", "launch/simulate_hosts.sh", str(hosts), str(devices), *arguments]
        else:
            environment |= {"JAX_NUM_CPU_DEVICES": str(devices), "NPROC": "8"}  # as simulate_hosts.sh does
            line = [sys.executable, "-m", program, *arguments]
        self.workdir, self._output = Path(workdir), logs / f"{len(list(logs.iterdir()))}.txt"
        with self._output.open("w") as file:
            self._process = subprocess.Popen(line, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)

    def processes(self):
        """The process ids, by process index."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(self.workdir).encode() in words and b"simulate_hosts" not in b" ".join(words):
                index = [v.partition(b"=")[2] for v in variables if v.startswith(b"JAX_PROCESS_ID=")]
                found[int(index[0]) if index else 0] = int(folder.name)
        return [pid for _, pid in sorted(found.items())]

    def until(self, step):
        """Waits until that step is in metrics.csv; returns the latest that is."""
        deadline = time.monotonic() + PATIENCE
        while (latest := toy_train.last_row(self.workdir)) < step:
            assert self._process.poll() is None and time.monotonic() < deadline, self.output()
            time.sleep(0.02)
        return latest

    def ends(self):
        """The exit status."""
        return self._process.wait(timeout=PATIENCE)

    def output(self):
        return self._output.read_text()


def rows(workdir):
    with open(workdir / "metrics.csv", newline="") as file:
        _, *rows = csv.reader(file)
    return np.array(rows, float)


def state(workdir, step):
    with checkpoint.Checkpoints(workdir / "checkpoints") as saved:
        template = jax.tree.map(np.asarray, outer_loop.initial_state(toy_train.settings({})))
        return saved.restore(step, template, jax.sharding.SingleDeviceSharding(jax.devices()[0]))


def assert_the_same(a, b):
    """Bit for bit: the state at the end, and every row of metrics.csv."""
    np.testing.assert_array_equal(rows(a), rows(b))
    jax.tree.map(np.testing.assert_array_equal, state(a, STEPS), state(b, STEPS))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return functools.partial(Started, tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def finished(start, tmp_path_factory):
    """`finished(hosts, devices)`: the folder of an uninterrupted run, with all its checkpoints."""
    made = {}

    def run(hosts, devices):
        if (hosts, devices) not in made:
            workdir = tmp_path_factory.mktemp("finished") / f"{hosts}x{devices}"
            started = start(workdir, "run.checkpoint_every=1", hosts=hosts, devices=devices)
            assert started.ends() == 0, started.output()
            made[hosts, devices] = workdir
        return made[hosts, devices]

    return run


# The same numbers everywhere


@pytest.mark.slow
@pytest.mark.parametrize(("hosts", "devices"), [(2, 2)])  # one process with 8: test_mesh.py
def test_many_devices_and_hosts_are_one(finished, hosts, devices):
    alone, together = finished(1, 1), finished(hosts, devices)
    np.testing.assert_allclose(rows(together), rows(alone), rtol=1e-5)
    first = [state(workdir, 1).optimizer for workdir in (alone, together)]  # Adam's moments: the first meta-gradient
    moments = [jax.tree.leaves(x) for x in first]
    norm = np.sqrt(sum(np.square(x).sum() for x in moments[0]))
    assert norm > 1e-3
    assert np.sqrt(sum(np.square(a - b).sum() for a, b in zip(*moments, strict=True))) < 1e-5 * norm


@pytest.mark.slow
def test_a_real_run_has_the_same_bits_on_many_devices_and_hosts(start, tmp_path):
    """Its inner loop makes any difference ten times as large with each step, so nothing less than equality lasts."""
    found = {}
    for hosts, devices in ((1, 1), (2, 2)):
        workdir = tmp_path / f"{hosts}x{devices}"
        started = start(workdir, "real=1", "run.steps=4", hosts=hosts, devices=devices)
        assert started.ends() == 0, started.output()
        found[hosts, devices] = rows(workdir)
    np.testing.assert_array_equal(found[2, 2], found[1, 1])


@pytest.mark.slow
def test_tasks_that_do_not_divide_are_told_before_anything_is_read(start, tmp_path):
    started = start(tmp_path / "a", "outer.tasks=6", "run.steps=1", hosts=2, devices=2)
    assert started.ends() == 1
    assert "error: `outer.tasks`: expected a multiple of the 4 devices, got 6; use 8\n" in started.output()
    assert "Traceback" not in started.output() and not (tmp_path / "a").exists()


@pytest.mark.slow
def test_a_long_choice_of_the_adam_rate_ends_nobody(start, tmp_path):
    started = start(tmp_path / "a", "run.steps=1", "patience=8", "tuning=12", hosts=2)
    assert started.ends() == 0, started.output()
    assert (tmp_path / "a/bundle/config.json").exists() and started.output().count("wrote ") == 1


# Asked to stop


@pytest.mark.slow
@pytest.mark.parametrize(("hosts", "devices", "told"), [(1, 1, 0), (2, 2, 1)])
def test_sigterm_saves_and_the_same_line_goes_on(start, finished, tmp_path, hosts, devices, told):
    """Of two processes, it is enough that one is told."""
    started = start(tmp_path / "a", "pause=0.5", "run.checkpoint_every=100", hosts=hosts, devices=devices)
    before = started.until(5)
    os.kill(started.processes()[told], signal.SIGTERM)
    assert started.ends() == RETRY, started.output()
    stopped = toy_train.last_row(tmp_path / "a")
    assert f"stopped after step {stopped} of {STEPS}; the same line continues" in started.output()
    assert stopped <= before + 3  # two steps, and one that ended between the look and the signal
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    started = start(tmp_path / "a", "run.checkpoint_every=100", hosts=hosts, devices=devices)
    assert started.ends() == 0, started.output()
    assert_the_same(tmp_path / "a", finished(hosts, devices))
    if hosts > 1:  # and on one
        started = start(tmp_path / "b", "run.checkpoint_every=100")
        assert started.ends() == 0, started.output()
        np.testing.assert_allclose(rows(tmp_path / "b"), rows(finished(1, 1)), rtol=1e-5)


# Started twice


@pytest.mark.slow
@pytest.mark.parametrize("hosts", [1, 2])
def test_the_second_start_is_refused_and_the_first_goes_on(start, finished, tmp_path, hosts):
    first = start(tmp_path / "a", "pause=0.2", hosts=hosts)
    first.until(2)
    owner = first.processes()[0]
    second = start(tmp_path / "a", hosts=hosts)
    assert second.ends() == RETRY, second.output()
    assert f"error: `workdir`: {tmp_path / 'a'} is being written by process {owner} on" in second.output()
    assert second.output().count("error: ") == 1 and "Traceback" not in second.output()
    assert first.ends() == 0, first.output()
    np.testing.assert_allclose(rows(tmp_path / "a"), rows(finished(1, 1)), rtol=1e-5)
    assert not (tmp_path / "a" / ".lock").exists()


# Killed


@pytest.mark.slow
def test_a_killed_run_loses_what_came_after_the_last_checkpoint_and_nothing_else(start, finished, tmp_path):
    started = start(tmp_path / "a", "pause=0.02")
    killed_at = started.until(9)
    os.kill(started.processes()[0], signal.SIGKILL)
    assert started.ends() == -signal.SIGKILL
    started = start(tmp_path / "a")
    assert started.ends() == 0, started.output()
    continued = int(re.search(r"continued from step (\d+)", started.output())[1])
    assert continued >= killed_at // 4 * 4 - 4  # the save of the latest multiple of 4 may have been in progress
    assert_the_same(tmp_path / "a", finished(1, 1))


@pytest.mark.slow
@pytest.mark.parametrize("lost", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_a_lost_process_ends_the_others(start, tmp_path, lost):
    started = start(tmp_path / "a", "run.steps=2000", "timeout=6", hosts=2)
    started.until(6)
    first, second = started.processes()
    os.kill(second, lost)
    assert started.ends() != 0
    line = "another process is lost" if lost == signal.SIGKILL else "no answer from the other processes for 6 s"
    assert f"error: process 0: {line}" in started.output()
    assert started.output().count("the same line continues the run") == 1
    assert "Traceback" not in started.output()


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(start, finished, tmp_path):
    workdir = shutil.copytree(finished(1, 1), tmp_path / "a")
    for step in range(1, STEPS + 1):
        if step not in (4, 8):
            shutil.rmtree(workdir / "checkpoints" / str(step))
    for file in (workdir / "checkpoints/8/state/d").iterdir():
        os.truncate(file, file.stat().st_size // 2)
    started = start(workdir)
    assert started.ends() == 0, started.output()
    assert "checkpoints/8" in started.output() and "it is now damaged-8, and step 4 is continued" in started.output()
    assert_the_same(workdir, finished(1, 1))


# No room


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"no file system can be mounted here ({mount.stderr.strip()})")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_good_checkpoint(start, finished, small_disk):
    started = start(small_disk / "a", "pause=0.05")
    started.until(6)
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    assert started.ends() == 1, started.output()
    last = started.output().splitlines()[-1]  # before it, writers of Orbax may complain, when their loop is gone
    assert re.search(r"error: `workdir`: cannot .*No space left on device", last)
    (small_disk / "filler").unlink()
    started = start(small_disk / "a")
    assert started.ends() == 0, started.output()
    assert_the_same(small_disk / "a", finished(1, 1))


@pytest.mark.slow
def test_a_read_only_folder_is_told(start, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    started = start(small_disk / "a")
    assert started.ends() == 1
    assert "Read-only file system" in started.output().splitlines()[-1] and "Traceback" not in started.output()
