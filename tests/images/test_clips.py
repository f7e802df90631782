"""Clips are read as players show them, and what is no clip is refused in a line."""

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("av")

from metastyle.images import clips, codec
from tests.support import clips as made
from tests.support.errors import refused


def read(path, **options):
    clip = clips.describe(path)
    return clip, list(clip.frames(**options))


@pytest.mark.parametrize(
    "options",
    [
        {"space": 1},
        {"space": 6},
        {"space": 6, "limited": False},
        {"space": 2},
        {"form": "yuv420p10le"},
        {"form": "yuv444p"},
        {"codec": "libvpx-vp9", "b": "0"},
        {"codec": "ffv1", "form": "bgr0", "space": 2, "limited": False},
    ],
    ids=str,
)
def test_colours(tmp_path, options):
    colours = np.array([[200, 30, 40], [30, 180, 60], [40, 60, 220], [128, 128, 128]], np.uint8)
    picture = np.repeat(np.repeat(colours[None], 32, 0), 32, 1)
    quality = {} if options.get("codec") == "ffv1" else {"crf": "4"}
    _, found = read(made.write(tmp_path / "a.mkv", [picture] * 2, **quality, **options))
    assert np.abs(found[1].pixels[16, 16::32].astype(int) - colours).max() <= 4


def test_large_video_without_a_tag_is_bt709(tmp_path):
    colours = np.array([[200, 30, 40], [30, 180, 60]], np.uint8)
    picture = np.repeat(np.repeat(colours[None], 720, 0), 32, 1)
    _, found = read(made.write(tmp_path / "a.mp4", [picture] * 2, space=2, crf="4"))
    assert np.abs(found[1].pixels[360, 16::32].astype(int) - colours).max() <= 3


