"""Data flows one way: what each module may import, read from the sources."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = {path.stem: path for path in (ROOT / "metastyle").glob("*.py") if path.stem != "__init__"}

# Each module stands on lower layers only.
LAYERS = [
    {"errors", "paths"},
    {"config", "images", "procedural"},
    {"vgg", "generator", "sources", "metrics"},
    {"losses", "tasks", "convert", "prepare"},
    {"adapt", "fetch"},
    {"meta", "bundles"},
    {"mesh", "evaluate", "checkpoint"},
    {"train", "stylizer"},
    {"launch", "cli"},
]
FORBIDDEN = {"sources", "tasks", "train", "checkpoint", "bundles", "stylizer", "cli", "launch", "evaluate"}


def imports(path):
    """The full names of what a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path):
    """The modules of the package that a file imports."""
    names = {name.split(".")[1] for name in imports(path) if name.startswith("metastyle.")}
    return names & MODULES.keys()


def layer(name):
    (index,) = (i for i, names in enumerate(LAYERS) if name in names)
    return index


def test_the_import_reader_sees_both_forms(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("import metastyle.vgg\nfrom metastyle import meta\ndef f():\n    from metastyle.train import train\n")
    assert ours(file) == {"vgg", "meta", "train"}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_stands_on_lower_layers_only(name):
    for other in ours(MODULES[name]):
        assert layer(other) < layer(name), f"{name} imports {other}"


def test_every_layer_names_modules_that_exist():
    names = [name for names in LAYERS for name in names]
    assert sorted(names) == sorted(MODULES)


@pytest.mark.parametrize("name", ["vgg", "generator", "losses", "adapt", "meta"])
def test_the_mathematics_knows_nothing_of_data_files_and_runs(name):
    seen, todo = set(), [name]
    while todo:
        seen.add(current := todo.pop())
        todo += ours(MODULES[current]) - seen
    assert not seen & FORBIDDEN


def test_checkpoints_know_pytrees_and_settings_only():
    assert ours(MODULES["checkpoint"]) == {"config", "errors"}


def test_the_package_imports_neither_experiments_nor_tests_nor_configs():
    for path in (ROOT / "metastyle").rglob("*.py"):
        tops = {name.split(".")[0] for name in imports(path)}
        assert not tops & {"experiments", "tests", "configs", "pytest", "toy"}, path


def test_config_files_import_the_config_module_only():
    for path in (ROOT / "configs").glob("*.py"):
        assert ours(path) == {"config"}, path


def test_experiments_are_thin():
    for path in (ROOT / "experiments").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 60, path


def test_no_module_is_a_drawer_for_everything():
    names = {path.stem for folder in ("metastyle", "experiments") for path in (ROOT / folder).rglob("*.py")}
    assert not {name for name in names if name.strip("_") in ("utils", "util", "common", "base", "helpers", "misc")}
