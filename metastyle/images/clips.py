"""Reads clips: video files of any container and codec that PyAV (FFmpeg) reads, and folders of numbered pictures.

Frames are uint8 [H, W, 3] in sRGB, turned upright as players turn them. Their times are those of the file, as whole
numbers of its own unit, so that clips of variable frame rate keep them exactly.
"""

import collections
import contextlib
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from metastyle.errors import InputError, reason
from metastyle.images import codec, formats
from metastyle.images.resize import resize
from metastyle.system import files
from metastyle.system.optional import need

_SUFFIXES = frozenset(  # of files that are taken for videos where pictures are read, too
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".ogv", ".wmv", ".flv", ".y4m")
)
HD = 720  # rows: untagged video of at least so many is BT.709 by custom, and BT.601 below
_UNTAGGED = 2  # AVCOL_SPC_UNSPECIFIED
_HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics, ITU-T H.273
_SHARE, _SLACK = 0.9, 1.0  # a file whose pictures end before this share of its length, and so many s before, is cut off
_LOOKS, _OTHER = 5, 0.1  # looks at a clip for each frame that is chosen; the difference of colours in another shot
_NUMBER = re.compile(r"(\d+)\.[^.]+$")  # of a frame in a folder


class Frame(NamedTuple):
    """A picture uint8 [H, W, 3], and its time in units of the clip's `time_base`."""

    pixels: np.ndarray
    pts: int


@dataclass(frozen=True)
class Clip:
    """A clip that can be read. Paths stay paths: `frames` opens the file again.

    size: (height, width) of upright frames, px. time_base: seconds, the unit of times. rate: frames a second, the mean.
    count: about how many frames there are; 0 where nobody knows. seconds: the length, or None. origin: the time at
    which the clip begins. aspect: width over height of a pixel. folder: whether it is a folder of pictures.
    """

    path: str
    size: tuple[int, int]
    time_base: Fraction
    rate: Fraction
    count: int
    seconds: float | None
    origin: int = 0
    aspect: Fraction = Fraction(1)
    audio: bool = False
    folder: bool = False
    name: str = "content"

    def frames(self, start: float | Fraction = 0.0, end: float | None = None) -> Iterator[Frame]:
        """The frames from `start` to `end` (not included), in seconds from the beginning of the clip.

        Raises InputError where the clip is damaged, cut off, or changes its size.
        """
        return _pictures(self, start, end) if self.folder else _decoded(self, start, end)

    def seconds_of(self, frame: Frame) -> float:
        """When a frame is shown, from the beginning of the clip."""
        return float((frame.pts - self.origin) * self.time_base)

    def at(self, seconds: float) -> Frame:
        """The first frame at this time or after it; the last one, if there is none."""
        found = next(self.frames(start=seconds), None)
        return found or collections.deque(self.frames(), maxlen=1)[0]


def is_video(picture: object) -> TypeGuard[str | os.PathLike]:
    """Whether it is the path of a video file, by its suffix, rather than a picture."""
    return isinstance(picture, str | os.PathLike) and Path(picture).suffix.lower() in _SUFFIXES


def is_clip(picture: object) -> TypeGuard[str | os.PathLike]:
    """Whether it is the path of a video file, or of a folder of pictures, rather than a picture."""
    return is_video(picture) or (isinstance(picture, str | os.PathLike) and os.path.isdir(picture))


def describe(path: str | os.PathLike, *, fps: Fraction = Fraction(25), name: str = "content") -> Clip:
    """Opens a clip and reads its first frame.

    Args:
      path: a video file, or a folder of pictures whose names end in numbers without a gap.
      fps: frames a second, of a folder.
      name: the argument that errors name.

    Raises FileNotFoundError, or InputError for what is no clip that can be read.
    """
    path = os.fspath(path)
    if files.is_folder(path, name):
        return _describe_folder(path, fps, name)
    files.open_input(path, name, "video").close()
    with _opened(path, name) as container:
        stream = _video_stream(container, path, name)
        first = next(_decode(container, stream, path, name), None)
        if first is None:
            raise InputError(f"`{name}`: expected a video, got {path!r}, in which there is no picture; name another")
        pixels = _upright(first, path, name)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        seconds = _length(container, stream)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        return Clip(
            path=path,
            size=(pixels.shape[0], pixels.shape[1]),
            time_base=stream.time_base,
            rate=rate,
            count=stream.frames or round(float(rate) * (seconds or 0.0)),
            seconds=seconds,
            origin=stream.start_time or 0,
            aspect=1 / aspect if first.rotation % 180 else aspect,
            audio=bool(container.streams.audio),
            name=name,
        )


