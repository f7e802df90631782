"""Writes clips: frames are encoded in segments, each a file of its own, and joined without being encoded again.

A segment is written whole or not at all, and begins with a key frame, so that work that was stopped goes on after the
last one, and the file that is joined at the end has the same bytes as without a stop. Segments are NUT files, which
keep any unit of time; those of animated pictures are lossless, and the pictures are encoded when they are joined.
"""

import contextlib
import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from metastyle.errors import InputError, reason
from metastyle.images import codec
from metastyle.images.clips import Clip, Frame, need_av
from metastyle.system import files
from metastyle.system.arguments import check_count

_BT709, _LIMITED = 1, 1  # ITU-T H.273
_THREADS = "4"  # of x264, whose bytes depend on their number
_TIMESCALE = "14112000"  # a second, of MP4's edit lists: a multiple of 44,100 and 48,000, so that sound begins exactly
_AUDIO_RATE = 48_000  # Hz, of sound that is encoded again: Opus takes no 44,100


class Format(NamedTuple):
    """What frames are encoded with: encoder, pixel format, options. options may name {crf}."""

    encoder: str
    pixels: str
    options: dict[str, str]


# Without B-frames, frames are decoded in the order in which they are shown, so that segments can be joined.
_H264 = Format("libx264", "yuv420p", {"crf": "{crf}", "bf": "0", "preset": "medium", "threads": _THREADS})
_VP9 = Format("libvpx-vp9", "yuv420p", {"crf": "{crf}", "b": "0", "row-mt": "1", "cpu-used": "4", "auto-alt-ref": "0"})
_LOSSLESS = Format("ffv1", "bgr0", {})
_VIDEOS = {".mp4": _H264, ".mov": _H264, ".mkv": _H264, ".webm": _VP9}
_ANIMATIONS = {".gif": "GIF", ".webp": "WEBP"}
SUFFIXES = (*_VIDEOS, *_ANIMATIONS)
_CRF = {"libx264": 18, "libvpx-vp9": 24}  # constant rate factor: the quality, smaller is better
_MOST_CRF = {"libx264": 51, "libvpx-vp9": 63}


@dataclass(frozen=True)
class Output:
    """Where a clip is written, and how.

    path: a file with one of SUFFIXES, or a folder, which has no suffix, for pictures 000001.png and so on. crf: of the
    encoder, None for its default here. audio: whether the sound is kept.

    Raises InputError for a crf that is out of range.
    """

    path: str
    crf: int | None = None
    audio: bool = True

    def __post_init__(self) -> None:
        if self.crf is not None:
            check_count("crf", self.crf, 0, _MOST_CRF.get(self.format.encoder, 63))

    @property
    def suffix(self) -> str:
        return Path(self.path).suffix.lower()

    @property
    def is_folder(self) -> bool:
        return not self.suffix or files.is_folder(self.path, "out")

    @property
    def format(self) -> Format:
        """What its segments are encoded with."""
        form = _VIDEOS.get(self.suffix, _LOSSLESS)
        crf = _CRF.get(form.encoder, 0) if self.crf is None else self.crf
        return form._replace(options={key: text.format(crf=crf) for key, text in form.options.items()})


def padded(pixels: np.ndarray, form: Format) -> np.ndarray:
    """The frame uint8 [H, W, 3] with its last row and column repeated where the pixel format takes no odd sides."""
    if form.encoder != "libx264":
        return pixels
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def write_segment(path: Path, frames: Iterable[Frame], clip: Clip, output: Output) -> None:
    """Encodes the frames into a segment, whole or not at all. Raises InputError where it can't be written."""
    av, form = need_av("out"), output.format
    try:
        with files.atomic(path) as temporary, av.open(str(temporary), "w", format="nut") as container:
            stream = None
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(padded(frame.pixels, form), format="rgb24")
                if stream is None:
                    stream = _add_video(container, clip, form, (picture.height, picture.width))
                picture = _in_its_colours(picture, form)
                picture.pts, picture.time_base = frame.pts, clip.time_base
                container.mux(stream.encode(picture))
            if stream is not None:
                container.mux(stream.encode())
    except (av.error.FFmpegError, OSError) as error:
        raise _unwritable(output, error) from error


