"""The curve."""

import sys

import pytest

from metastyle.errors import InputError
from metastyle.evaluate.report import plot
from metastyle.evaluate.results import About, Curve
from metastyle.images import codec


def test_plot_takes_names_as_they_are(results, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    for name in ("$x_{", "_y"):  # neither mathematics nor hidden
        curve = Curve([0, 100], [4.0, None], [3.0, None], [5.0, None])
        methods = [*results.methods, About(name, "other", None, "")]
        results = results._replace(methods=methods, curves=results.curves | {name: curve})
    plot.plot_curve(results, tmp_path / "curve.png")
    picture, _ = codec.load(tmp_path / "curve.png")
    assert picture.shape[1] > 1000 and picture.std() > 0.05


def test_lines_that_lie_on_one_another_are_drawn(results, tmp_path):
    """For these Matplotlib finds limits of the axis that differ in their last bit."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    methods = [About(name, "other", None, "") for name in ("photograph", "a copy")]
    curves = {x.name: Curve([0], [4.760729074478149], [None], [None]) for x in methods}
    plot.plot_curve(results._replace(methods=methods, curves=curves), tmp_path / "curve.png")
    assert codec.load(tmp_path / "curve.png")[0].std() > 0.02


def test_without_matplotlib(results, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r'matplotlib, which is not installed; type `pip install "metastyle\[eval\]"`'):
        plot.plot_curve(results, tmp_path / "curve.png")
    assert not list(tmp_path.iterdir())
