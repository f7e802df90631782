"""A program that is asked to end does so at once, whatever it is doing, with one line and its status."""

import os
import signal
import subprocess
import sys
import time

import pytest

from metastyle.errors import RETRY
from metastyle.system import signals
from tests.support.places import ROOT

READY = "print('ready', flush=True)\n"
# Python's own handlers must wait for the end of this call, which takes an hour and frees the interpreter's lock.
IN_C = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)\n"
SWALLOWING = "import time\nwhile True:\n    try: time.sleep(0.01)\n    except BaseException: pass\n"
WATCHED = "from metastyle.system import signals\nsignals.watch()\n"
GUARDED = (
    "from metastyle.cli.app import guard, leave\nfrom metastyle.errors import Stopped\nimport time\n"
    "def work(_):\n    with signals.StopSignal() as stop:\n        print('ready', flush=True)\n        {}\n"
    "        raise Stopped('saved')\n"
)
STATES = {130: "interrupted", 143: "terminated"}


@pytest.fixture
def start():
    """Starts a Python program, and returns it once it has printed "ready". ignored: as under nohup."""
    started = []

    def run(code, *, ignored=False, **environment):
        line = [sys.executable, "-c", code]
        if ignored:
            line = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *line]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(line, cwd=ROOT, env=os.environ | environment, **pipes)
        started.append(process)
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def end(process):
    """The exit status, and what was printed after "ready"."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err


@pytest.mark.processes
@pytest.mark.parametrize("busy", [IN_C, SWALLOWING], ids=["in C", "swallowing"])
@pytest.mark.parametrize(
    ("number", "told"),
    [
        (signal.SIGINT, (130, "interrupted\n")),
        (signal.SIGTERM, (143, "terminated\n")),
        (signal.SIGHUP, (129, "hung up\n")),
    ],
)
def test_a_signal_ends_the_program(start, busy, number, told):
    process = start(WATCHED + READY + busy)
    process.send_signal(number)
    assert end(process) == told


@pytest.mark.processes
@pytest.mark.parametrize("module", ["experiments.distill", "metastyle.cli.main"])
def test_the_mains_answer_before_their_imports(module, tmp_path):
    """The first import that takes time never ends, and the signal comes in it."""
    (tmp_path / "absl").mkdir()
    (tmp_path / "absl" / "__init__.py").write_text(READY + SWALLOWING)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    line = [sys.executable, "-m", module, "info"]
    process = subprocess.Popen(
        line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, "interrupted\n")


@pytest.mark.processes
def test_work_that_keeps_a_state_saves_it(start):
    look = "while not stop.requested: time.sleep(0.01)"
    process = start(WATCHED + GUARDED.format(look) + "leave(guard(work, []))")
    process.send_signal(signal.SIGTERM)
    assert end(process) == (RETRY, "saved\n")


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_work_that_cannot_save_in_time_ends(start, number):
    process = start(WATCHED + GUARDED.format(IN_C.strip()) + "guard(work, [])", METASTYLE_GRACE="0.1")
    process.send_signal(number)
    line = f"{STATES[128 + number]}; the same line continues from the last saved state\n"
    assert end(process) == (128 + number, line)


@pytest.mark.processes
def test_a_second_interrupt_ends_work_that_would_save(start):
    process = start(WATCHED + GUARDED.format(IN_C.strip()) + "guard(work, [])", METASTYLE_GRACE="600")
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert end(process)[0] == 130


@pytest.mark.processes
def test_an_interrupt_that_comes_twice_at_once_is_one(start):
    look = "while not stop.requested: time.sleep(0.01)\n        time.sleep(0.2)"
    process = start(WATCHED + GUARDED.format(look) + "leave(guard(work, []))", METASTYLE_GRACE="600")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert end(process) == (RETRY, "saved\n")


@pytest.mark.processes
def test_work_in_pieces_is_continued_after_a_termination(start):
    process = start(WATCHED + "with signals.resumable():\n    print('ready', flush=True)\n    " + IN_C)
    process.send_signal(signal.SIGTERM)
    assert end(process) == (RETRY, "stopped; the same line continues\n")


@pytest.mark.processes
def test_nothing_half_written_is_left(start, tmp_path):
    (tmp_path / "a.txt").write_text("before")
    code = (
        f"from pathlib import Path\nfrom metastyle.system import files\nfolder = Path({str(tmp_path)!r})\n"
        "with files.atomic(folder / 'a.txt') as file, files.temporary_folder(folder) as other:\n"
        "    file.write_text('half'); (other / 'b').write_text('half')\n    print('ready', flush=True)\n    " + IN_C
    )
    process = start(WATCHED + code)
    assert len(list(tmp_path.iterdir())) == 3
    process.send_signal(signal.SIGTERM)
    assert end(process)[0] == 143
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "before")]


@pytest.mark.processes
def test_processes_that_it_started_end_as_well(start):
    child = f"import time; {READY.strip()}; time.sleep(600)"
    code = f"import sys\nfrom metastyle.system import machine\nmachine.run_process([sys.executable, '-c', {child!r}])"
    process = start(WATCHED + code)
    process.send_signal(signal.SIGTERM)
    assert end(process) == (143, "terminated\n")  # the output, which the child has as well, ends with the child


@pytest.mark.processes
def test_signals_that_the_process_ignores_stay_ignored(start):
    process = start(WATCHED + READY + "import time; time.sleep(0.5); print('done')", ignored=True)
    process.send_signal(signal.SIGHUP)
    assert end(process) == (0, "done\n")


@pytest.mark.processes
def test_an_end_that_is_blocked_comes_all_the_same(start):
    """Nobody reads the standard output, which is full, and its lock is held by the main thread."""
    process = start(WATCHED + READY + "while True: print('x' * 10**6)")
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143


@pytest.mark.processes
def test_a_grace_that_is_no_number_is_told():
    line = [sys.executable, "-m", "metastyle.cli.main", "info"]
    for text in ("soon", "-1", "inf"):
        environment = os.environ | {"METASTYLE_GRACE": text}
        done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr == f"error: `METASTYLE_GRACE`: expected seconds, such as 1.5, got {text!r}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_host_program_keeps_its_handlers(number):
    came = []
    before = signal.signal(number, lambda *_: came.append(number))
    try:
        with signals.StopSignal() as stop:
            os.kill(os.getpid(), number)
            assert stop.requested and not came
        os.kill(os.getpid(), number)
        assert came == [number]
        with signals.StopSignal(listen=False) as stop:
            os.kill(os.getpid(), number)
            assert not stop.requested and len(came) == 2
    finally:
        signal.signal(number, before)
