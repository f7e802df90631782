"""Cells are filled once, and again only where something that they depend on has changed."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

from metastyle.errors import RETRY
from metastyle.evaluate import cells, evaluation, judge
from metastyle.evaluate.methods import Method
from metastyle.evaluate.pairs import Pairs
from metastyle.evaluate.starts import Start
from metastyle.weights import bundles
from tests.support.command import like_here
from tests.support.evaluations import deploy, protocol, untimed
from tests.support.places import ROOT


@pytest.mark.slow
def test_nothing_is_done_twice(whole, start, monkeypatch):
    found, out = whole
    monkeypatch.setattr(cells.Cell, "fill", lambda *_: pytest.fail("a cell was filled again"))
    assert untimed(evaluation.run(protocol(), {"ours": Start(start)}, out)) == untimed(found)


@pytest.mark.slow
@pytest.mark.processes
def test_a_stopped_and_killed_evaluation_goes_on_as_if_it_had_been_left_alone(start, tmp_path):
    bundles.save_bundle(tmp_path / "b", start)
    flags = ["contents=procedural", "styles=procedural", "pairs=6", "size=32", "vgg=random", "steps=0,1,40"]
    flags = [f"--config.{setting}" for setting in (*flags, "methods=identity")] + [f"--bundle=ours={tmp_path}/b"]

    def run(number):
        """Runs, and sends the signal once one more cell of `ours` is complete; the status, stdout and stderr."""
        line = [sys.executable, "-m", "experiments.evaluate", *flags, f"--out={tmp_path}/out"]
        process = subprocess.Popen(
            line, cwd=ROOT, env=like_here(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        cells = [tmp_path / f"out/cells/ours/{i:03d}.json" for i in range(6)]
        count = lambda: sum(cell.exists() and json.loads(cell.read_text())["complete"] for cell in cells)
        before = count()
        while process.poll() is None and count() == before:
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=240)
        return process.returncode, out, err

    status, out, err = run(signal.SIGTERM)
    assert status == RETRY and err.endswith("stopped; the same line continues\n"), err
    assert "Traceback" not in err
    assert run(signal.SIGKILL)[0] == -signal.SIGKILL
    assert not (tmp_path / "out/results.json").exists()
    settings = protocol(methods=("identity",), pairs=6, steps=(0, 1, 40))
    loaded = deploy(tmp_path / "b")
    kept = {file: file.read_bytes() for file in (tmp_path / "out/cells/ours").iterdir()}
    alone, stopped = (evaluation.run(settings, loaded, tmp_path / name) for name in ("alone", "out"))
    complete = [file for file, content in kept.items() if json.loads(content)["complete"]]
    assert len(complete) >= 1 and all(file.read_bytes() == kept[file] for file in complete), "what was done is kept"
    assert untimed(alone) == untimed(stopped)


@pytest.mark.slow
def test_only_what_changed_is_done_again(whole, start, tmp_path, filled):
    out = tmp_path / "out"
    shutil.copytree(whole[1], out)
    other = dataclasses.replace(start, adam_lr=3e-3)
    evaluation.run(
        protocol(methods=("identity", "gatys"), gatys_iterations=4, gatys_pairs=1), {"ours": Start(other)}, out
    )
    assert filled == [("ours", 0), ("ours", 1), ("gatys", 0)]


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '"rows"', "{}", '{"rows": null}', '{"rows": [1]}', '{"rows": ["x"]}']
)
def test_a_file_that_is_no_cell_is_filled_again(text, tmp_path):
    cell = cells.Cell(tmp_path, Method("a", "", "", 0.0, lambda pair: iter(())), 0, "")
    path = tmp_path / "cells/a/000.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    kept = cell.load(Pairs("procedural", "procedural", 1, 32))
    assert not kept.complete and kept.rows == []


@pytest.mark.slow
def test_a_picture_that_is_gone_is_made_again(whole, start, tmp_path, filled):
    out = tmp_path / "out"
    shutil.copytree(whole[1], out)
    found = evaluation.run(protocol(), {"ours": Start(start)}, out)
    gone = out / next(row.picture for row in found.rows if (row.method, row.pair) == ("ours", 1))
    before = gone.read_bytes()
    gone.unlink()
    filled.clear()
    evaluation.run(protocol(), {"ours": Start(start)}, out)
    assert filled == [("ours", 1)] and gone.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("after", [5, 19])
def test_an_interrupted_evaluation_goes_on(after, whole, start, tmp_path, monkeypatch):
    call, count = judge.Judge.__call__, 0

    def interrupted(self, output, pair):
        nonlocal count
        count += 1
        if count > after:
            raise KeyboardInterrupt
        return call(self, output, pair)

    monkeypatch.setattr(judge.Judge, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluation.run(protocol(), {"ours": Start(start)}, tmp_path)
    assert not (tmp_path / "results.json").exists()
    monkeypatch.setattr(judge.Judge, "__call__", call)
    assert untimed(evaluation.run(protocol(), {"ours": Start(start)}, tmp_path)) == untimed(whole[0])