def floats(pixels: np.ndarray) -> np.ndarray:
    """A frame uint8 [H, W, 3] as f32[H, W, 3] in [0, 1]."""
    return pixels.astype(np.float32) / 255


def spread(clip: Clip, count: int, start: float = 0.0, end: float | None = None) -> list[np.ndarray]:
    """At most `count` frames, uint8 [H, W, 3], spread over each shot between two times, as for `Clip.frames`.

    Long shots have more frames than short ones. Shots are told apart by frames at 5 * count times, so one that is
    shorter than the time between these may be left out.
    """
    last = clip.seconds if end is None else end
    if last is None or last <= start:
        last = start + max((float(frame.pts * clip.time_base) for frame in clip.frames(start)), default=0.0)
    times = start + (last - start) * (np.arange(_LOOKS * count) + 0.5) / (_LOOKS * count)
    small = [_small(clip.at(float(time)).pixels) for time in times]
    cuts = [i for i in range(1, len(times)) if np.abs(small[i] - small[i - 1]).mean() > _OTHER]
    shots = np.split(times, cuts)
    chosen = [
        shot[int((k + 0.5) / share * len(shot))]
        for shot, share in zip(shots, _shares([len(shot) for shot in shots], count), strict=True)
        for k in range(share)
    ]
    found = {frame.pts: frame.pixels for frame in (clip.at(float(time)) for time in chosen)}
    return [found[pts] for pts in sorted(found)]


def _small(pixels: np.ndarray) -> np.ndarray:
    """The colours of a frame in 8 x 8 places, which hardly change unless another shot begins: f32[8, 8, 3]."""
    return resize(floats(pixels), (8, 8))


def _shares(lengths: list[int], count: int) -> list[int]:
    """Divides `count` among shots: one for each, from the longest on, and the rest by length (Adams's method)."""
    shares = [0] * len(lengths)
    for _ in range(min(count, sum(lengths))):
        i = max(range(len(lengths)), key=lambda i: (shares[i] == 0, lengths[i] / max(1, shares[i])))
        shares[i] += 1
    return shares


def need_av(name: str = "content") -> ModuleType:
    """PyAV. Raises InputError where it is not installed."""
    return need("av", f"`{name}`: a video")


@contextlib.contextmanager
def _opened(path: str, name: str) -> Iterator[Any]:
    av = need_av(name)
    try:
        with av.open(path) as container:
            yield container
    except av.error.FFmpegError as error:
        raise InputError(f"`{name}`: expected a video, got {path!r} ({reason(error)}); name another") from None


def _video_stream(container: Any, path: str, name: str) -> Any:
    cover = need_av(name).stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & cover:  # the picture of an album is no video
            stream.thread_type = "AUTO"
            return stream
    kinds = sorted({"a cover" if stream.type == "video" else stream.type for stream in container.streams})
    found = f"only {' and '.join(kinds)}" if kinds else "nothing"
    raise InputError(f"`{name}`: expected a video, got {path!r} with {found} in it; name another")


