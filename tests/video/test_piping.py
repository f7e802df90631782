"""Frames through pipes: stylised as pictures are, in the form in which they came; live mode drops what comes early."""

import io
import threading
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

from metastyle.images.clips import Frame
from metastyle.video import piping
from metastyle.video.frames import Options
from metastyle.video.look import Look
from metastyle.video.piping import Header
from tests.support import clips as made
from tests.support.errors import refused
from tests.support.styles import bundle_with_plain_parameters
from tests.support.styles import made as style_of

pytestmark = pytest.mark.usefixtures("no_compile_cache")
FRAMES = made.frames(4, 37, 51)
PLAIN = Options(stability=0, phases=1, backend="jax")


@pytest.fixture(scope="module")
def style():
    return style_of(bundle_with_plain_parameters(), 1)


def y4m(form, pictures=FRAMES):
    stream, header = io.BytesIO(), Header(pictures[0].shape[:2], Fraction(30000, 1001), form)
    piping.write_header(stream, header)
    for picture in pictures:
        piping.write_frame(stream, picture, header)
    stream.seek(0)
    return stream


def read(stream, raw=None):
    header = piping.read_header(stream, raw, Fraction(25))
    return header, np.stack([frame.pixels for frame in piping.read_frames(stream, header)])


@pytest.mark.parametrize("form, most", [("yuv420p", 12), ("yuv422p", 8), ("yuv444p", 2)])
def test_y4m_comes_back(form, most):
    header, found = read(y4m(form))
    assert header == Header((37, 51), Fraction(30000, 1001), form)
    assert np.abs(found.astype(int) - FRAMES).mean() < most


def test_ffmpeg_reads_and_writes_the_same():
    """PyAV's own reader of y4m, on odd sides."""
    import av

    stream = y4m("yuv420p")
    _, ours = read(io.BytesIO(stream.getvalue()))
    with av.open(stream, format="yuv4mpegpipe") as container:
        theirs = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert np.abs(ours.astype(int) - theirs).mean() < 1


def test_frames_of_a_stream_are_stylised_as_pictures_are(style):
    raw, sink = io.BytesIO(FRAMES.tobytes()), io.BytesIO()
    look = lambda first: Look((style,))
    assert piping.stylize_stream(look, PLAIN, raw="51x37", source=raw, sink=sink) == 4
    found = np.frombuffer(sink.getvalue(), np.uint8).reshape(FRAMES.shape)
    np.testing.assert_array_equal(found, [style.stylize(frame, phases=1) for frame in FRAMES])


def test_what_is_written_has_the_form_of_what_is_read(style):
    sink, seen = io.BytesIO(), []

    def look(first):
        seen.append(first)
        return Look((style,))

    piping.stylize_stream(look, Options(size=24, backend="jax"), source=y4m("yuv444p"), sink=sink)
    sink.seek(0)
    header, found = read(sink)
    assert header == Header((24, 33), Fraction(30000, 1001), "yuv444p") and found.shape == (4, 24, 33, 3)
    assert [frame.pts for frame in seen] == [0]


def test_live_mode_takes_the_newest_frame():
    ready, go = threading.Event(), threading.Event()

    def arriving():
        yield Frame(FRAMES[0], 0)
        go.wait(10)
        yield Frame(FRAMES[1], 1)
        yield Frame(FRAMES[2], 2)
        yield Frame(FRAMES[3], 3)
        ready.set()

    newest = piping.Newest(arriving())
    frames = iter(newest)
    assert next(frames).pts == 0
    go.set()
    assert ready.wait(10)
    assert next(frames).pts == 3 and newest.dropped == 2
    assert next(frames, None) is None


def test_an_error_of_the_stream_reaches_live_mode():
    raw = io.BytesIO(FRAMES.tobytes()[:-5])
    frames = piping.read_frames(raw, Header((37, 51), Fraction(25), None))
    with refused("`content`: standard input ends in the middle of frame 4"):
        list(piping.Newest(frames))


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "`content`: expected a YUV4MPEG2 video of 8 bit on standard input, got nothing; pipe `ffmpeg"),
        (b"\x89PNG....", "`content`: expected a YUV4MPEG2 video of 8 bit on standard input, got b'.*PNG"),
        (b"YUV4MPEG2 W4 H4 F25:1 C420p10\n", "`content`: expected a YUV4MPEG2 video of 8 bit"),
        (b"YUV4MPEG2 W4 F25:1\n", "`content`: expected a YUV4MPEG2 video of 8 bit"),
        (b"YUV4MPEG2 W4 H4 F25:0\n", "`content`: expected a YUV4MPEG2 video of 8 bit"),
        (b"YUV4MPEG2 W48 H48 F25:1\n", "`content`: expected frames on standard input, got none"),
    ],
)
def test_what_is_no_stream(data, message):
    with refused(message):
        piping.stylize_stream(lambda first: None, PLAIN, source=io.BytesIO(data), sink=io.BytesIO())


@pytest.mark.parametrize("raw", ["640", "0x4", "axb", "4x4x4"])
def test_what_is_no_size(raw):
    with refused(f"`raw`: expected the width and height of frames, such as 640x360, got '{raw}'"):
        piping.read_header(io.BytesIO(), raw, Fraction(25))
