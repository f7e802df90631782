"""A clip in a style, without flicker: `metastyle.stylize_video`, and what `metastyle video` does.

    style = metastyle.load().adapt("painting.jpg", support="clip.mp4", phases=4)
    report = metastyle.stylize_video("clip.mp4", "out.mp4", style)

Frames are read, stylised as the mean over phases (`Knobs`), steadied (video/stability.py) and encoded one by one, so
the memory does not grow with the clip. What is done is kept in segments beside the output (video/writing.py); after a
stop or a kill, the same call goes on from the last one, and the output has the same bytes.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metastyle.errors import InputError, Stopped
from metastyle.images import clips, codec, color
from metastyle.images.clips import Clip, Frame
from metastyle.images.codec import Picture
from metastyle.images.resize import resize_short
from metastyle.nets import architecture
from metastyle.stylize import transfer
from metastyle.stylize.style import Knobs, Style, check_scaled
from metastyle.system import files, jax_host, lock, resume
from metastyle.system.arguments import check_choice, check_count, check_number
from metastyle.system.signals import StopSignal
from metastyle.video import stability, writing
from metastyle.video.look import Look, Weights, region
from metastyle.video.stability import Before
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
class Options:
    """How a clip is stylised; `stylize_video` explains it. Raises InputError for a value that is out of range."""

    stability: float = 0.8
    start: float = 0.0
    end: float | None = None
    phases: int = 4
    strength: float = 1.0
    color: str = "style"
    size: int | None = None
    feather: float | None = None
    seed: int = 0
    backend: str = "auto"
    max_pixels: int = codec.MAX_PIXELS

    def __post_init__(self) -> None:
        check_number("stability", self.stability, 0, 1)
        check_number("start", self.start, 0)
        if self.end is not None:
            check_number("end", self.end, 0)
            if self.end <= self.start:
                raise InputError(f"`end`: expected more than `start`, {self.start:g}, got {self.end:g}")
        if self.size is not None:
            check_count("size", self.size, architecture.MIN_SIDE)
        check_choice("backend", self.backend, ("auto", "jax", "onnx", "onnx-int8"))
        self.knobs((1, 1))

    def knobs(self, size: tuple[int, int]) -> Knobs:
        """How a frame of this (height, width) is stylised by itself."""
        return Knobs(
            strength=self.strength,
            feather=self.feather,
            color=self.color,
            phases=self.phases,
            seed=self.seed,
            backend=transfer.backend_for(size) if self.backend == "auto" else self.backend,
            max_pixels=self.max_pixels,
        )


def stylize_video(
    video: str | os.PathLike,
    out: str | os.PathLike,
    style: Style | Sequence[Style],
    *,
    weights: Weights | None = None,
    mask: Picture | None = None,
    stability: float = 0.8,
    phases: int = 4,
    strength: float = 1.0,
    color: str = "style",
    size: int | None = None,
    start: float = 0.0,
    end: float | None = None,
    fps: float = 25.0,
    feather: float | None = None,
    seed: int = 0,
    backend: str = "auto",
    audio: bool = True,
    crf: int | None = None,
    on_frame: Callable[[Progress], None] | None = None,
) -> VideoReport:
    """Writes a clip in a style.

    Args:
      video: a video file of any kind that FFmpeg reads, or a folder of numbered pictures.
      out: .mp4, .mov, .mkv, .webm, .gif or .webp; any other name is a folder for numbered pictures.
      style: one style, or several of one bundle that `weights` mixes.
      weights: pairs of a time in seconds and the weights of the styles then, interpolated between.
      mask: a picture or a clip, white where the style goes, black where the frame stays, grey in between.
      stability: from 0 to 1; 0 stylises frame by frame, and more lets each frame follow the one before.
      phases: 1, 4 or 16 (`Knobs`); 1 is faster and flickers where things move.
      strength, color, feather, seed: as for `Style.stylize`.
      size: px, the shorter side of the output; by default that of the clip.
      start, end: seconds; what lies between them is written.
      fps: frames a second, of a folder of pictures.
      backend: "jax", "onnx" or "onnx-int8"; "auto" takes onnxruntime on CPUs, where it is installed.
      audio: whether the sound is copied; where the format of `out` does not take it, it is encoded again.
      crf: the encoder's constant rate factor, smaller is better; by default 18 for H.264, 24 for VP9.
      on_frame: is called after each frame.

    Frames keep their times, and H.264 gets an even width and height by repeating the last column and row. After a kill
    the same call continues. Needs PyAV and OpenCV: pip install "metastyle[video]".

    Raises InputError or FileNotFoundError, in one line, for bad input.
    """
    options = Options(stability, start, end, phases, strength, color, size, feather, seed, backend, codec.MAX_PIXELS)
    styles = (style,) if isinstance(style, Style) else tuple(style)
    job = prepare(video, Look(styles, weights, mask), Output(os.fspath(out), crf, audio), options, fps)
    return job.run(on_frame)


def prepare(video: str | os.PathLike, look: Look, output: Output, options: Options, fps: float = 25.0) -> "Job":
    """Reads the beginning of a clip, and checks everything that can be checked.

    Raises InputError or FileNotFoundError for bad input.
    """
    look.check()
    check_number("fps", fps, 1e-3)
    clip = clips.describe(video, fps=Fraction(fps).limit_denominator(1001))
    if clip.seconds and options.start >= clip.seconds:
        raise InputError(
            f"`start`: expected less than the length of the clip, {clip.seconds:.2f} s, got {options.start:g}"
        )
    if options.size is not None:
        check_scaled(clip.size, options.size, options.max_pixels, "size")
    size = scaled_size(clip.size, options.size)
    architecture.check_size(*size, least=max(architecture.parse(x.config.generator.arch).min_side for x in look.styles))
    region(look.mask, size, options.feather, options.max_pixels)
    if not output.is_folder:
        files.check_output(output.path, suffixes=writing.SUFFIXES, name="out", inputs=(video, look.mask))
    else:
        files.check_new_folder(output.path, "out")
    return Job(clip, look, output, options, size)


def scaled_size(size: tuple[int, int], short: int | None) -> tuple[int, int]:
    """The (height, width) of frames whose shorter side is brought to `short` px; None leaves them."""
    if short is None or short == min(size):
        return size
    height, width = size
    scale = short / min(size)
    return (short, round(width * scale)) if height <= width else (round(height * scale), short)


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

    def _segments(self, stop: StopSignal, on_frame: Callable[[Progress], None] | None) -> "_State":
        """Writes the segments that are missing; the state after the last one."""
        identity = self._identity()
        state = resume.read(self._paths.state, identity, _State.from_tensors) or _State(0, 1, 0, 0, None)
        frames = _ahead(self._frames(state))
        work = _Work(self, state)
        while True:
            done = work.each(frames, SEGMENT, stop, on_frame, self.count)
            first = next(done, None)
            if first is None:
                return work.state
            done = itertools.chain([first], done)
            if self.output.is_folder:
                writing.write_pictures(self._paths.folder, done, state.frames + 1)
            else:
                writing.write_segment(self._paths.segment(state.frames), done, self.clip, self.output)
            if stop.requested:
                raise Stopped(f"stopped after frame {state.frames} of {self.count or 'many'}; the same line continues")
            state = work.state
            resume.write(self._paths.state, identity, state.to_tensors())

    def _frames(self, state: "_State") -> Iterator[Frame]:
        """The frames that are left, at the size of the output."""
        start: float | Fraction = self.options.start
        if state.frames:
            start = (state.last + 1 - self.clip.origin) * self.clip.time_base
        for frame in self.clip.frames(start, self.options.end):
            yield frame._replace(pixels=_scaled(frame.pixels, self.size))

    def _join(self, state: "_State") -> list[str]:
        if self.output.is_folder:
            return _move_pictures(self._paths.folder, Path(self.output.path))
        first = state.first if self.options.start > 0 else 0
        unit = self.clip.time_base
        end = None if self.options.end is None else self.clip.origin + round(Fraction(self.options.end) / unit)
        span = Span(state.first, end, first)
        return writing.join(self._paths.segments(), self.clip, self.output, span)

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


class _State(NamedTuple):
    """Where the work stands. frames: that are done. first, last: the times of the first and of the last of them."""

    frames: int
    shots: int
    first: int
    last: int
    before: Before | None

    def to_tensors(self) -> resume.Tensors:
        assert self.before is not None, "a state is written after a segment"
        numbers = np.array([self.frames, self.shots, self.first, self.last], np.int64)
        return {"numbers": numbers, "frame": self.before.frame, "shown": self.before.shown}

    @classmethod
    def from_tensors(cls, tensors: resume.Tensors) -> "_State":
        frames, shots, first, last = tensors["numbers"].tolist()
        return cls(frames, shots, first, last, Before(tensors["frame"], tensors["shown"]))


class _Work:
    """Stylises frame after frame."""

    def __init__(self, job: Job, state: _State):
        self._look, self._options, self._clip, self.state = job.look, job.options, job.clip, state
        self._knobs = job.options.knobs(job.size)
        self._region = region(job.look.mask, job.size, job.options.feather, job.options.max_pixels)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="flow")

    def each(
        self,
        frames: Iterator[Frame],
        count: int,
        stop: StopSignal,
        on_frame: Callable[[Progress], None] | None,
        of: int,
    ) -> Iterator[Frame]:
        """The next `count` frames, stylised; fewer at the end, or when the work shall stop."""
        for frame in itertools.islice(frames, count):
            picture = self._stylised(frame)
            if on_frame:
                on_frame(Progress(self.state.frames, of, picture))
            yield Frame(picture, frame.pts)
            if stop.requested:
                return

    def _stylised(self, frame: Frame) -> np.ndarray:
        state, amount = self.state, self._options.stability
        compared = None
        if state.before is not None and amount > 0:
            compared = self._pool.submit(stability.motion, frame.pixels, state.before.frame)
        seconds = self._clip.seconds_of(frame)
        content = clips.floats(frame.pixels)
        shown = color.transfer(self._options.color, self._look.at(seconds).apply(content, self._knobs), content)
        shots = state.shots
        if compared is not None and state.before is not None:
            found = compared.result()
            shown = stability.steadied(shown, state.before.shown, found, amount)
            shots += found.cut
        first = frame.pts if state.frames == 0 else state.first
        self.state = _State(state.frames + 1, shots, first, frame.pts, Before(frame.pixels, shown))
        if self._region is not None:
            shown = content + self._region(seconds)[..., None] * (shown - content)
        return codec.to_uint8(shown)


@contextlib.contextmanager
def _kept_or_removed(folder: Path) -> Iterator[None]:
    """Makes the folder of work in progress; it stays where the same call can go on, after a stop or on a full disk."""
    folder.mkdir(exist_ok=True)
    try:
        yield
    except (InputError, FileNotFoundError) as error:
        if not files.is_disk_full(error):
            shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _scaled(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if pixels.shape[:2] == size:
        return pixels
    return codec.to_uint8(resize_short(clips.floats(pixels), min(size)))


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
    found, path = hashlib.sha256(), Path(source)
    for one in sorted(path.iterdir()) if path.is_dir() else [path]:
        with files.open_input(one, "content") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{found.hexdigest()[:12]}"
