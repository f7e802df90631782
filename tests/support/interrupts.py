"""Interrupts a command at random moments, from its start to its end, and says in a table how it ended.

python -m tests.support.interrupts --command=adapt --count=100     (count x the time of the command, at most)

Exit status 1 if an interrupt was lost, or the command ended late, by a signal, with a traceback, without its one line,
or left a file behind. Every second start has a cold compile cache. Moments before the program's first statement, when
Python itself is starting, are counted apart: nothing in the program can answer them.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from absl import flags
from tqdm import tqdm

from metastyle.cli.app import run
from metastyle.errors import RETRY
from metastyle.system import files, paths, signals
from tests.support import heard_signals
from tests.support.places import ROOT

BOUND = 2.0  # seconds in which a command ends
_MARGIN = 0.3  # seconds that a busy machine may take to start this program's own look at it
_LINES = ("interrupted", "terminated", "stopped")
_PHOTOGRAPH, _PAINTING = (paths.demo_pictures(kind)[0] for kind in ("photos", "styles"))
_TINY = (
    "experiments.meta_train",
    "--config=configs/tiny_cpu.py",
    "--config.vgg=random",
    "--config.data.size=16",
    "--config.inner.steps=1",
    "--config.generator.arch=c3s1-4,c3s1-3",
    "--config.run.steps=40",
    "--config.run.checkpoint_every=5",
    "--workdir={0}/run",
)
_METASTYLE = "metastyle.cli.main"
COMMANDS = {
    "adapt": (_METASTYLE, "adapt", f"--style={_PAINTING}", "--steps=30", "--out={0}/a.safetensors"),
    "stylize": (_METASTYLE, "stylize", "--style_file={1}", f"--content={_PHOTOGRAPH.parent}", "--out={0}/out"),
    "transfer": (_METASTYLE, "transfer", f"{_PHOTOGRAPH}", f"{_PAINTING}", "--size=96", "--out={0}/a.png"),
    "meta_train": _TINY,
    "prepare_data": ("experiments.prepare_data", f"--folder={_PHOTOGRAPH.parent}", "--out={0}/set"),
    "gatys": (
        "experiments.gatys",
        f"--content={_PHOTOGRAPH}",
        f"--style={_PAINTING}",
        "--size=64",
        "--vgg=slim",
        "--iterations=60",
        "--out={0}/a.png",
    ),
    "evaluate": (
        "experiments.evaluate",
        f"--config.contents={_PHOTOGRAPH.parent}",
        f"--config.styles={_PAINTING.parent}",
        "--config.pairs=1",
        "--config.size=64",
        "--config.steps=0,1",
        "--config.methods=identity",
        "--config.vgg=slim",
        "--bundle=ours=default",
        "--out={0}/report",
    ),
    "benchmark": ("experiments.benchmark", "--only=loss", "--json={0}/a.json"),
}

_COMMAND = flags.DEFINE_enum("command", "adapt", COMMANDS, "what is interrupted")
_COUNT = flags.DEFINE_integer("count", 100, "how many times", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "of the moments")


class Ending(NamedTuple):
    """How a command ended: its status, seconds after the signal, and what is wrong with it, if anything."""

    begun: bool  # whether the program's first statement was done when the signal came
    status: int
    seconds: float
    wrong: str


def interrupt(name: str, folder: Path, style: Path, moment: float, number: int, cache: Path) -> Ending | None:
    """Starts the command in `folder` and sends the signal `number` after `moment` seconds; None if it had ended."""
    module, *given = COMMANDS[name]
    line = [sys.executable, "-m", module, *(text.format(folder, style) for text in given)]
    environment = os.environ | {"METASTYLE_CACHE": str(cache)}
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(line, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
    with signals.at_end(process.kill):
        time.sleep(moment)
        if process.poll() is not None:
            return None
        begun, sent = _answers(process.pid, number), time.monotonic()
        process.send_signal(number)
        try:
            status = process.wait(timeout=20 if number else 600)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
        seconds = time.monotonic() - sent
    return Ending(begun, status, seconds, _wrong(folder, status, seconds, number) if begun else "")


def _answers(pid: int, number: int) -> bool:
    """Whether the process handles the signal: for SIGINT, which Python handles, as soon as it handles SIGTERM."""
    caught = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def _wrong(folder: Path, status: int, seconds: float, number: int) -> str:
    text = (folder / "log").read_text()
    lines = [line for line in text.splitlines() if line.startswith(_LINES)]
    left = list(folder.rglob(".*"))
    if seconds > 15:
        return "lost"
    if status < 0:
        return f"died by signal {-status}"
    if "Traceback" in text:
        return "traceback"
    if status not in (0, RETRY, 128 + number):
        return f"status {status}"
    if seconds > BOUND + _MARGIN:
        return "late"
    if status and len(lines) != 1:
        return f"{len(lines)} lines"
    return f"left {left[0].name}" if left else ""


def main(_: list[str]) -> int:
    heard_signals.hear()
    rng, name, endings = random.Random(_SEED.value), _COMMAND.value, list[Ending]()
    with files.temporary_folder() as root:
        style, warm = root / "style.safetensors", root / "cache"
        subprocess.run(
            [sys.executable, "-m", _METASTYLE, "adapt", f"--style={_PAINTING}", "--steps=0", f"--out={style}"],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"METASTYLE_CACHE": str(warm)},
        )
        lengths = [_length(name, root / text, style, warm) for text in ("filling the cache", "warm")]
        for i in tqdm(range(_COUNT.value), unit="interrupt"):
            folder = root / f"{i}"
            folder.mkdir()
            number = (signal.SIGINT, signal.SIGTERM)[i // 2 % 2]
            cache = warm if i % 2 else root / f"cold_{i}"
            ending = interrupt(name, folder, style, rng.uniform(0, lengths[i % 2]), number, cache)
            if ending:
                endings.append(ending)
                if ending.wrong:
                    print(f"{ending.wrong}: {(folder / 'log').read_text()[-800:]}", file=sys.stderr)
    print(_table(name, lengths, endings))
    return 1 if any(ending.wrong for ending in endings) else 0


def _length(name: str, folder: Path, style: Path, cache: Path) -> float:
    """The seconds that the command takes where nobody interrupts it."""
    folder.mkdir()
    began = time.monotonic()
    interrupt(name, folder, style, 0, 0, cache)  # signal 0 does nothing
    return time.monotonic() - began


def _table(name: str, lengths: list[float], endings: list[Ending]) -> str:
    begun = [ending for ending in endings if ending.begun]
    statuses = {s: sum(ending.status == s for ending in begun) for s in sorted({x.status for x in begun})}
    slowest = max((ending.seconds for ending in begun), default=0.0)
    wrong = [ending.wrong for ending in begun if ending.wrong]
    return (
        f"{name} ({lengths[0]:.1f} s, {lengths[1]:.1f} s warm): {len(endings)} of {_COUNT.value} came before its end, "
        f"{len(endings) - len(begun)} of them while Python started; statuses {statuses}; slowest {slowest:.2f} s; "
        f"wrong: {', '.join(wrong) or 'none'}"
    )


if __name__ == "__main__":
    run(main)
