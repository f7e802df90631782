"""The mains as a user starts them."""

import re
import signal
import subprocess
import sys

import pytest

from metastyle.errors import RETRY
from metastyle.weights import bundles
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
    done = int(re.search(r"stopped after step (\d+) of 100000; the same line continues", out)[1])
    assert not (workdir / "bundle").exists()

    short = f"--config.run.steps={done + 2}"
    status, out, err = end(start(workdir, short))
    assert status == 0, err
    assert f"continued from step {done}" in out and "Traceback" not in err
    assert bundles.load_bundle(workdir / "bundle").config.run.steps == done + 2
    steps = [int(line.split(",")[0]) for line in (workdir / "metrics.csv").read_text().splitlines()[1:]]
    assert steps == list(range(1, done + 3))


def test_every_flag_of_the_evaluation_goes_where_it_belongs():
    code = (
        "from experiments import evaluate as main; from metastyle.evaluate import evaluation, starts\n"
        "starts.load = lambda *given: print(*given) or {}\n"
        "evaluation.run = lambda s, starts, out, part: print(out, part, s.pairs, s.size, s.steps, s.methods, s.vgg,"
        " s.baseline_pairs, s.lpips, s.inception)\n"
        "main.run(main.main)"
    )
    line = (
        "--bundle=x=y --adam_all=a --learn_with=b=c --dtype=d=e --judged=f --backend=g=h --out=o --part=1/3 --vgg=slim "
        "--contents=procedural --styles=procedural --pairs=7 --size=64 --steps=3,0 --methods=style --baseline_pairs=2 "
        "--lpips=l --inception=i"
    )
    done = subprocess.run([sys.executable, "-c", code, *line.split()], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "['x=y'] ['a'] ['b=c'] ['d=e'] ['f'] ['g=h']", "o (1, 3) 7 64 (0, 3) ('style',) slim 2 l i"
    ], done.stderr  # fmt: skip
