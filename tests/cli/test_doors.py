"""The ways to start the command: one program behind each, and standard input and output in place of files."""

import os
import subprocess
import sys

import pytest

from tests.support.command import PHOTOGRAPH, adapt, stylize
from tests.support.places import ROOT

HERE = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}


def start(module, *arguments, **options):
    line = [sys.executable, "-m", module, *arguments]
    return subprocess.run(line, env=HERE, capture_output=True, check=False, **options)


@pytest.mark.processes
@pytest.mark.parametrize("module", ["metastyle", "metastyle.cli", "metastyle.cli.main"])
def test_modules_are_the_command(module):
    done = start(module, "--help", text=True)
    assert (done.returncode, done.stderr) == (0, "") and "usage: metastyle COMMAND" in done.stdout
    refused = start(module, "adapt", "--steps=one", text=True)
    assert refused.returncode == 1 and refused.stderr.startswith("error: `adapt`: ") and not refused.stdout


@pytest.mark.processes
@pytest.mark.parametrize("line", [adapt(style="-", steps=0), adapt(support="-", steps=0), stylize(mask="-")])
def test_pictures_come_from_standard_input(line, folder):
    done = start("metastyle", *line, input=PHOTOGRAPH.read_bytes())
    assert done.returncode == 0, done.stderr
    assert (folder / "new.png").exists() or (folder / "new.safetensors").exists()


def test_standard_input_holds_one_picture(refused_line):
    line = refused_line(*adapt(style="-", support="-"))
    assert line.startswith("`support`: expected - for one picture, got it for `style` already")


@pytest.mark.processes
def test_standard_input_that_is_empty_is_told():
    done = start("metastyle", *adapt(style="-", steps=0), input=b"")
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "error: `style`: expected a picture on standard input, which is empty; pipe one into the command\n"
    )


@pytest.mark.processes
@pytest.mark.parametrize("out", ["-", "new.png"])
def test_standard_output_that_is_closed(out, folder):
    line = [sys.executable, "-m", "metastyle", *stylize(out=out)]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *line], env=HERE, capture_output=True, text=True, check=False)
    if out == "-":
        assert done.returncode == 1
        assert done.stderr == "error: `out`: cannot write to standard output, which is closed; name a file\n"
    else:
        assert (done.returncode, done.stderr) == (0, "") and (folder / "new.png").exists()


@pytest.mark.processes
def test_a_reader_that_goes_away_and_a_full_disk():
    line = [sys.executable, "-m", "metastyle", *stylize(out="-")]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(line, env=HERE, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: `out`: cannot write to standard output (No space left on device); name a file\n"
    gone, end = os.pipe()
    os.close(gone)
    done = subprocess.run(line, env=HERE, stdout=end, stderr=subprocess.PIPE, text=True, check=False)
    os.close(end)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "Broken pipe" in done.stderr
