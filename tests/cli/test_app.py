"""A user's mistake is one line and a non-zero exit; a defect keeps its traceback."""

import os
import subprocess
import sys
import warnings

import jax
import pytest
from absl import flags

from metastyle.cli import app
from metastyle.errors import RETRY, Adjusted, InputError, InUse
from metastyle.system import paths
from tests.support.command import run_main
from tests.support.places import ROOT

TINY = "--config=configs/tiny_cpu.py"


def raising(error):
    def main(argv):
        raise error

    return main


@pytest.mark.parametrize("status", [None, 0, 1, RETRY])
def test_the_exit_status_is_what_main_returns(status):
    assert RETRY == 75
    assert app.guard(lambda argv: status, []) == (status or 0)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("`steps`: expected 1,\n  got 0"), 1, "error: `steps`: expected 1, got 0\n"),
        (InUse("`out`: in use"), RETRY, "error: `out`: in use\n"),
        (FileNotFoundError("`content`: no such file"), 1, "error: `content`: no such file\n"),
        (
            OSError(28, "No space left on device"),
            1,
            "error: No space left on device: of standard output, an output or temporary files (TMPDIR)\n",
        ),
        (PermissionError(13, "Permission denied", "a/b"), 1, "error: cannot use 'a/b' (Permission denied)\n"),
        (BrokenPipeError(32, "Broken pipe"), 1, "error: standard output was closed by its reader\n"),
        (FloatingPointError("step 3: loss is nan"), 1, "error: step 3: loss is nan\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_what_a_user_can_mend_is_told_in_one_line(capsys, error, status, line):
    assert app.guard(raising(error), []) == status
    assert capsys.readouterr().err == line


def test_notes_are_lines_and_each_is_told_once(capsys):
    def main(argv):
        for text in ("`a`: left out", "`a`: left out", "`b`: left out"):
            warnings.simplefilter("always")  # as libraries do, after which Python's own "once" begins anew
            warnings.warn(text, Adjusted, stacklevel=1)
            warnings.simplefilter("default")

    assert app.guard(main, []) == 0
    assert capsys.readouterr().err == "note: `a`: left out\nnote: `b`: left out\n"


@pytest.mark.parametrize("name", ["JAX_PLATFORMS", "JAX_PLATFORM_NAME"])
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            RuntimeError("Unable to initialize\nbackend 'tpu' (set JAX_PLATFORMS='' to)"),
            "Unable to initialize backend 'tpu'",
        ),
        (AssertionError(), "its plugin is not installed"),
    ],
)
def test_a_platform_that_is_not_here_is_told_in_one_line(capsys, monkeypatch, name, error, why):
    def devices():
        raise error

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    with pytest.raises(KeyError):  # nothing was asked for
        app.guard(raising(KeyError("x")), [])
    monkeypatch.setenv(name, "tpu")
    assert app.guard(raising(KeyError("x")), []) == 1
    line = f"error: `{name}`: JAX has no platform 'tpu' here ({why}); unset it, or set it to cpu\n"
    assert capsys.readouterr().err == line


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("platform", ["cuda", "nonsense"])
def test_a_command_on_a_machine_without_the_platform(platform, tmp_path):
    if any(device.platform == "gpu" for device in jax.devices()):
        pytest.skip("this machine has an accelerator")
    environment = os.environ | {"JAX_PLATFORMS": platform}
    painting = paths.demo_pictures("styles")[0]
    line = [
        sys.executable,
        "-m",
        "metastyle.cli.main",
        "adapt",
        f"--style={painting}",
        f"--out={tmp_path}/a.safetensors",
    ]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith(f"error: `JAX_PLATFORMS`: JAX has no platform '{platform}'")
    assert done.stderr.count("\n") == 1 and not list(tmp_path.glob("*a.safetensors*"))


@pytest.mark.parametrize("error", [ValueError("shapes"), KeyError("x"), TypeError("f() takes 0 arguments")])
def test_a_defect_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        app.guard(raising(error), [])


def test_home_is_expanded_where_the_shell_left_it(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    values = flags.FlagValues()
    flags.DEFINE_string("out", None, "", flag_values=values)
    flags.DEFINE_string("none", None, "", flag_values=values)
    flags.DEFINE_integer("steps", 3, "", flag_values=values)
    flags.DEFINE_list("style", None, "", flag_values=values)
    values(["x", "--out=~/out", "--style=~/a.jpg,b~.jpg"])
    app.expand_home(values)
    assert (values.out, values.none, values.steps) == ("/home/ada/out", None, 3)
    assert values.style == ["/home/ada/a.jpg", "b~.jpg"]


@pytest.mark.processes
def test_a_name_that_is_no_text_can_be_told():
    line = "from metastyle.cli import app; app.guard(lambda _: print('wrote caf\\udce9.png'), [])"
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, "wrote caf\\udce9.png\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ([TINY], "flag --workdir=None"),
        (["--config=configs/none.py"], "`config`: cannot read 'configs/none.py': No such file or directory"),
        (["--config=configs/none.py", "--config.inner.steps=3"], "`config`: cannot read 'configs/none.py': No such"),
        ([TINY, "--config.inner.stepz=3"], "`config.inner.stepz`: not found: 'stepz' Did you mean \"steps\""),
        ([TINY, "--config.inner.steps=three"], "flag --config.inner.steps=three"),
        ([TINY, "--config.inner.steps=-1"], "`inner.steps`: expected at least 0, got -1"),
        ([TINY, "--frobnicate"], "Unknown command line flag 'frobnicate'"),
        ([TINY, "--flagfile=none.txt"], "Unable to open flagfile"),
        ([TINY, "extra"], "`extra`: expected only flags"),
        (["--config={folder}/mistaken.py"], "`outer.lr`: expected at least 0, got -1.0"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(tmp_path, flags, line):
    (tmp_path / "mistaken.py").write_text(
        "from metastyle.config import config_dict\ndef get_config(): return config_dict(outer={'lr': -1})\n"
    )
    workdir = [] if flags == [TINY] else [f"--workdir={tmp_path / 'run'}"]
    result = run_main("meta_train", *(flag.format(folder=tmp_path) for flag in flags), *workdir)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert line in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("defect", ["def get_config(): {}['x']", "def get_config(): 1 + 'x'", "import none"])
def test_a_defect_in_a_config_file_keeps_its_traceback(tmp_path, defect):
    (tmp_path / "defective.py").write_text(defect)
    result = run_main("meta_train", f"--config={tmp_path / 'defective.py'}", f"--workdir={tmp_path / 'run'}")
    assert result.returncode == 1
    assert "Traceback" in result.stderr and "defective.py" in result.stderr


def test_help_lists_the_flags():
    result = run_main("meta_train", "--help")
    assert "--workdir" in result.stdout and "--config" in result.stdout
