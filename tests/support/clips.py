"""Small clips, made with PyAV, and what is in a file."""

import hashlib
from fractions import Fraction

import av
import numpy as np

RATE = 25


def frames(count, height=48, width=64, seed=0):
    """A blurred random picture that moves by 2 px a frame: uint8 [count, H, W, 3]."""
    from tests.support.styles import picture

    wide = picture(height, width + 2 * count, seed)
    return np.stack([wide[:, 2 * i : 2 * i + width] for i in range(count)])


def write(
    path,
    pictures,
    *,
    codec="libx264",
    form="yuv420p",
    times=None,
    unit=Fraction(1, 1000),
    space=1,
    limited=True,
    rotation=0,
    sound=0.0,
    alpha=None,
    trc=None,
    aspect=None,
    title=None,
    **options,
):
    """Writes pictures uint8 [n, H, W, 3]. times: whole numbers of `unit`. space: ITU-T H.273, 2 for untagged.

    sound: seconds of a tone, AAC or what the container takes. alpha: uint8 [n, H, W]. options: of the encoder.
    """
    times = range(0, 40 * len(pictures), 40) if times is None else times
    with av.open(str(path), "w") as container:
        container.metadata.update({} if title is None else {"title": title})
        video = container.add_stream(codec, rate=RATE, options={key.replace("_", "-"): x for key, x in options.items()})
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = form
        video.time_base = video.codec_context.time_base = unit
        if space != 2:
            video.codec_context.colorspace = space
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        if trc:
            video.codec_context.color_trc = trc
        video.codec_context.color_range = 1 if limited else 2
        if rotation:
            video.set_display_rotation(rotation)
        audio = container.add_stream(container.default_audio_codec, rate=48_000) if sound else None
        for i, (picture, time) in enumerate(zip(pictures, times, strict=True)):
            frame = _frame(picture, None if alpha is None else alpha[i])
            matrix = "ITU709" if space == 1 or (space == 2 and len(picture) >= 720) else "ITU601"
            frame = frame.reformat(format=form, dst_colorspace=matrix, dst_color_range="MPEG" if limited else "JPEG")
            frame.pts, frame.time_base = time, unit
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio:
            add_tone(container, audio, sound)
    return path


def _frame(picture, alpha):
    if alpha is None:
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return av.VideoFrame.from_ndarray(np.dstack([picture, alpha]), format="rgba")


def add_tone(container, stream, seconds):
    for start in range(0, int(48_000 * seconds), 960):
        t = np.arange(start, start + 960) / 48_000
        wave = (0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def times(path):
    """The times of the frames, s."""
    with av.open(str(path)) as container:
        return [Fraction(frame.pts) * frame.time_base for frame in container.decode(video=0)]


def pictures(path):
    """uint8 [n, H, W, 3]."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def packets(path, kind="audio"):
    """The time, s, and a hash of each packet."""
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(**{kind: 0}) if packet.dts is not None]
        return [(Fraction(x.pts) * x.time_base, hashlib.sha256(bytes(x)).hexdigest()) for x in found]


def title(path):
    with av.open(str(path)) as container:
        return container.metadata.get("title")