def _add_video(container: Any, clip: Clip, form: Format, size: tuple[int, int]) -> Any:
    stream = container.add_stream(form.encoder, rate=clip.rate, options=form.options)
    stream.height, stream.width = size
    stream.pix_fmt = form.pixels
    stream.time_base = stream.codec_context.time_base = clip.time_base
    stream.codec_context.sample_aspect_ratio = clip.aspect
    if form.encoder != "ffv1":
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
    return stream


def _in_its_colours(picture: Any, form: Format) -> Any:
    if form.encoder == "ffv1":
        return picture.reformat(format=form.pixels)
    return picture.reformat(format=form.pixels, dst_colorspace="ITU709", dst_color_range="MPEG")


def write_clip(path: Path, frames: Iterable[Frame], size: tuple[int, int], rate: int) -> None:
    """Writes a clip of frames uint8 [H, W, 3] of this (height, width), whose times are their numbers, without sound.

    rate: frames a second. Raises InputError where it can't be written.
    """
    clip = Clip("", size, Fraction(1, rate), Fraction(rate), 0, None, folder=True)
    output = Output(str(path), audio=False)
    with files.temporary_folder() as folder:
        segment = folder / "frames.nut"
        write_segment(segment, frames, clip, output)
        join([segment], clip, output, Span(0, None))


def join(segments: Sequence[Path], clip: Clip, output: Output, span: "Span") -> list[str]:
    """Joins the segments into the output, with the sound of the clip; returns what has to be said of it.

    Raises InputError where the output can't be written.
    """
    av = need_av("out")
    try:
        if output.suffix in _ANIMATIONS:
            return _join_pictures(segments, clip, output)
        with files.atomic(output.path) as temporary:
            return _join_packets(segments, clip, output, span, temporary)
    except (av.error.FFmpegError, OSError) as error:
        raise _unwritable(output, error) from error


class Span(NamedTuple):
    """The part of a clip that is written, in units of its time.

    shift: where the clip is cut at its start, the time of its first frame, which is taken off of all times; else 0.
    end: what comes then or later is left out; None writes the clip to its end.
    """

    shift: int
    end: int | None


def _unwritable(output: Output, error: Exception) -> InputError:
    remedy = "make room on the disk" if files.is_disk_full(error) else "choose another format, size or folder"
    return InputError(f"`out`: cannot write {output.path!r} ({reason(error)}); {remedy}, and run the same line again")


def _join_packets(segments: Sequence[Path], clip: Clip, output: Output, span: Span, path: Path) -> list[str]:
    av, said = need_av("out"), []
    with contextlib.ExitStack() as stack:
        options = {"movflags": "+faststart", "movie_timescale": _TIMESCALE} if output.suffix in (".mp4", ".mov") else {}
        container = stack.enter_context(av.open(str(path), "w", options=options))
        template = stack.enter_context(av.open(str(segments[0]))).streams.video[0]
        stream = container.add_stream_from_template(template)
        stream.time_base = clip.time_base
        packets = [_video_packets(segments, stream, span, clip.time_base)]
        if not clip.folder:
            source = stack.enter_context(av.open(clip.path))
            container.metadata.update(source.metadata)
            if source.streams.subtitles:
                said.append("`out`: subtitles are left out")
            for audio in source.streams.audio if output.audio else ():
                found, told = _audio_packets(clip, audio, container, span)
                packets.append(found)
                said += told
        for _, _, packet in heapq.merge(*packets, key=lambda x: x[:2]):
            container.mux_one(packet)
    return said


_Timed = Iterator[tuple[float, int, Any]]  # the time of a packet in seconds, the number of its stream, and the packet


