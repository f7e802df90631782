"""The rules for modules that import-linter cannot express; the order of the folders is in pyproject.toml."""

import ast

from tests.support.places import ROOT


def test_no_import_is_relative():
    """A relative import hides from a search for the module's full name."""
    for path in (ROOT / "metastyle").rglob("*.py"):
        levels = [node.level for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        assert not any(levels), path


def test_mains_only_define_flags_and_call_the_package():
    """Each main is one function of a few statements; the work is in the package, where tests can call it."""
    for path in (ROOT / "experiments").glob("*.py"):
        tree = ast.parse(path.read_text())
        defined = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        assert [node.name for node in defined] == ["main"] * (path.name != "__init__.py"), path
        for main in defined:
            assert sum(isinstance(node, ast.stmt) for node in ast.walk(main)) <= 15, path


def test_no_module_is_a_drawer_for_everything():
    names = {path.stem.strip("_") for folder in ("metastyle", "experiments") for path in (ROOT / folder).rglob("*.py")}
    assert not names & {"utils", "util", "common", "base", "helpers", "misc"}