def test_times_of_a_variable_rate_are_kept(tmp_path):
    times = [0, 40, 80, 200, 240, 500, 540, 900]
    clip, found = read(made.write(tmp_path / "a.mp4", made.frames(8), times=times))
    assert [Fraction(frame.pts) * clip.time_base * 1000 for frame in found] == times
    _, part = read(tmp_path / "a.mp4", start=0.08, end=0.5)
    assert [frame.pts for frame in part] == [frame.pts for frame in found[2:5]]
    np.testing.assert_array_equal(part[1].pixels, found[3].pixels)
    assert clip.at(0.21).pts == found[4].pts and clip.at(5).pts == found[-1].pts


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_frames_stand_upright(tmp_path, rotation):
    pictures = made.frames(2)
    path = made.write(tmp_path / "a.mp4", pictures, rotation=rotation, crf="4")
    clip, found = read(path)
    expected = np.rot90(pictures[1], rotation // 90)
    assert clip.size == expected.shape[:2] == found[1].pixels.shape[:2]
    assert np.abs(found[1].pixels.astype(int) - expected).mean() < 4


def test_odd_sides(tmp_path):
    clip, found = read(made.write(tmp_path / "a.webm", made.frames(3, 37, 51), codec="libvpx-vp9"))
    assert clip.size == (37, 51) == found[2].pixels.shape[:2] and len(found) == 3


def test_frames_that_are_spread_over_a_clip(tmp_path):
    path, pictures = tmp_path / "a.mkv", made.frames(20)
    made.write(path, pictures, codec="ffv1", form="bgr0")
    found = clips.spread(clips.describe(path), 4)
    for picture, expected in zip(found, pictures[[3, 8, 13, 18]], strict=True):
        np.testing.assert_array_equal(picture, expected)
    assert 15 < len(clips.spread(clips.describe(path), 40)) <= 20  # none of them twice


def test_each_shot_has_a_frame(tmp_path):
    """A dark shot of 60 frames, a bright one of 6, and another dark one of 54."""
    shots = [np.full((length, 48, 64, 3), value, np.uint8) for length, value in ((60, 40), (6, 230), (54, 90))]
    path = made.write(tmp_path / "a.mp4", np.concatenate(shots))
    means = [round(float(x.mean())) for x in clips.spread(clips.describe(path), 6)]
    kinds = [sum(abs(mean - value) < 4 for mean in means) for value in (40, 230, 90)]
    assert kinds == [3, 1, 2]


@pytest.mark.parametrize(
    "lengths, count, shares", [([24], 6, [6]), ([20, 4], 6, [5, 1]), ([3, 1, 5], 2, [1, 0, 1]), ([1, 1], 6, [1, 1])]
)
def test_frames_are_shared_among_shots(lengths, count, shares):
    assert clips._shares(lengths, count) == shares


def test_a_folder_of_pictures(tmp_path):
    pictures = made.frames(4)
    for i, picture in enumerate(pictures):
        codec.save(tmp_path / f"shot_{i + 9}.png", picture / np.float32(255))
    clip = clips.describe(tmp_path, fps=Fraction(10))
    assert (clip.count, clip.seconds, clip.size) == (4, 0.4, (48, 64))
    np.testing.assert_array_equal([frame.pixels for frame in clip.frames()], pictures)
    assert [frame.pts for frame in clip.frames(0.1, 0.3)] == [1, 2]
    codec.save(tmp_path / "shot_14.png", pictures[0] / np.float32(255))
    with refused("`content`: expected a picture for each frame in .*, got none of number 13 between 9 and 14"):
        clips.describe(tmp_path)
    (tmp_path / "shot_14.png").rename(tmp_path / "x_12.png")
    with refused("`content`: expected one picture for each frame in .*, got two of number 12, shot_12.png and x_12"):
        clips.describe(tmp_path)
    (tmp_path / "x_12.png").unlink()
    codec.save(tmp_path / "shot_12.png", np.zeros((48, 60, 3)))
    with refused("`content`: expected frames of one size, got 64 x 48 px and 60 x 48 in .*shot_12.png"):
        list(clips.describe(tmp_path).frames())


def test_an_empty_folder(tmp_path):
    with refused("`content`: expected pictures such as 0001.png in the folder .*, got none"):
        clips.describe(tmp_path)


def test_what_is_no_video(tmp_path):
    with refused("`content`: no such file: ", FileNotFoundError):
        clips.describe(tmp_path / "a.mp4")
    (tmp_path / "a.mp4").write_bytes(b"")
    with refused("`content`: expected a video, got .*a.mp4"):
        clips.describe(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"no video at all" * 99)
    with refused("`content`: expected a video, got .*b.mp4"):
        clips.describe(tmp_path / "b.mp4")
    made.write(tmp_path / "sound.mkv", made.frames(2), sound=0.2)
    without_video(tmp_path / "sound.mkv", tmp_path / "only.mkv")
    with refused("`content`: expected a video, got .*only.mkv' with only audio in it"):
        clips.describe(tmp_path / "only.mkv")


def without_video(source, out):
    import av

    with av.open(str(source)) as a, av.open(str(out), "w") as b:
        stream = b.add_stream_from_template(a.streams.audio[0])
        for packet in a.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                b.mux(packet)


def test_transparent_video(tmp_path):
    opaque = np.full((2, 48, 64), 255, np.uint8)
    options = {"codec": "ffv1", "form": "bgra", "space": 2, "limited": False}
    path = made.write(tmp_path / "a.mkv", made.frames(2), alpha=opaque, **options)
    np.testing.assert_array_equal(read(path)[1][1].pixels, made.frames(2)[1])
    opaque[1, 3, 4] = 99
    path = made.write(tmp_path / "b.mkv", made.frames(2), alpha=opaque, **options)
    with refused("`content`: expected an opaque video, got .*b.mkv' with transparency"):
        read(path)


def test_video_of_high_dynamic_range(tmp_path):
    path = made.write(tmp_path / "a.mkv", made.frames(2), form="yuv420p10le", trc=16)
    with refused("`content`: expected a video of standard range, got .* in HDR .PQ."):
        clips.describe(path)


def test_a_file_that_is_cut_off(tmp_path):
    path = made.write(tmp_path / "a.mkv", made.frames(100), g="10")
    (tmp_path / "b.mkv").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with refused("`content`: .*b.mkv' is (cut off: its pictures end after .* of 4.0 s; pass --end=|damaged)"):
        read(tmp_path / "b.mkv")
    assert len(read(tmp_path / "b.mkv", end=1.0)[1]) == 25


def test_a_size_that_changes(tmp_path):
    for name, width in (("a.ts", 64), ("b.ts", 80)):
        made.write(tmp_path / name, made.frames(12, width=width))
    (tmp_path / "c.ts").write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    with refused("`content`: expected frames of one size, got 64 x 48 px and then 80 x 48 in .*c.ts"):
        read(tmp_path / "c.ts")


def test_a_cover_is_no_video(tmp_path):
    """A song in which the picture of the album is a stream."""
    import av

    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        audio = container.add_stream("aac", rate=48_000)
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(made.frames(1)[0], format="rgb24")))
        container.mux(cover.encode())
        made.add_tone(container, audio, 0.2)
    with refused("`content`: expected a video, got .*song.mp4' with only a cover and audio in it"):
        clips.describe(tmp_path / "song.mp4")


def test_sound_that_lasts_longer_than_the_pictures(tmp_path):
    for name in ("a.mp4", "a.mkv"):
        clip, found = read(made.write(tmp_path / name, made.frames(5), sound=4.0))
        assert len(found) == 5 and abs(clip.seconds - 0.2) < 0.05


def test_pixels_that_are_not_square_stay_so(tmp_path):
    path = made.write(tmp_path / "a.mp4", made.frames(2), aspect=Fraction(4, 3))
    assert clips.describe(path).aspect == Fraction(4, 3)
