"""Kills `metastyle video` at random moments, continues it, and compares the bytes: python -m tests.support.kills

Exit status 1 if the video of a killed and continued run differs from that of one that was left alone.
"""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from absl import flags
from tqdm import tqdm

from metastyle.cli.app import run
from metastyle.system import files, paths
from tests.support import clips
from tests.support.places import ROOT

_COUNT = flags.DEFINE_integer("count", 10, "how many times", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "of the moments")
_FRAMES = 120


def line(folder: Path, name: str) -> list[str]:
    """The command that writes the video `name`."""
    flags = [f"--content={folder / 'clip.mp4'}", f"--style={paths.demo_pictures('styles')[0]}", "--steps=1"]
    return [sys.executable, "-m", "metastyle.cli.main", "video", *flags, "--phases=1", f"--out={folder / name}"]


def whole(folder: Path) -> float:
    """Makes a clip, and the video of it without a stop, whole.mp4; the seconds that this takes, programs compiled."""
    clips.write(folder / "clip.mp4", clips.frames(_FRAMES, 96, 128), sound=3.0)
    for _ in range(2):
        began = time.monotonic()
        subprocess.run(line(folder, "whole.mp4"), cwd=ROOT, check=True, capture_output=True)
    return time.monotonic() - began


def killed_and_continued(folder: Path, moment: float) -> tuple[bool, bool]:
    """Kills the command after so many seconds and runs it again: was it in time, and are the bytes equal?"""
    command = line(folder, "b.mp4")
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    in_time = process.wait() == -signal.SIGKILL
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    same = (folder / "b.mp4").read_bytes() == (folder / "whole.mp4").read_bytes()
    (folder / "b.mp4").unlink()
    return in_time, same


def main(_: list[str]) -> int:
    rng = random.Random(_SEED.value)
    with files.temporary_folder() as folder:
        seconds = whole(folder)
        found = [killed_and_continued(folder, rng.uniform(0, seconds)) for _ in tqdm(range(_COUNT.value))]
    in_time, same = (sum(column) for column in zip(*found, strict=True))
    print(f"{in_time} of {len(found)} kills came within {seconds:.1f} s; {same} of {len(found)} videos are equal")
    return int(same < len(found))


if __name__ == "__main__":
    run(main)
