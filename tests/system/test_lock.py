"""One process works on an output at a time."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys

import pytest

from metastyle.errors import Adjusted, InUse
from metastyle.system import lock
from tests.support.errors import refused
from tests.support.places import ROOT

HOLDING = (
    "import sys, time\nfrom metastyle.system import lock\n"
    "with lock.of_folder(sys.argv[1], 'workdir'):\n    print('held', flush=True)\n    time.sleep(600)"
)


@pytest.fixture
def owner(tmp_path):
    """Another process, which holds the lock of `tmp_path`."""
    line = [sys.executable, "-c", HOLDING, str(tmp_path)]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.processes
def test_the_second_is_told_who_the_first_is(owner, tmp_path):
    told = rf"`workdir`: {tmp_path} is being written by process {owner.pid} on {socket.gethostname()} since .*; wait"
    with refused(told, InUse), lock.of_folder(tmp_path, "workdir"):
        pass
    with lock.of_folder(tmp_path, "workdir", "-1-of-2"):  # another part
        pass


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_any_death_frees_it(owner, tmp_path, number):
    owner.send_signal(number)
    owner.wait()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    with lock.of_folder(tmp_path, "workdir"):
        pass
    assert not list(tmp_path.iterdir())


def test_it_is_beside_a_file_and_follows_links(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "real" / "a.png")
    with lock.beside(tmp_path / "link.png"):
        assert [path.name for path in (tmp_path / "real").iterdir()] == [".a.png.lock"]
        with refused("`out`: .*a.png is being written by process", InUse), lock.beside(tmp_path / "real" / "a.png"):
            pass
    assert not list((tmp_path / "real").iterdir())


def test_a_file_that_its_owner_has_removed_meanwhile_is_not_taken_for_the_lock(tmp_path, monkeypatch):
    flock, removed = fcntl.flock, []

    def late(file, operation):
        if not removed:
            removed.append(os.unlink(tmp_path / ".lock"))
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with lock.of_folder(tmp_path, "workdir"), refused("being written", InUse), lock.of_folder(tmp_path, "workdir"):
        pass


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def lacking(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", lacking)
    with (
        pytest.warns(Adjusted, match=r"`workdir`: cannot lock .* \(No locks available\); start only one process"),
        lock.of_folder(tmp_path, "workdir"),
    ):
        pass


def test_a_folder_that_cannot_be_written_is_left_to_the_work(tmp_path):
    with lock.of_folder(tmp_path / "nothing", "workdir"):
        assert not list(tmp_path.iterdir())
