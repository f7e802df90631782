"""`metastyle video`: adapts to paintings on a clip and stylises it, with the plan said before, and the progress."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from tqdm import tqdm

from metastyle.config import DEFAULT_BUNDLE, VIDEO_STEPS
from metastyle.errors import InputError, shown
from metastyle.images import picture_names
from metastyle.images.clips import Frame, spread
from metastyle.images.codec import Picture
from metastyle.meta import adaptation
from metastyle.stylize import cost, jobs, material, stylizer
from metastyle.stylize.style import Style, check_style_path
from metastyle.system import standard_streams
from metastyle.video import piping, stylizing
from metastyle.video.frames import Options
from metastyle.video.job import Job, Progress
from metastyle.video.look import Look, Weights
from metastyle.video.writing import Output

_FLOW, _ENCODE = 0.6, 0.15  # seconds for a megapixel, on the machine of stylize/cost.py
_THROUGH_PHASES = 2.5  # times as long as through one phase, a step of adaptation takes
_GIB, _GIB_PIXELS = 0.6, 0.5  # of memory, and for a megapixel


@dataclass(frozen=True)
class Source:
    """Where the style comes from: paintings that it is learned from on the clip, or style files.

    save_style: the style file to write, or None.
    """

    paintings: Sequence[str] = ()
    style_files: Sequence[str] = ()
    bundle: str | None = None
    steps: int = VIDEO_STEPS
    weights: Weights | None = None
    mask: str | None = None
    save_style: str | None = None

    def check(self) -> None:
        """Raises InputError or FileNotFoundError unless it is one of both, and the style file can be written."""
        if bool(self.paintings) == bool(self.style_files):
            got = "both" if self.paintings else "neither"
            raise InputError(f"`style`: expected paintings or --style_file, got {got}; pass one of them")
        if self.save_style:
            if not self.paintings:
                raise InputError("`save_style`: expected --style, whose style it writes, got --style_file")
            check_style_path(self.save_style, "save_style")


def stylize_file(content: str, source: Source, output: Output, options: Options, fps: float) -> None:
    """Writes the clip `content` in a style, and prints what it does; after a stop, the same call continues.

    Raises InputError or FileNotFoundError for bad input, before anything is written.
    """
    source.check()
    paintings = picture_names.expand(source.paintings, "style")
    start = stylizer.load(source.bundle or DEFAULT_BUNDLE) if paintings else None
    placeholder = (start.adapt(paintings, steps=0),) if start else _loaded(source)
    job = stylizing.prepare(content, Look(placeholder, source.weights, source.mask), output, options, fps)
    print(_plan(job, source.steps if start else 0), flush=True)

    def learn(state_file: Path) -> Style:
        assert start is not None, "there are paintings"
        frames = spread(job.clip, material.SUPPORT_POOL, options.start, options.end)
        style = _learned(start, paintings, frames, min(job.size), source, options, state_file)
        if source.save_style:
            print(f"wrote {shown(source.save_style)}", flush=True)
        return style

    with tqdm(total=job.count or None, unit="frame", desc="stylising", disable=None) as bar:

        def show(progress: Progress) -> None:
            bar.update(progress.done - bar.n)

        report = job.run(show, learn if start else None)
    for note in report.notes:
        print(note)
    shots = f"{report.shots} shot{'s' if report.shots > 1 else ''}"
    print(f"wrote {shown(output.path)}: {report.frames} frames, {shots}, {cost.duration(report.seconds)}")


def stylize_pipe(source: Source, options: Options, fps: float, raw: str | None, live: bool) -> None:
    """Stylises frames from standard input to standard output (video/piping.py).

    Paintings are learned from on the first frame.
    """
    source.check()
    standard_streams.check_output("out")
    paintings = picture_names.expand(source.paintings, "style")

    def look(first: Frame) -> Look:
        if not paintings:
            return Look(_loaded(source), source.weights, source.mask)
        start = stylizer.load(source.bundle or DEFAULT_BUNDLE)
        size = options.size or min(first.pixels.shape[:2])
        style = _learned(start, paintings, [first.pixels], size, source, options)
        return Look((style,), source.weights, source.mask)

    shown = piping.stylize_stream(look, options, raw=raw, rate=Fraction(fps).limit_denominator(1001), live=live)
    print(f"wrote {shown} frames to standard output", file=sys.stderr)


def _loaded(source: Source) -> tuple[Style, ...]:
    return tuple(jobs.load_styles(source.style_files, source.bundle).values())


def _learned(
    start: stylizer.Stylizer,
    paintings: Sequence[Picture],
    frames: Sequence[np.ndarray],
    size: int,
    source: Source,
    options: Options,
    state_file: Path | None = None,
) -> Style:
    """The style, learned on frames of a clip through the phases; saved, if that is asked for.

    size: px, the shorter side of the output. state_file: as for `Stylizer.adapt`.
    """
    with tqdm(total=source.steps, unit="step", desc="learning the style", disable=None) as bar:

        def show(step: adaptation.Step) -> None:
            bar.update(step.step + 1 - bar.n)

        style = start.adapt(
            paintings,
            steps=source.steps,
            support=frames,
            seed=options.seed,
            output_size=size,
            phases=options.phases,
            on_step=show,
            state_file=state_file,
        )
    if source.save_style:
        style.save(source.save_style, name="save_style")
    return style


def _plan(job: Job, steps: int) -> str:
    """One line: what will be done, how long it takes, and the memory that it needs."""
    height, width = job.size
    pixels, machine = math.prod(job.size) / 1e6, cost.measure()
    recipe = cost.Recipe(steps, job.options.phases)
    work = cost.Work(job.size, (1.0,), 1.0)
    each = cost.STYLIZE * pixels * job.options.phases + (_FLOW * (job.options.stability > 0) + _ENCODE) * pixels
    learning = 0.0
    if steps:
        learning = cost.estimate(work, recipe, machine).seconds * (_THROUGH_PHASES if job.options.phases > 1 else 1.0)
    frames = f"{job.count} frames of {width} x {height} px" if job.count else f"frames of {width} x {height} px"
    how = f"{steps} steps of adaptation, " if steps else ""
    seconds = learning + machine * each * job.count
    total = f"about {cost.duration(seconds)}" if job.count else f"about {cost.duration(machine * each)} for each"
    return f"{frames}: {how}{job.options.phases} phases; {total}; {_GIB + _GIB_PIXELS * pixels:.1f} GiB of memory"
