"""Segments are joined to a clip with the times and the sound of the one that was read."""

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("av")

from PIL import Image

from metastyle.images import clips
from metastyle.video import writing
from metastyle.video.writing import Output, Span
from tests.support import clips as made
from tests.support.errors import refused

TIMES = [0, 40, 80, 200, 240, 500, 540, 900, 940, 1000, 1040]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "a.mp4"
    return made.write(path, made.frames(len(TIMES)), times=TIMES, sound=1.1)


def copied(source, path, *, size=4, span=None, start=0.0, end=None, **output):
    """The clip, written anew in segments of `size` frames; what was said."""
    clip, out = clips.describe(source), Output(str(path), **output)
    frames, segments = list(clip.frames(start, end)), []
    for i in range(0, len(frames), size):
        segments.append(path.with_name(f"{i:04d}.nut"))
        writing.write_segment(segments[-1], frames[i : i + size], clip, out)
    return writing.join(segments, clip, out, span or Span(0, None))


@pytest.mark.parametrize("suffix, unit", [(".mp4", 0), (".mov", 0), (".mkv", Fraction(1, 1000))])
def test_times_and_sound_are_equal(source, tmp_path, suffix, unit):
    """Matroska counts milliseconds. FFmpeg 8 writes none before 0, where this sound begins: it moves all times."""
    assert copied(source, tmp_path / f"b{suffix}") == []
    ours, theirs = made.packets(tmp_path / f"b{suffix}"), made.packets(source)
    assert [x[1] for x in ours] == [x[1] for x in theirs] and len(ours) > 40
    moved = max(0, -theirs[0][0]) if suffix == ".mkv" and ours[0][0] >= 0 else 0
    pairs = [*zip(made.times(tmp_path / f"b{suffix}"), made.times(source), strict=True)]
    pairs += [(a, b) for (a, _), (b, _) in zip(ours, theirs, strict=True)]
    assert all(abs(a - b - moved) <= unit for a, b in pairs)
    difference = made.pictures(tmp_path / f"b{suffix}").astype(int) - made.pictures(source)
    assert np.abs(difference).mean() < 3


def test_the_length_of_segments_changes_no_time(source, tmp_path):
    (tmp_path / "x").mkdir()
    for size, path in ((1, tmp_path / "b.mp4"), (20, tmp_path / "x" / "b.mp4")):
        copied(source, path, size=size)
    assert made.times(tmp_path / "b.mp4") == made.times(tmp_path / "x" / "b.mp4") == made.times(source)


def test_sound_is_encoded_again_where_the_container_does_not_take_it(source, tmp_path):
    assert copied(source, tmp_path / "b.webm") == [
        "`out`: the sound is encoded again, from aac to libopus, for webm takes no aac"
    ]
    assert made.times(tmp_path / "b.webm") == made.times(source)
    found = made.packets(tmp_path / "b.webm")
    assert abs(float(found[-1][0]) - 1.1) < 0.1


def test_sound_is_left_out_on_demand(source, tmp_path):
    copied(source, tmp_path / "b.mp4", audio=False)
    assert not clips.describe(tmp_path / "b.mp4").audio


def test_what_a_file_says_of_itself_is_kept_without_its_sound(tmp_path):
    path = made.write(tmp_path / "a.mp4", made.frames(5), title="A walk")
    copied(path, tmp_path / "b.mp4", audio=False)
    assert made.title(tmp_path / "b.mp4") == "A walk"


def test_a_part_begins_at_0_with_its_own_sound(source, tmp_path):
    clip = clips.describe(source)
    first = next(clip.frames(0.2)).pts
    copied(source, tmp_path / "b.mp4", start=0.2, end=0.6, span=Span(first, round(0.6 / clip.time_base)))
    assert [round(1000 * x) for x in made.times(tmp_path / "b.mp4")] == [0, 40, 300, 340]
    ours, theirs = made.packets(tmp_path / "b.mp4"), made.packets(source)
    within = [(time - Fraction(1, 5), hashed) for time, hashed in theirs if 0.2 <= time < 0.6]
    assert [hashed for _, hashed in ours] == [hashed for _, hashed in within]
    assert all(a == b for (a, _), (b, _) in zip(ours, within, strict=True))


def test_odd_sides(tmp_path):
    made.write(tmp_path / "a.webm", made.frames(4, 37, 51), codec="libvpx-vp9")
    original = made.pictures(tmp_path / "a.webm").astype(int)
    copied(tmp_path / "a.webm", tmp_path / "b.webm")
    assert made.pictures(tmp_path / "b.webm").shape == (4, 37, 51, 3)
    copied(tmp_path / "a.webm", tmp_path / "c.mp4")
    found = made.pictures(tmp_path / "c.mp4")
    assert found.shape == (4, 38, 52, 3)
    assert np.abs(found[:, :37, :51] - original).mean() < 6
    assert np.abs(found[:, 37, :51] - original[:, 36]).mean() < 8


@pytest.mark.parametrize("suffix, unit", [(".gif", 10), (".webp", 1)])
def test_animated_pictures(source, tmp_path, suffix, unit):
    kind = suffix[1:]
    assert copied(source, tmp_path / f"b{suffix}") == [f"`out`: {kind} holds no sound"]
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.n_frames == len(TIMES) and image.size == (64, 48)
        lengths = []
        for i in range(image.n_frames):
            image.seek(i)
            image.load()
            lengths.append(image.info["duration"])
    assert [sum(lengths[:i]) for i in range(len(TIMES))] == TIMES
    assert abs(np.asarray(image.convert("RGB")).astype(int) - made.pictures(source)[-1]).mean() < 12


def test_colours_survive(tmp_path):
    colours = np.array([[200, 30, 40], [30, 180, 60], [40, 60, 220], [250, 250, 250]], np.uint8)
    picture = np.repeat(np.repeat(colours[None], 32, 0), 32, 1)
    made.write(tmp_path / "a.mkv", [picture] * 2, codec="ffv1", form="bgr0", space=2, limited=False)
    for name in ("b.mp4", "b.webm", "b.gif"):
        copied(tmp_path / "a.mkv", tmp_path / name)
        found = next(clips.describe(tmp_path / name).frames()).pixels
        assert np.abs(found[16, 16::32].astype(int) - colours).max() <= 4, name


def test_a_segment_is_written_whole_or_not_at_all(source, tmp_path):
    clip = clips.describe(source)

    def failing():
        yield next(clip.frames())
        raise KeyError("in the middle")

    with pytest.raises(KeyError):
        writing.write_segment(tmp_path / "0.nut", failing(), clip, Output(str(tmp_path / "b.mp4")))
    assert list(tmp_path.iterdir()) == []


def test_a_quality_out_of_range():
    for name, most in (("b.mp4", 51), ("b.webm", 63)):
        with refused(f"`crf`: expected a whole number from 0 to {most}, got 64"):
            Output(name, crf=64)


def test_a_folder_that_is_gone_is_told_in_a_line(source, tmp_path):
    clip = clips.describe(source)
    with refused("`out`: cannot write .*b.mp4' .*; choose another format, size or folder, and run the same line again"):
        writing.write_segment(tmp_path / "none" / "0.nut", clip.frames(), clip, Output(str(tmp_path / "b.mp4")))
