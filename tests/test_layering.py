"""Data flows one way: what each module may import, read from the sources."""

import ast
from graphlib import TopologicalSorter

import pytest

from tests.support.places import ROOT

MODULES = {path.stem: path for path in (ROOT / "metastyle").glob("*.py") if path.stem != "__init__"}

# Each of these stands on those before it, never on those after it or beside it.
CHAIN = [
    {"errors", "paths", "memory"},
    {"color", "config", "images", "procedural", "stopping"},
    {"vgg", "generator", "sources"},
    {"metrics", "tasks", "pairs", "planes", "preview"},
    {"losses"},
    {"adapt", "gatys", "tiling"},
    {"meta"},
    {"mesh", "checkpoint", "bundles", "rates", "johnson"},
    {"style", "plain"},
    {"train", "stylizer", "judge", "methods"},
    {"results", "pytorch", "batch", "strength", "strokes"},
    {"evaluate", "cli"},
]
ABOVE_THE_MATHEMATICS = set.union(*CHAIN[7:]) | {"launch", "sources", "tasks", "pairs"}


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


GRAPH = {name: ours(path) for name, path in MODULES.items()}


def below(name):
    """All modules that `name` stands on."""
    found, todo = set(), set(GRAPH[name])
    while todo:
        found |= todo
        todo = set.union(*(GRAPH[other] for other in todo)) - found
    return found


def test_the_reader_sees_every_form_of_import(tmp_path):
    file = tmp_path / "x.py"
    file.write_text(
        "import metastyle.vgg\nfrom metastyle import meta, adapt\nfrom metastyle.mesh import Parallel\n"
        "def f():\n    from metastyle.train import train\n"
    )
    assert ours(file) == {"vgg", "meta", "adapt", "mesh", "train"}


def test_no_circle():
    assert set(TopologicalSorter(GRAPH).static_order()) == MODULES.keys()


def test_each_module_of_the_chain_stands_on_those_before_it():
    assert set.union(*CHAIN) <= MODULES.keys()
    for place, names in enumerate(CHAIN):
        for name in names:
            assert not below(name) & set.union(*CHAIN[place:]), name


@pytest.mark.parametrize("name", ["vgg", "generator", "losses", "metrics", "adapt", "gatys", "meta"])
def test_the_mathematics_knows_nothing_of_data_files_and_runs(name):
    assert not below(name) & ABOVE_THE_MATHEMATICS


def test_checkpoints_know_pytrees_and_settings_only():
    assert GRAPH["checkpoint"] == {"config", "errors"}


def test_only_front_doors_know_the_command_lines():
    assert {name for name in GRAPH if GRAPH[name] & {"launch", "cli"}} <= {"cli"}


def test_the_package_imports_neither_experiments_nor_tests_nor_configs():
    for path in (ROOT / "metastyle").rglob("*.py"):
        tops = {name.split(".")[0] for name in imports(path)}
        assert not tops & {"experiments", "tests", "configs", "pytest", "toy"}, path


def test_config_files_know_the_settings_only():
    for path in (ROOT / "configs").glob("*.py"):
        assert ours(path) == {"config"}, path


def test_mains_are_thin():
    for path in (ROOT / "experiments").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 60, path


def test_no_module_is_a_drawer_for_everything():
    names = {path.stem.strip("_") for folder in ("metastyle", "experiments") for path in (ROOT / folder).rglob("*.py")}
    assert not names & {"utils", "util", "common", "base", "helpers", "misc"}
