"""The work on one clip, in segments that are kept, so that it can be stopped, killed and continued."""

import contextlib
import dataclasses
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metastyle.errors import InputError, Stopped
from metastyle.images import codec
from metastyle.images.clips import Clip, Frame
from metastyle.stylize.style import Style
from metastyle.system import files, jax_host, lock, resume
from metastyle.system.signals import StopSignal
from metastyle.video import writing
from metastyle.video.frames import FrameStylizer, Options, State, scaled
from metastyle.video.look import Look
from metastyle.video.writing import Output, Span

SEGMENT = 48  # frames: what is lost, at most, when the work is stopped
_AHEAD = 3  # frames that are read before they are needed


class Progress(NamedTuple):
    """What `on_frame` is called with. done: frames. of: how many there are, 0 where nobody knows.

    picture: the last one, uint8 [H, W, 3].
    """

    done: int
    of: int
    picture: np.ndarray


class VideoReport(NamedTuple):
    """What was done. seconds: that it took. shots: between cuts. notes: what was adjusted, a line each."""

    frames: int
    size: tuple[int, int]
    shots: int
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """A clip that is about to be stylised. size: (height, width) of the frames, px."""

    clip: Clip
    look: Look
    output: Output
    options: Options
    size: tuple[int, int]
    _paths: "_Paths" = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_paths", _Paths(self.output))

    @property
    def count(self) -> int:
        """About how many frames there are to stylise; 0 where nobody knows."""
        seconds = self.clip.seconds
        if not seconds or not self.clip.count:
            return 0
        end = seconds if self.options.end is None else min(self.options.end, seconds)
        return max(1, round(self.clip.count * (end - self.options.start) / seconds))

    @jax_host.computing()
    def run(
        self,
        on_frame: Callable[[Progress], None] | None = None,
        learn: Callable[[Path], Style] | None = None,
    ) -> VideoReport:
        """Does the work, from where it was stopped. Raises errors.Stopped when it is asked to stop.

        learn: makes the style, instead of that of the job, and keeps its state in the file that it is given.
        """
        began = time.perf_counter()
        with lock.beside(self.output.path), _kept_or_removed(self._paths.folder):
            job = self
            if learn is not None:
                look = dataclasses.replace(self.look, styles=(learn(self._paths.folder / "learning"),))
                job = dataclasses.replace(self, look=look)
            return job._run(began, on_frame)

    def _run(self, began: float, on_frame: Callable[[Progress], None] | None) -> VideoReport:
        with StopSignal() as stop:
            state = self._segments(stop, on_frame)
            if state.frames < 2:
                raise InputError(
                    f"`content`: expected at least two frames, got {state.frames} of {self.clip.path!r}; choose "
                    "other times, or use `metastyle stylize` for a picture"
                )
        notes = self._join(state)
        return VideoReport(state.frames, self.size, state.shots, time.perf_counter() - began, tuple(notes))

    def _segments(self, stop: StopSignal, on_frame: Callable[[Progress], None] | None) -> "State":
        """Writes the segments that are missing; the state after the last one."""
        identity = self._identity()
        state = resume.read(self._paths.state, identity, State.from_tensors) or State()
        frames = _ahead(self._frames(state))
        with FrameStylizer(self.clip, self.look, self.options, self.size, state) as work:
            while True:
                done = self._each(itertools.islice(frames, SEGMENT), work, stop, on_frame)
                first = next(done, None)
                if first is None:
                    return work.state
                self._write(itertools.chain([first], done), state.frames)
                if stop.requested:
                    of = self.count or "many"
                    raise Stopped(f"stopped after frame {state.frames} of {of}; the same line continues")
                state = work.state
                resume.write(self._paths.state, identity, state.to_tensors())

    def _each(
        self,
        frames: Iterator[Frame],
        work: FrameStylizer,
        stop: StopSignal,
        on_frame: Callable[[Progress], None] | None,
    ) -> Iterator[Frame]:
        """The frames, stylised; fewer, when the work shall stop."""
        for frame in frames:
            picture = work.stylised(frame)
            if on_frame:
                on_frame(Progress(work.state.frames, self.count, picture))
            yield Frame(picture, frame.pts)
            if stop.requested:
                return

    def _write(self, frames: Iterator[Frame], before: int) -> None:
        """Writes a segment, or pictures, of the frames that follow the first `before` ones."""
        if self.output.is_folder:
            writing.write_pictures(self._paths.folder, frames, before + 1)
        else:
            writing.write_segment(self._paths.segment(before), frames, self.clip, self.output)

    def _frames(self, state: "State") -> Iterator[Frame]:
        """The frames that are left, at the size of the output."""
        start: float | Fraction = self.options.start
        if state.frames:
            start = (state.last + 1 - self.clip.origin) * self.clip.time_base
        for frame in self.clip.frames(start, self.options.end):
            yield frame._replace(pixels=scaled(frame.pixels, self.size))

    def _join(self, state: "State") -> list[str]:
        if self.output.is_folder:
            return _move_pictures(self._paths.folder, Path(self.output.path))
        shift = state.first if self.options.start > 0 else 0
        unit = self.clip.time_base
        end = None if self.options.end is None else self.clip.origin + round(Fraction(self.options.end) / unit)
        return writing.join(self._paths.segments(), self.clip, self.output, Span(shift, end))

    def _identity(self) -> dict[str, Any]:
        """Tells this work from other work, by the names of the arguments."""
        options, mask = self.options, self.look.mask
        return {
            "content": _digest_of(self.clip.path),
            "style": [style.file.sha256[:12] for style in self.look.styles],
            "weights": None if self.look.weights is None else [list(map(str, x)) for x in self.look.weights],
            "mask": _digest_of(mask),
            "out": self.output.suffix,
            "crf": self.output.crf,
            **{name: getattr(options, name) for name in ("stability", "start", "end", "phases", "strength", "color")},
            **{name: getattr(options, name) for name in ("size", "feather", "seed", "backend")},
        }


