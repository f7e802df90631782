"""One frame of a clip after the other: stylised by itself, steadied, and mixed with the clip where a mask says so."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from metastyle.config import BACKENDS, STABILITY
from metastyle.errors import InputError
from metastyle.images import clips, codec, color
from metastyle.images.clips import Clip, Frame
from metastyle.images.resize import resize, short_size
from metastyle.nets import architecture
from metastyle.stylize import transfer
from metastyle.stylize.style import Knobs
from metastyle.system import resume
from metastyle.system.arguments import check_choice, check_count, check_number
from metastyle.video import stability
from metastyle.video.look import Look, region
from metastyle.video.stability import Before


@dataclass(frozen=True)
class Options:
    """How a clip is stylised; `stylize_video` explains it. Raises InputError for a value that is out of range."""

    stability: float = STABILITY
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
        check_choice("backend", self.backend, ("auto", *BACKENDS))
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


class State(NamedTuple):
    """Where the work stands. frames: that are done. first, last: the times of the first and of the last of them.

    before: the last one.
    """

    frames: int = 0
    shots: int = 1
    first: int = 0
    last: int = 0
    before: Before | None = None

    def to_tensors(self) -> resume.Tensors:
        assert self.before is not None, "a state is written after a segment"
        numbers = np.array([self.frames, self.shots, self.first, self.last], np.int64)
        return {"numbers": numbers, "frame": self.before.frame, "shown": self.before.shown}

    @classmethod
    def from_tensors(cls, tensors: resume.Tensors) -> "State":
        frames, shots, first, last = tensors["numbers"].tolist()
        return cls(frames, shots, first, last, Before(tensors["frame"], tensors["shown"]))


class FrameStylizer:
    """Stylises the frames of a clip, one after the other. To be used as a context manager: a thread finds the flow."""

    def __init__(self, clip: Clip, look: Look, options: Options, size: tuple[int, int], state: State):
        """size: (height, width) of the frames, px. state: where to go on."""
        self._clip, self._look, self._options, self.state = clip, look, options, state
        self._knobs = options.knobs(size)
        self._region = region(look.mask, size, options.feather, options.max_pixels)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="flow")

    def __enter__(self) -> "FrameStylizer":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()

    def stylised(self, frame: Frame) -> np.ndarray:
        """The next frame as it is shown, uint8 [H, W, 3]."""
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
        self.state = State(state.frames + 1, shots, first, frame.pts, Before(frame.pixels, shown))
        if self._region is not None:
            shown = content + self._region(seconds)[..., None] * (shown - content)
        return codec.to_uint8(shown)


def scaled_size(size: tuple[int, int], short: int | None) -> tuple[int, int]:
    """The (height, width) of frames whose shorter side is brought to `short` px; None leaves them."""
    return size if short is None else short_size(size, short)


def scaled(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame uint8 [h, w, 3] at this (height, width)."""
    if pixels.shape[:2] == size:
        return pixels
    return codec.to_uint8(resize(clips.floats(pixels), size))
