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


def test_without_matplotlib(results, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r'matplotlib, which is not installed; type `pip install "metastyle\[eval\]"`'):
        plot.plot_curve(results, tmp_path / "curve.png")
    assert not list(tmp_path.iterdir())
