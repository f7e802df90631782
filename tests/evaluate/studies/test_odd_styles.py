"""A sample of the survey of odd styles, and that it sees what goes wrong."""

import numpy as np
import pytest

import metastyle
from metastyle.evaluate.studies import odd_styles
from tests.support.places import BUNDLE


@pytest.mark.slow
def test_every_kind_leaves_finite_numbers():
    found = odd_styles.survey_styles(metastyle.load(BUNDLE), len(odd_styles.KINDS), steps=4)
    assert [entry.tried for entry in found.values()] == [1] * len(odd_styles.KINDS)
    assert not any(entry.wrong for entry in found.values())
    assert all(0 < entry.largest < np.inf for entry in found.values())
    assert odd_styles.format_table(found).count("\n") == len(odd_styles.KINDS)


@pytest.mark.slow
def test_the_generator_in_the_package_learns_a_black_page():
    found = odd_styles.survey_styles(metastyle.load(), 1, steps=2)
    assert not found["black"].wrong


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_not_finite_is_found(broken, monkeypatch):
    monkeypatch.setattr(odd_styles.generator, "stylize", lambda *_: np.full((1, 2, 2, 3), broken))
    found = odd_styles.survey_styles(metastyle.load(BUNDLE), 2, steps=1)
    assert found["black"].wrong == ["style 0: the picture"] and found["white"].wrong == ["style 1: the picture"]
    assert "style 1: the picture" in odd_styles.format_table(found)


def test_an_exception_is_found(monkeypatch):
    monkeypatch.setitem(odd_styles.KINDS, "black", lambda rng: np.zeros((0, 4, 3), np.uint8))
    wrong = odd_styles.survey_styles(metastyle.load(BUNDLE), 1, steps=1)["black"].wrong
    assert len(wrong) == 1 and wrong[0].startswith("style 0: InputError: ")
