"""Summaries, curves, steps to reach and intervals of rows that are written by hand."""

import numpy as np
import pytest

from metastyle import config
from metastyle.evaluate.methods import Method
from metastyle.evaluate.pairs import Pair
from metastyle.evaluate.results import Reach, Row
from metastyle.evaluate.summary import assemble, interval, reach
from tests.support.evaluations import line


def rows_of(method, table):
    """Rows with J only; table[steps][pair]."""
    return [Row(method, k, i, j) for k, by_pair in table.items() for i, j in by_pair.items()]


def test_closed_is_averaged_over_the_pairs_on_which_gatys_gains():
    names = ("photograph", "ours", "gatys")
    chosen = [Method(name, "bundle" if name == "ours" else "", "", 0, None) for name in names]
    rows = rows_of("photograph", {0: {0: 10.0, 1: 8.0, 2: 5.0}}) + rows_of("ours", {1: {0: 6.0, 1: 7.0, 2: 1.0}})
    rows += rows_of("gatys", {0: {0: 10.0, 1: 8.0, 2: 5.0}, 150: {0: 2.0, 1: 4.0, 2: 4.6}})
    pairs = [Pair(i, f"c{i}", f"s{i}", None, None, []) for i in range(3)]
    found = assemble(config.from_dict({"contents": "a", "styles": "b"}, config.Evaluation), chosen, rows, pairs, [])
    assert found.left_out == [2], "5 - 4.6 < 0.1 * 5"
    (ours,) = [s for s in found.summary if s.method == "ours"]
    assert (ours.closed, ours.closed_median, ours.closed_pairs) == ((0.5 + 0.25) / 2, 0.375, 2)
    assert ours.closed_ratio == 5 / 12 and ours.J == pytest.approx(14 / 3) and ours.pairs == 3
    assert found.rows[5].closed is None


def test_closed3_is_the_share_of_j3_and_of_the_optimisation_of_j3():
    names = ("photograph", "ours", "gatys", "gatys3")
    chosen = [Method(name, "bundle" if name == "ours" else "", "", 0, None) for name in names]
    of = lambda method, steps, j3: Row(method, steps, 0, 9.0, J3=j3)
    rows = [of("photograph", 0, 10.0), of("ours", 1, 4.0), of("gatys", 150, 3.0), of("gatys3", 150, 2.0)]
    pairs = [Pair(0, "c", "s", None, None, [])]
    settings = config.from_dict({"contents": "a", "styles": "b"}, config.Evaluation)
    found = assemble(settings, chosen, rows, pairs, [])
    assert {row.method: row.closed3 for row in found.rows} == dict(zip(names, (0.0, 6 / 8, 7 / 8, 1.0), strict=True))
    assert line(found, "ours", 1).closed3 == 6 / 8
    unmeasured = [row._replace(J3=None) for row in rows]
    found = assemble(settings, chosen, unmeasured, pairs, [])
    assert {row.closed3 for row in found.rows} == {None}


def test_curves_are_of_the_pairs_that_all_were_run_on():
    """Johnson is worse on the one pair that it was run on, and its mean is lower than that of all pairs."""
    chosen = [Method(name, "bundle", "", 0, None) for name in ("photograph", "ours", "johnson")]
    rows = rows_of("photograph", {0: {0: 4.0, 1: 20.0}}) + rows_of("ours", {0: {0: 3.0, 1: 9.0}, 5: {0: 2.0, 1: 8.0}})
    rows += rows_of("johnson", {0: {0: 4.0}, 5: {0: 3.0}})
    pairs = [Pair(i, f"c{i}", f"s{i}", None, None, []) for i in range(2)]
    found = assemble(config.from_dict({"contents": "a", "styles": "b"}, config.Evaluation), chosen, rows, pairs, [])
    assert found.curve_pairs == [0]
    assert {name: curve.J for name, curve in found.curves.items()} == {
        "photograph": [4.0],
        "ours": [3.0, 2.0],
        "johnson": [4.0, 3.0],
    }
    assert line(found, "ours", 5).J == 5.0, "the table is of all pairs"


def test_reach_compares_on_common_pairs():
    rows = rows_of("ours", {1: {0: 4.0, 1: 9.0}, 5: {0: 3.0, 1: 9.0}, 10: {0: 2.0, 1: 9.0}})
    rows += rows_of("gatys", {0: {0: 9.0}, 20: {0: 3.5}, 50: {0: 2.5}}) + rows_of("lite", {0: {0: 1.0, 1: 1.0}})
    assert reach(rows, "ours") == [
        Reach("gatys", 1, 4.0, 20),
        Reach("gatys", 5, 3.0, 50),
        Reach("gatys", 10, 2.0, None),
    ]
    assert reach(rows, None) == []


def test_the_interval_covers_what_it_should():
    pairs = [(f"c{i}", f"s{i}") for i in range(40)]
    assert interval([2.0] * 40, pairs) == (2.0, 2.0)
    low, high = interval(list(np.random.default_rng(0).normal(5, 1, 40)), pairs)
    assert low < 5 < high and high - low > 2 * 1.96 / np.sqrt(40), "wider than that of 40 independent values"
    same = interval(list(np.repeat([1.0, 3.0], 20)), [("c", f"s{i < 20}") for i in range(40)])
    assert same == (1.0, 3.0), "two styles, however many pairs, are two values"