def _length(container: Any, stream: Any) -> float | None:
    """The seconds that the pictures last; where the file says it for all its streams only, those may be fewer."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    with contextlib.suppress(KeyError, ValueError):  # as Matroska has it, such as 00:00:05.280000000
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    if container.duration is None or container.streams.audio:
        return None
    return container.duration / 1e6


def _decode(container: Any, stream: Any, path: str, name: str) -> Iterator[Any]:
    av = need_av(name)
    frames = container.decode(stream)
    while True:
        try:
            frame = next(frames, None)
        except av.error.FFmpegError as error:
            raise InputError(f"`{name}`: {path!r} is damaged ({reason(error)}); cut it with --end") from None
        if frame is None:
            return
        if frame.pts is None:
            raise InputError(f"`{name}`: {path!r} has frames without a time; convert it to mp4 first")
        yield frame


def _upright(frame: Any, path: str, name: str) -> np.ndarray:
    """The frame's colours in sRGB, uint8 [H, W, 3], turned as its rotation says."""
    if frame.color_trc in _HDR:
        kind = _HDR[frame.color_trc]
        raise InputError(f"`{name}`: expected a video of standard range, got {path!r} in HDR ({kind}); convert it")
    if any(component.is_alpha for component in frame.format.components):
        pixels = frame.to_ndarray(format="rgba")
        if (pixels[..., 3] < 255).any():
            raise InputError(f"`{name}`: expected an opaque video, got {path!r} with transparency; flatten it")
        pixels = pixels[..., :3]
    elif frame.colorspace == _UNTAGGED and frame.height >= HD:
        pixels = frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
    else:
        pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _decoded(clip: Clip, start: float | Fraction, end: float | None) -> Iterator[Frame]:
    name, path = clip.name, clip.path
    with _opened(path, name) as container:
        stream = _video_stream(container, path, name)
        origin = clip.origin
        first, last = (None if s is None else origin + math.ceil(_exact(s) / clip.time_base) for s in (start, end))
        assert first is not None
        if start > 0:
            with contextlib.suppress(need_av(name).error.FFmpegError):
                container.seek(first, stream=stream)
        time, ended = origin, True
        for frame in _decode(container, stream, path, name):
            time = frame.pts
            if last is not None and time >= last:
                ended = False
                break
            if time < first:
                continue
            pixels = _upright(frame, path, name)
            if pixels.shape[:2] != clip.size:
                (height, width), (h, w) = clip.size, pixels.shape[:2]
                raise InputError(
                    f"`{name}`: expected frames of one size, got {width} x {height} px and then {w} x {h} in {path!r}; "
                    "cut it into clips of one size"
                )
            yield Frame(pixels, time)
        if ended:
            _check_end(clip, float((time - origin) * clip.time_base))


def _exact(seconds: float | Fraction) -> Fraction:
    """A time as it was meant: 0.08 is 2/25, and not what float64 has for it."""
    return seconds if isinstance(seconds, Fraction) else Fraction(seconds).limit_denominator(1_000_000)


def _check_end(clip: Clip, time: float) -> None:
    """Raises InputError if the last frame, at this time, comes long before the length that the file says."""
    length = clip.seconds or 0.0
    if time < _SHARE * length and time < length - _SLACK:
        raise InputError(
            f"`{clip.name}`: {clip.path!r} is cut off: its pictures end after {time:.1f} of {length:.1f} s; pass "
            f"--end={time:.1f}, or a whole file"
        )


# Folders of pictures


def _describe_folder(path: str, fps: Fraction, name: str) -> Clip:
    found = _numbered(path, name)
    if not found:
        raise InputError(f"`{name}`: expected pictures such as 0001.png in the folder {path!r}, got none; name another")
    first, last = min(found), max(found)
    for number in range(first, last):
        if number not in found:
            raise InputError(
                f"`{name}`: expected a picture for each frame in {path!r}, got none of number {number} between {first} "
                f"and {last}; add it, or number the frames anew"
            )
    picture, _ = codec.load(found[first], name=name)
    seconds = float(len(found) / fps)
    return Clip(path, (picture.shape[0], picture.shape[1]), 1 / fps, fps, len(found), seconds, folder=True, name=name)


def _numbered(folder: str, name: str) -> dict[int, str]:
    """The paths of the pictures in a folder, by the numbers that their names end in."""
    found: dict[int, str] = {}
    suffixes = formats.suffixes()
    with files.blaming(name):
        paths = sorted(Path(folder).iterdir())
    for path in paths:
        match = _NUMBER.search(path.name)
        if match and path.suffix.lower() in suffixes:
            number = int(match[1])
            if number in found:
                raise InputError(
                    f"`{name}`: expected one picture for each frame in {folder!r}, got two of number {number}, "
                    f"{Path(found[number]).name} and {path.name}; remove one"
                )
            found[number] = str(path)
    return found


def _pictures(clip: Clip, start: float | Fraction, end: float | None) -> Iterator[Frame]:
    numbered = _numbered(clip.path, clip.name)
    for pts, number in enumerate(sorted(numbered)):
        time = pts * clip.time_base
        if time < _exact(start) or (end is not None and time >= _exact(end)):
            continue
        picture, alpha = codec.load(numbered[number], name=clip.name)
        if picture.shape[:2] != clip.size:
            (height, width), (h, w) = clip.size, picture.shape[:2]
            raise InputError(
                f"`{clip.name}`: expected frames of one size, got {width} x {height} px and {w} x {h} in "
                f"{numbered[number]!r}; resize them"
            )
        if alpha is not None:
            raise InputError(f"`{clip.name}`: expected opaque frames, got {numbered[number]!r} with transparency")
        yield Frame(codec.to_uint8(picture), pts)
