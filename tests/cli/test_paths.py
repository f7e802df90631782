"""Every argument that is a path, given every kind of path that can't be used: one line, which names the argument."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.places import ROOT

# Whoever has a file without permission learns that, and not that it is missing; numbers of errors say nothing.
FORBIDDEN = ("Traceback", "[Errno", "os error", "No such file or directory")
# A main of `experiments` is a process of its own for each case, so that only these kinds are tried of it here.
SOME = ("in a locked folder", "link to itself")


@pytest.fixture(autouse=True)
def folder(): ...


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize(("table", "kinds", "least"), [("commands", (), 350), ("experiments", SOME, 40)])
def test_what_can_not_be_used_is_told_in_one_line(table, kinds, least):
    if sys.platform != "linux":
        pytest.skip("permissions are taken from root by capabilities of Linux")
    line = [sys.executable, "-m", "tests.support.refusals", table, *kinds]
    here = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=here, timeout=300)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) >= least
    wrong = [case for case in found if not is_right(*case)]
    assert not wrong, "\n".join(map(str, wrong))


def is_right(program, argument, kind, status, told, left):
    *notes, error = told.splitlines()  # a note may say what was left out
    named = any(error.startswith(f"error: `{name}`: ") for name in (argument, argument.removeprefix("config.")))
    silent = not any(text in told for text in FORBIDDEN)
    return status == 1 and named and silent and len(notes) <= 1 and not left
