import dataclasses

import pytest

from metastyle.evaluate import cells, evaluation
from metastyle.evaluate.starts import Start
from metastyle.meta import outer_loop
from metastyle.weights import bundles
from tests.support import toy
from tests.support.evaluations import protocol


@pytest.fixture(scope="session")
def start():
    """A toy bundle."""
    settings = dataclasses.replace(toy.settings(inner={"steps": 1}), vgg="random")
    return bundles.Bundle(settings, outer_loop.initial_meta(settings), 1e-3)


@pytest.fixture(scope="session")
def whole(start, tmp_path_factory):
    """An uninterrupted evaluation of a toy bundle beside everything that needs no extra package: (results, folder)."""
    out = tmp_path_factory.mktemp("report")
    return evaluation.run(protocol(), {"ours": Start(start)}, out), out


@pytest.fixture
def filled(monkeypatch):
    """(method, pair) of every cell that is filled from now on."""
    found, fill = [], cells.Cell.fill

    def noting(cell, pairs, judged):
        found.append((cell.method.name, cell.pair))
        return fill(cell, pairs, judged)

    monkeypatch.setattr(cells.Cell, "fill", noting)
    return found
