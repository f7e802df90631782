"""`import metastyle` loads nothing else, and its names are found when they are used."""

import importlib
import importlib.metadata
import subprocess
import sys

import pytest

import metastyle


def python(code):
    """Runs `code` in a fresh interpreter, which must succeed; returns the words that it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.processes
@pytest.mark.parametrize("module", ["metastyle", "metastyle.cli.main", "metastyle.config", "metastyle.cli.app"])
def test_import_is_light(module):
    heavy = python(
        f"import sys, {module}; heavy = 'jax jaxlib flax optax orbax matplotlib tensorboardX tensorflow_datasets';"
        "print(*(name for name in heavy.split() if name in sys.modules))"
    )
    assert heavy == []


@pytest.mark.processes
def test_import_of_the_package_alone_loads_nothing():
    code = "import importlib, sys; before = set(sys.modules); import metastyle; print(*set(sys.modules) - before)"
    assert python(code) == ["metastyle"]


@pytest.mark.slow
@pytest.mark.processes
def test_no_module_starts_a_jax_backend_or_loads_a_data_library():
    """jax_num_cpu_devices can't be set once a backend has started."""
    loaded = python(
        "import sys, metastyle.cli.main, metastyle.evaluate.evaluation;"
        "import metastyle.stylize.stylizer, metastyle.train.meta_training;"
        "import jax; jax.config.update('jax_num_cpu_devices', 2); assert len(jax.devices()) == 2;"
        "print(*(name for name in ('tensorflow', 'tensorflow_datasets', 'matplotlib') if name in sys.modules))"
    )
    assert loaded == []


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("load", "stylize.stylizer"),
        ("load_style", "stylize.stylizer"),
        ("Stylizer", "stylize.stylizer"),
        ("Style", "stylize.stylizer"),
        ("InputError", "errors"),
    ],
)
def test_public_names(name, home):
    assert getattr(metastyle, name) is getattr(importlib.import_module(f"metastyle.{home}"), name)
    assert name in dir(metastyle) and name in metastyle.__all__


@pytest.mark.processes
def test_star_import_gives_the_public_names():
    assert python("from metastyle import *; print(*sorted(n for n in dir() if n[0] != '_'))") == metastyle.__all__


@pytest.mark.processes
def test_the_module_of_the_command_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "metastyle.cli.main", "nonsense"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "nonsense" in done.stderr


def test_unknown_name():
    with pytest.raises(AttributeError, match="module 'metastyle' has no attribute 'stylise'"):
        _ = metastyle.stylise


def test_version_is_that_of_the_installed_package():
    try:
        installed = importlib.metadata.version("metastyle")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")
    assert metastyle.__version__ == installed
