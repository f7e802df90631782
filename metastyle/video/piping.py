"""Frames from standard input to standard output, so that ffmpeg, a camera (v4l2) and OBS can be joined by pipes.

    ffmpeg -i clip.mp4 -f yuv4mpegpipe - | metastyle video --content=- --style_file=x.safetensors --out=- | ffplay -
    ffmpeg -f v4l2 -i /dev/video0 -f rawvideo -pix_fmt rgb24 - | metastyle video --content=- --raw=640x360 --live ...

YUV4MPEG2 (y4m) says its size and rate in its first line; raw frames are RGB, 8 bit, of the size that `raw` says. What
is written has the form of what is read.
"""

import itertools
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from metastyle.errors import InputError
from metastyle.images.clips import HD, Clip, Frame, need_av
from metastyle.system import jax_host, standard_streams
from metastyle.system.signals import StopSignal
from metastyle.video.frames import FrameStylizer, Options, State, scaled, scaled_size
from metastyle.video.look import Look

_EVERY = 2.0  # seconds between two lines of live mode
_LONGEST = 256  # bytes of a header of y4m
_PIXELS = {"420": "yuv420p", "422": "yuv422p", "444": "yuv444p"}  # of y4m; suffixes such as `jpeg` tell sampling points


class Header(NamedTuple):
    """What a stream holds. rate: frames a second. form: the pixel format of y4m, or None for raw RGB."""

    size: tuple[int, int]
    rate: Fraction
    form: str | None

    @property
    def clip(self) -> Clip:
        """The stream as a clip without an end."""
        return Clip("-", self.size, 1 / self.rate, self.rate, 0, None)

    @property
    def bytes(self) -> int:
        """Of a frame."""
        height, width = self.size
        if self.form is None:
            return height * width * 3
        chroma_height = -(-height // 2) if self.form == "yuv420p" else height
        chroma_width = width if self.form == "yuv444p" else -(-width // 2)
        return height * width + 2 * chroma_height * chroma_width


def read_header(stream: BinaryIO, raw: str | None, rate: Fraction) -> Header:
    """The header of y4m, or that of raw frames of the size `raw`, such as "640x360", at a rate.

    Raises InputError for a stream of another kind.
    """
    if raw is not None:
        match = re.fullmatch(r"(\d+)x(\d+)", raw)
        if not match or "0" in match.groups():
            raise InputError(f"`raw`: expected the width and height of frames, such as 640x360, got {raw!r}")
        return Header((int(match[2]), int(match[1])), rate, None)
    line = stream.readline(_LONGEST)
    fields = {word[:1]: word[1:] for word in line.decode("latin-1").split()[1:]}
    form = _PIXELS.get(fields.get("C", "420")[:3])
    try:
        if not line.startswith(b"YUV4MPEG2 ") or form is None or "p1" in fields.get("C", ""):
            raise ValueError
        size = int(fields["H"]), int(fields["W"])
        return Header(size, Fraction(fields["F"].replace(":", "/")), form)
    except (KeyError, ValueError, ZeroDivisionError):
        got = f"{line[:40]!r}" if line else "nothing"
        raise InputError(
            f"`content`: expected a YUV4MPEG2 video of 8 bit on standard input, got {got}; pipe `ffmpeg ... -pix_fmt "
            "yuv420p -f yuv4mpegpipe -` into the command, or raw frames with --raw=640x360"
        ) from None


def read_frames(stream: BinaryIO, header: Header) -> Iterator[Frame]:
    """The frames of a stream after its header. Raises InputError where it breaks off in the middle of one."""
    for number in itertools.count():
        if header.form is not None and not stream.readline(_LONGEST).startswith(b"FRAME"):
            return
        data = stream.read(header.bytes)
        if not data and header.form is None:
            return
        if len(data) < header.bytes:
            raise InputError(f"`content`: standard input ends in the middle of frame {number + 1}")
        yield Frame(_decoded(data, header), number)


def write_header(stream: BinaryIO, header: Header) -> None:
    """Writes the header of y4m; raw frames have none."""
    if header.form is not None:
        height, width = header.size
        rate = f"{header.rate.numerator}:{header.rate.denominator}"
        kind = {"yuv420p": "420jpeg", "yuv422p": "422", "yuv444p": "444"}[header.form]
        stream.write(f"YUV4MPEG2 W{width} H{height} F{rate} Ip A1:1 C{kind}\n".encode())


def write_frame(stream: BinaryIO, picture: np.ndarray, header: Header) -> None:
    """Writes a frame, uint8 [H, W, 3]."""
    if header.form is None:
        stream.write(picture.tobytes())
    else:
        stream.write(b"FRAME\n" + _encoded(picture, header.form))
    stream.flush()


def _decoded(data: bytes, header: Header) -> np.ndarray:
    height, width = header.size
    if header.form is None:
        return np.frombuffer(data, np.uint8).reshape(height, width, 3)
    frame: Any = need_av().VideoFrame(width, height, header.form)
    at = 0
    for plane in frame.planes:
        rows = np.frombuffer(data, np.uint8, plane.width * plane.height, at).reshape(plane.height, plane.width)
        at += rows.size
        whole = np.zeros((plane.height, plane.line_size), np.uint8)
        whole[:, : plane.width] = rows
        plane.update(whole.tobytes())
    return frame.reformat(format="rgb24", src_colorspace=_matrix(height)).to_ndarray()


def _matrix(height: int) -> str:
    """The colours of a stream, which says nothing of them: BT.709 for large video, by custom."""
    return "ITU709" if height >= HD else "ITU601"


def _encoded(picture: np.ndarray, form: str) -> bytes:
    frame: Any = need_av().VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    frame = frame.reformat(format=form, dst_colorspace=_matrix(len(picture)), dst_color_range="MPEG")
    planes = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        planes.append(rows[: plane.height, : plane.width].tobytes())
    return b"".join(planes)


class Newest:
    """The frames of a stream, of which those are dropped that come before they are wanted."""

    def __init__(self, frames: Iterator[Frame]):
        self.dropped = 0
        self._frames, self._there = frames, threading.Condition()
        self._newest: Frame | None = None
        self._error: BaseException | None = None
        self._ended = False
        threading.Thread(target=self._read, name="frames", daemon=True).start()

    def _read(self) -> None:
        try:
            for frame in self._frames:
                with self._there:
                    self.dropped += self._newest is not None
                    self._newest = frame
                    self._there.notify()
        except BaseException as error:
            self._error = error
        with self._there:
            self._ended = True
            self._there.notify()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._there:
                self._there.wait_for(lambda: self._newest is not None or self._ended)
                frame, self._newest = self._newest, None
            if frame is None:
                if self._error is not None:
                    raise self._error
                return
            yield frame


@jax_host.computing()
def stylize_stream(
    look: Callable[[Frame], Look],
    options: Options,
    *,
    raw: str | None = None,
    rate: Fraction = Fraction(25),
    live: bool = False,
    source: BinaryIO | None = None,
    sink: BinaryIO | None = None,
) -> int:
    """Stylises the frames of one stream into another, and returns their number.

    Args:
      look: makes the look, given the first frame.
      raw, rate: see `read_header`.
      live: frames that come while another is being stylised are dropped, and a line on standard error says every two
        seconds how many are shown.
      source, sink: by default standard input and output.

    Raises InputError for a stream that can't be read.
    """
    stream, target = source or sys.stdin.buffer, sink or sys.stdout.buffer
    header = read_header(stream, raw, rate)
    size = scaled_size(header.size, options.size)
    arriving = read_frames(stream, header)
    first = next(arriving, None)
    if first is None:
        raise InputError("`content`: expected frames on standard input, got none; pipe a video into the command")
    chosen, shown = look(first), 0
    frames = itertools.chain([first], arriving)
    newest = Newest(frames) if live else None
    meter = _Meter(newest)
    out = header._replace(size=size)
    with StopSignal() as stop, FrameStylizer(header.clip, chosen, options, size, State()) as work:
        for frame in frames if newest is None else newest:
            picture = work.stylised(frame._replace(pixels=scaled(frame.pixels, size)))
            try:
                if not shown:
                    write_header(target, out)
                write_frame(target, picture, out)
            except BrokenPipeError:
                standard_streams.flush()
                break
            shown += 1
            meter.see(shown)
            if stop.requested:
                break
    return shown


class _Meter:
    """Says every two seconds how many frames a second are shown, in live mode."""

    def __init__(self, newest: Newest | None):
        self._newest, self._since, self._before = newest, time.monotonic(), 0

    def see(self, shown: int) -> None:
        passed = time.monotonic() - self._since
        if self._newest is not None and passed > _EVERY:
            rate = (shown - self._before) / passed
            print(f"{rate:.1f} frames a second, {self._newest.dropped} dropped so far", file=sys.stderr, flush=True)
            self._since, self._before = time.monotonic(), shown
