"""Kills work at random moments, continues it, and compares the bytes: python -m tests.support.kills --what=video

Exit status 1 if what a killed and continued run wrote differs from that of one that was left alone.
"""

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from absl import flags
from tqdm import tqdm

from metastyle.cli.app import run
from metastyle.images import codec
from metastyle.system import files, paths
from tests.support import clips
from tests.support.places import ROOT
from tests.support.styles import picture


class Work(NamedTuple):
    """Work that can be killed. prepare: makes its inputs in a folder. line: the command that writes (folder, name).

    written: the files in what it wrote that are compared; none stands for the file itself.
    """

    prepare: Callable[[Path], object]
    line: Callable[[Path, str], list[str]]
    written: tuple[str, ...] = ()

    def bytes_of(self, path: Path) -> list[bytes]:
        return [(path / name).read_bytes() for name in self.written] or [path.read_bytes()]


def _video(folder: Path, name: str) -> list[str]:
    flags = [f"--content={folder / 'clip.mp4'}", f"--style={paths.demo_pictures('styles')[0]}", "--steps=1"]
    return [sys.executable, "-m", "metastyle.cli.main", "video", *flags, "--phases=1", f"--out={folder / name}.mp4"]


def _adversarial(config: str) -> Callable[[Path, str], list[str]]:
    def line(folder: Path, name: str) -> list[str]:
        domains = f"--config.data.domains=photo:{folder / 'photo'},art:{folder / 'art'}"
        run = [f"--config.run.{setting}" for setting in ("steps=60", "checkpoint_every=5", "picture_every=1000")]
        flags = [f"--config=configs/{config}.py", domains, "--config.data.short=40", "--config.data.size=32", *run]
        return [sys.executable, "-m", "experiments.adversarial_train", *flags, f"--workdir={folder / name}"]

    return line


def _domains(folder: Path) -> None:
    for first, name in enumerate(("photo", "art")):
        (folder / name).mkdir()
        for i in range(12):
            codec.save(folder / name / f"{i}.png", picture(48, 56, 100 * first + i))


WORKS = {
    "video": Work(lambda folder: clips.write(folder / "clip.mp4", clips.frames(120, 96, 128), sound=3.0), _video),
    "gan": Work(_domains, _adversarial("gan"), ("style.safetensors",)),
    "cycle_gan": Work(_domains, _adversarial("cycle_gan"), ("to_art.safetensors", "to_photo.safetensors")),
}
_SUFFIXES = {"video": ".mp4"}

_WHAT = flags.DEFINE_enum("what", "video", list(WORKS), "which work")
_COUNT = flags.DEFINE_integer("count", 10, "how many times", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "of the moments")


def whole(folder: Path, what: str = "video") -> float:
    """Prepares work and does it without a stop; the seconds that this takes, programs compiled."""
    work, began = WORKS[what], 0.0
    work.prepare(folder)
    for _ in range(2):
        _remove(_path(folder, "whole", what))
        began = time.monotonic()
        subprocess.run(work.line(folder, "whole"), cwd=ROOT, check=True, capture_output=True)
    return time.monotonic() - began


def killed_and_continued(folder: Path, moment: float, what: str = "video") -> tuple[bool, bool]:
    """Kills the work after so many seconds and does it again: was it in time, and are the bytes equal?"""
    work, path = WORKS[what], _path(folder, "b", what)
    command = work.line(folder, "b")
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    in_time = process.wait() == -signal.SIGKILL
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    same = work.bytes_of(path) == work.bytes_of(_path(folder, "whole", what))
    _remove(path)
    return in_time, same


def _path(folder: Path, name: str, what: str) -> Path:
    return folder / f"{name}{_SUFFIXES.get(what, '')}"


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def main(_: list[str]) -> int:
    rng, what = random.Random(_SEED.value), _WHAT.value
    with files.temporary_folder() as folder:
        seconds = whole(folder, what)
        moments = [rng.uniform(0, seconds) for _ in range(_COUNT.value)]
        found = [killed_and_continued(folder, moment, what) for moment in tqdm(moments)]
    in_time, same = (sum(column) for column in zip(*found, strict=True))
    print(f"{in_time} of {len(found)} kills came within {seconds:.1f} s; {same} of {len(found)} are equal to the whole")
    return int(same < len(found))


if __name__ == "__main__":
    run(main)
