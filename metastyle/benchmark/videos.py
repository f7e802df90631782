"""Frames a second and memory of `metastyle.stylize_video`, for clips of ten seconds and of ten minutes.

python -m metastyle.benchmark.videos PHASES FRAMES RATE     (a process of its own for each measurement)
"""

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np

import metastyle
from metastyle.benchmark import Numbers
from metastyle.images import codec
from metastyle.images.clips import Frame
from metastyle.images.resize import resize_short
from metastyle.system import compile_cache, files, memory, paths
from metastyle.system.machine import run_module
from metastyle.video import writing

_HEIGHT, _WIDTH = 360, 640  # px
CASES = ((4, 250, 25), (1, 250, 25), (1, 3000, 5))  # phases, frames, frames a second of the clip


def measure_videos(cases: Sequence[tuple[int, int, int]] = CASES) -> Numbers:
    """Stylises clips of 640 x 360 px, over a photograph of which a camera moves.

    The clip of ten minutes has five frames a second. The frames a second count from the beginning of the call to its
    end, without the time before the first frame is there, in which programs are compiled.
    """
    out: dict[str, float | str] = {}
    for phases, frames, rate in cases:
        found = run_module(__name__, *map(str, (phases, frames, rate)))
        out |= {f"{phases} phases, {frames / rate:g} s, {frames} frames: {key}": value for key, value in found.items()}
    return out


def measure(phases: int, count: int, rate: int) -> Numbers:
    """Stylises one clip in this process."""
    compile_cache.enable_compile_cache()
    style = metastyle.load().adapt(str(paths.demo_pictures("styles")[0]), steps=0, phases=phases)
    times: list[float] = []
    with files.temporary_folder() as folder:
        clip = folder / "clip.mp4"
        writing.write_clip(clip, _frames(count), (_HEIGHT, _WIDTH), rate)
        began = memory.peak() / 2**30
        report = metastyle.stylize_video(
            clip, folder / "out.mp4", style, phases=phases, on_frame=lambda _: times.append(time.perf_counter())
        )
    assert report.frames == count, f"{report.frames} of {count} frames were written"
    return {
        "frames a second": (count - 1) / (times[-1] - times[0]),
        "peak memory, GiB": memory.peak() / 2**30,
        "before the first frame, GiB": began,
    }


def _frames(count: int) -> Iterator[Frame]:
    """A photograph over which a camera goes on a circle."""
    photograph = codec.load(paths.demo_pictures("photos")[0])[0]
    scale = 1.5 * max(_HEIGHT / photograph.shape[0], _WIDTH / photograph.shape[1])
    wide = codec.to_uint8(resize_short(photograph, round(scale * min(photograph.shape[:2]))))
    room = np.array(wide.shape[:2]) - (_HEIGHT, _WIDTH)
    for t in range(count):
        angle = 2 * math.pi * t / 250
        y, x = (room * (0.5 + 0.45 * np.array([math.sin(angle), math.cos(angle)]))).round().astype(int)
        yield Frame(wide[y : y + _HEIGHT, x : x + _WIDTH], t)


if __name__ == "__main__":
    print(json.dumps(measure(*map(int, sys.argv[1:]))))