def _video_packets(segments: Sequence[Path], stream: Any, span: Span, unit: Fraction) -> _Timed:
    av = need_av("out")
    for path in segments:
        with av.open(str(path)) as piece:
            for packet in piece.demux(video=0):
                if packet.dts is None:
                    continue
                shift = round(span.shift * unit / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                time = float(packet.dts * packet.time_base)
                packet.stream = stream
                yield time, stream.index, packet


def _audio_packets(clip: Clip, source: Any, container: Any, span: Span) -> tuple[_Timed, list[str]]:
    """The packets of a stream of sound, and what has to be said of it."""
    name = source.codec_context.name
    if name in container.supported_codecs:
        return _copied(clip, source, container.add_stream_from_template(source), span), []
    encoder = {"opus": "libopus"}.get(container.default_audio_codec, container.default_audio_codec)
    stream = container.add_stream(encoder, rate=_AUDIO_RATE, layout=source.layout.name)
    said = f"`out`: the sound is encoded again, from {name} to {encoder}, for {container.format.name} takes no {name}"
    return _encoded_again(clip, source, stream, span), [said]


def _copied(clip: Clip, source: Any, stream: Any, span: Span) -> _Timed:
    first, end, shift = _in_units(clip, span, source.time_base)
    with need_av().open(clip.path) as container:
        for packet in container.demux(container.streams[source.index]):
            if packet.dts is None or packet.pts < first:
                continue
            if end is not None and packet.pts >= end:
                break
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            time = float(packet.dts * packet.time_base)
            packet.stream = stream
            yield time, stream.index, packet


def _encoded_again(clip: Clip, source: Any, stream: Any, span: Span) -> _Timed:
    first, end, shift = _in_units(clip, span, source.time_base)
    resampler = need_av().AudioResampler(stream.format, stream.layout, _AUDIO_RATE, stream.codec_context.frame_size)
    with need_av().open(clip.path) as container:
        for frame in container.decode(container.streams[source.index]):
            if frame.pts < first:
                continue
            if end is not None and frame.pts >= end:
                break
            frame.pts -= shift
            for piece in resampler.resample(frame):
                yield from _timed(stream.encode(piece), stream)
        for piece in resampler.resample(None):
            yield from _timed(stream.encode(piece), stream)
        yield from _timed(stream.encode(None), stream)


def _timed(packets: Iterable[Any], stream: Any) -> _Timed:
    for packet in packets:
        yield float(packet.dts * packet.time_base), stream.index, packet


_ALWAYS = -(2**62)  # a time before all others


def _in_units(clip: Clip, span: Span, unit: Fraction) -> tuple[int, int | None, int]:
    """Where the sound of a span begins and ends, and what is taken off of its times, in the units of the sound.

    Without a cut at the start, all of the sound is taken: it may begin before the pictures.
    """
    scale = clip.time_base / unit
    shift = round(span.shift * scale)
    return shift if span.shift else _ALWAYS, None if span.end is None else round(span.end * scale), shift


# Animated pictures, and folders


def _join_pictures(segments: Sequence[Path], clip: Clip, output: Output) -> list[str]:
    frames = _pictures(segments)
    first = next(frames)
    unit = 10 if output.suffix == ".gif" else 1  # ms, of its times
    times = _durations(segments, float(1 / clip.rate), unit)
    options = {"lossless": False, "quality": 90, "method": 4} if output.suffix == ".webp" else {}
    with files.atomic(output.path) as temporary:
        first.save(
            temporary,
            format=_ANIMATIONS[output.suffix],
            save_all=True,
            append_images=frames,
            duration=times,
            loop=0,
            **options,
        )
    return [f"`out`: {output.suffix[1:]} holds no sound"] if clip.audio and output.audio else []


def _pictures(segments: Sequence[Path]) -> Iterator[Image.Image]:
    for path in segments:
        with need_av("out").open(str(path)) as piece:
            for frame in piece.decode(video=0):
                yield Image.fromarray(frame.to_ndarray(format="rgb24"))


def _durations(segments: Sequence[Path], last: float, unit: int) -> list[int]:
    """How long each frame is shown, in ms, in steps of `unit`; rounded, but without drift. last: s, of the last one."""
    times = []
    for path in segments:
        with need_av("out").open(str(path)) as piece:
            times += [float(packet.pts * packet.time_base) for packet in piece.demux(video=0) if packet.pts is not None]
    edges = [unit * round(1000 * time / unit) for time in (*times, times[-1] + last)]
    return [max(unit, after - before) for before, after in itertools.pairwise(edges)]


def write_pictures(folder: Path, frames: Iterable[Frame], first: int) -> None:
    """Writes frames into a folder as PNG, the first of them with this number."""
    for number, frame in enumerate(frames, first):
        codec.save(folder / f"{number:06d}.png", frame.pixels)
