"""The program that runs one section."""

import json

import pytest

from metastyle.benchmark import section, suite
from metastyle.errors import InputError


def test_every_section_of_the_suite_has_its_function():
    assert section.FUNCTIONS.keys() == {*suite.SECTIONS, "machine"}


def test_the_numbers_are_written_as_json(tmp_path, monkeypatch):
    monkeypatch.setitem(section.FUNCTIONS, "stylize", lambda: {"it, ms": 1.5})
    section.main("stylize", str(tmp_path / "x.json"))
    assert json.loads((tmp_path / "x.json").read_text()) == {"it, ms": 1.5}


def test_the_users_mistake_in_a_section_is_one_line(tmp_path, monkeypatch):
    def fail():
        raise InputError("`data`: expected more, got less")

    monkeypatch.setitem(section.FUNCTIONS, "stylize", fail)
    with pytest.raises(SystemExit) as ended:
        section.main("stylize", str(tmp_path / "x.json"))
    assert ended.value.code == "error: stylize: `data`: expected more, got less"