class _Paths:
    """The files of work in progress, in a folder beside the output."""

    def __init__(self, output: Output):
        path = Path(output.path)
        self.folder = path.with_name(f"{path.name}.parts")
        self.state = self.folder / "state"

    def segment(self, first: int) -> Path:
        """The segment that begins with this frame."""
        return self.folder / f"{first:09d}.nut"

    def segments(self) -> list[Path]:
        """All of them, in order."""
        return sorted(self.folder.glob("*.nut"))


@contextlib.contextmanager
def _kept_or_removed(folder: Path) -> Iterator[None]:
    """Makes the folder of work in progress, which is removed at the end of the work.

    It stays where the same call can go on, after a stop or on a full disk; and where it was there before, whose work a
    call that is refused must not undo.
    """
    begun = folder.is_dir()
    folder.mkdir(exist_ok=True)
    try:
        yield
    except (InputError, FileNotFoundError) as error:
        if not begun and not files.is_disk_full(error):
            shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _ahead(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The same frames, a few of which a thread reads before they are needed."""
    with ThreadPoolExecutor(1, thread_name_prefix="frames") as pool:
        waiting = [pool.submit(next, frames, None) for _ in range(_AHEAD)]
        while (frame := waiting.pop(0).result()) is not None:
            waiting.append(pool.submit(next, frames, None))
            yield frame


def _move_pictures(parts: Path, folder: Path) -> list[str]:
    files.make_folder(folder, "out")
    for path in sorted(parts.glob("*.png")):
        os.replace(path, folder / path.name)
    return []


def _digest_of(source: Any) -> str | None:
    """Stands for a picture, the contents of a file, or the pictures in a folder, in an identity."""
    if source is None:
        return None
    if not isinstance(source, str | os.PathLike):
        return resume.digest(codec.load(source, name="mask")[0])
    path = Path(source)
    return resume.digest_files(sorted(path.iterdir()) if path.is_dir() else [path], "content")
