"""The mains as a user starts them."""

import dataclasses
import json
import re
import signal
import subprocess
import sys

import pytest

from metastyle import config
from metastyle.errors import RETRY
from metastyle.meta import outer_loop
from metastyle.weights import bundles
from tests.support import toy
from tests.support.command import run_main
from tests.support.places import ROOT

TINY = (
    "--config=configs/tiny_cpu.py",
    "--config.vgg=random",
    "--config.data.size=16",
    "--config.inner.steps=1",
    "--config.generator.arch=c3s1-4,c3s1-3",
    "--config.run.log_every=1",
    "--config.outer.decay=inverse",  # This decay doesn't depend on run.steps, so the step is compiled once.
)


def start(workdir, *flags):
    line = [sys.executable, "-u", "-m", "experiments.meta_train", *TINY, f"--workdir={workdir}", *flags]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.mark.slow
@pytest.mark.processes
def test_meta_train_is_stopped_continued_and_completed(tmp_path):
    workdir = tmp_path / "runs" / "tiny"
    process = start(workdir, "--config.run.steps=100000")
    for line in process.stdout:
        if "compiled" in line:
            process.send_signal(signal.SIGTERM)
            break
    status, out, err = end(process)
    assert status == RETRY, err
    done = int(re.search(r"stopped after step (\d+) of 100000; the same line continues", err)[1])
    assert not (workdir / "bundle").exists()

    short = f"--config.run.steps={done + 2}"
    status, out, err = end(start(workdir, short))
    assert status == 0, err
    assert f"continued from step {done}" in out and "Traceback" not in err
    assert bundles.load_bundle(workdir / "bundle").config.run.steps == done + 2
    steps = [int(line.split(",")[0]) for line in (workdir / "metrics.csv").read_text().splitlines()[1:]]
    assert steps == list(range(1, done + 3))


@pytest.mark.slow
def test_settings_and_bundles_of_an_evaluation_are_taken_from_the_line(tmp_path):
    settings = dataclasses.replace(toy.settings(inner={"steps": 1}), vgg="random")
    bundles.save_bundle(tmp_path / "b", bundles.Bundle(settings, outer_loop.initial_meta(settings), 1e-3))
    changes = ("contents=procedural", "styles=procedural", "pairs=1", "size=32", "vgg=random", "steps=1,0")
    line = [f"--config.{change}" for change in (*changes, "methods=style,identity", "gatys_pairs=2")]
    line += [f"--bundle=ours={tmp_path}/b", f"--bundle=photo={tmp_path}/b,judged,dtype=bfloat16"]
    done = run_main("evaluate", *line, f"--out={tmp_path}/out", "--part=0/1")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out/results.json").read_text())
    expected = {
        "bundles": {
            "ours": config.Deployment(f"{tmp_path}/b"),
            "photo": config.Deployment(f"{tmp_path}/b", judged=True, dtype="bfloat16"),
        },
        "pairs": 1,
        "size": 32,
        "steps": (0, 1),
        "methods": ("style", "identity"),
        "gatys_pairs": 2,
    }
    found = vars(config.from_dict(results["settings"], config.Evaluation))
    assert {name: found[name] for name in expected} == expected
    assert [method["name"] for method in results["methods"]] == ["photograph", "style picture", "ours", "photo"]
    assert "see " in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.pears=3", "`config.pears`: not found"),
        ("--config.pairs=few", "pairs"),
        ("--config.steps=0,x", "`steps`: expected whole numbers from 0"),
        ("--config.methods=identity,magic", "`methods`: expected some of identity, style"),
        ("--bundle=ours=default,judge", "`bundle`: expected options of judged"),
        ("--part=2/2", "`part`: expected i/n"),
        ("--pairs=3", "pairs"),
    ],
)
def test_a_mistake_in_an_evaluation_is_one_line(argument, message, tmp_path):
    done = run_main("evaluate", argument, f"--out={tmp_path}/out")
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and message in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()
