"""A clip in a style: what each frame is, what happens to its sound, and how stopped work goes on."""

import os

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

import metastyle
from metastyle.errors import Stopped
from metastyle.images import clips, codec
from metastyle.stylize.style import blend
from metastyle.video import job
from metastyle.video.look import parse_weights
from tests.support import clips as made
from tests.support.errors import refused
from tests.support.places import BUNDLE
from tests.support.styles import bundle_with_plain_parameters
from tests.support.styles import made as style_of

pytestmark = pytest.mark.usefixtures("no_compile_cache")
COUNT, HEIGHT, WIDTH = 7, 40, 56


@pytest.fixture(scope="module")
def styles():
    bundle = bundle_with_plain_parameters()
    return [style_of(bundle, seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "a.mkv"
    return made.write(path, made.frames(COUNT, HEIGHT, WIDTH), codec="ffv1", form="bgr0", limited=False, space=2)


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    monkeypatch.setattr(job, "SEGMENT", 3)


def folder_of(clip, tmp_path, style, name="out", **options):
    """The frames, written as PNG: uint8 [n, H, W, 3], and the report."""
    report = metastyle.stylize_video(clip, tmp_path / name, style, **{"backend": "jax", **options})
    return np.stack([codec.to_uint8(codec.load(path)[0]) for path in sorted((tmp_path / name).iterdir())]), report


def test_without_stability_it_is_each_frame_by_itself(clip, tmp_path, styles):
    found, report = folder_of(clip, tmp_path, styles[0], stability=0, phases=1)
    expected = [styles[0].stylize(frame, phases=1) for frame in made.pictures(clip)]
    np.testing.assert_array_equal(found, expected)
    assert report[:3] == (COUNT, (HEIGHT, WIDTH), 1)
    assert sorted(os.listdir(tmp_path)) == ["out"]


def test_knobs_and_size_are_those_of_pictures(clip, tmp_path, styles):
    knobs = {"strength": 0.5, "color": "content", "phases": 4}
    found, _ = folder_of(clip, tmp_path, styles[0], stability=0, size=30, **knobs)
    expected = [styles[0].stylize(frame, content_size=30, **knobs) for frame in made.pictures(clip)]
    assert found.shape == (COUNT, 30, 42, 3)
    assert np.abs(found.astype(int) - expected).max() <= 2  # frames are rounded once they have their size


def test_a_photograph_that_is_repeated_stays_the_same(tmp_path, styles):
    still = np.repeat(made.frames(1, HEIGHT, WIDTH), 5, 0)
    path = made.write(tmp_path / "still.mkv", still, codec="ffv1", form="bgr0", limited=False, space=2)
    found, _ = folder_of(path, tmp_path, styles[0])
    assert np.abs(found[1:].astype(int) - found[0]).max() <= 1


def test_stability_lowers_what_changes_along_the_movement(tmp_path, styles):
    """A clip that moves by 2 px a frame, with noise, which flickers."""
    noise = np.random.default_rng(0).normal(0, 6, (12, 96, 128, 3))
    noisy = np.clip(made.frames(12, 96, 128) + noise, 0, 255).astype(np.uint8)
    clip = made.write(tmp_path / "a.mkv", noisy, codec="ffv1", form="bgr0", limited=False, space=2)

    def change(stability):
        found, _ = folder_of(clip, tmp_path, styles[0], f"out{stability > 0}", stability=stability, phases=1)
        found = found[6:]
        pairs = zip(found[:, :, 4:-2].astype(float), found[1:, :, 2:-4].astype(float), strict=False)
        return np.mean([np.square(a - b).mean() for a, b in pairs])

    assert change(0.8) < 0.5 * change(0)


def test_a_mask_keeps_the_frame_where_it_is_black(clip, tmp_path, styles):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, 28:] = 255
    found, _ = folder_of(clip, tmp_path, styles[0], mask=mask, feather=0)
    whole, _ = folder_of(clip, tmp_path, styles[0], "whole")
    np.testing.assert_array_equal(found[:, :, :28], made.pictures(clip)[:, :, :28])
    np.testing.assert_array_equal(found[:, :, 28:], whole[:, :, 28:])


def test_a_mask_can_be_a_clip(clip, tmp_path, styles):
    """White from 0.16 s on, which is the fifth frame."""
    masks = [np.full((HEIGHT, WIDTH, 3), x, np.uint8) for x in (0, 255)]
    options = {"codec": "ffv1", "form": "bgr0", "limited": False, "space": 2}
    path = made.write(tmp_path / "mask.mkv", masks, times=[0, 160], **options)
    found, _ = folder_of(clip, tmp_path, styles[0], mask=str(path), feather=0)
    whole, _ = folder_of(clip, tmp_path, styles[0], "whole")
    np.testing.assert_array_equal(found[:4], made.pictures(clip)[:4])
    np.testing.assert_array_equal(found[4:], whole[4:])


def test_weights_change_with_time(clip, tmp_path, styles):
    weights = parse_weights("0:1,0; 0.16s:0,1")
    found, _ = folder_of(clip, tmp_path, styles, weights=weights, stability=0, phases=1)
    for i, share in enumerate((1, 0.75, 0.5, 0.25, 0, 0, 0)):
        style = blend([(styles[0], share), (styles[1], 1 - share)])
        expected = style.stylize(made.pictures(clip)[i], phases=1)
        assert np.abs(found[i].astype(int) - expected).max() <= 1


def test_a_part_of_a_clip(clip, tmp_path, styles):
    whole, _ = folder_of(clip, tmp_path, styles[0], stability=0)
    found, report = folder_of(clip, tmp_path, styles[0], "part", stability=0, start=0.08, end=0.2)
    np.testing.assert_array_equal(found, whole[2:5])
    assert report.frames == 3


def test_a_folder_of_pictures_in_and_out(clip, tmp_path, styles):
    for i, frame in enumerate(made.pictures(clip)):
        codec.save(tmp_path / f"{i:03d}.png", frame / np.float32(255))
    os.mkdir(tmp_path / "in")
    for path in tmp_path.glob("*.png"):
        path.rename(tmp_path / "in" / path.name)
    found, _ = folder_of(tmp_path / "in", tmp_path, styles[0])
    np.testing.assert_array_equal(found, folder_of(clip, tmp_path, styles[0], "from clip")[0])


def test_times_and_sound_go_into_the_output(tmp_path, styles):
    times = [0, 40, 80, 200, 240, 500]
    source = made.write(tmp_path / "a.mp4", made.frames(6, HEIGHT, WIDTH), times=times, sound=0.5)
    seen = []
    report = metastyle.stylize_video(source, tmp_path / "b.mp4", styles[0], backend="jax", on_frame=seen.append)
    assert made.times(tmp_path / "b.mp4") == made.times(source)
    assert made.packets(tmp_path / "b.mp4") == made.packets(source)
    assert [(x.done, x.of) for x in seen] == [(i, 6) for i in range(1, 7)]
    assert report.notes == () and report.frames == 6
    assert sorted(os.listdir(tmp_path)) == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("at", [1, 3, 4, 7])
def test_stopped_work_goes_on_to_the_same_bytes(clip, tmp_path, styles, at, monkeypatch):
    metastyle.stylize_video(clip, tmp_path / "whole.mp4", styles[0], backend="jax")

    class Killed(BaseException):
        pass

    def kill(progress):
        if progress.done == at:
            raise Killed

    with pytest.raises(Killed):
        metastyle.stylize_video(clip, tmp_path / "b.mp4", styles[0], backend="jax", on_frame=kill)
    assert not (tmp_path / "b.mp4").exists()
    seen = []
    metastyle.stylize_video(clip, tmp_path / "b.mp4", styles[0], backend="jax", on_frame=seen.append)
    assert seen[0].done == 1 + (at - 1) // 3 * 3  # from the last segment that was written
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()


def test_a_signal_stops_it_and_other_work_is_refused(clip, tmp_path, styles):
    def stop(progress):
        if progress.done == 5:
            os.kill(os.getpid(), 15)

    with pytest.raises(Stopped, match="stopped after frame 3 of 7; the same line continues"):
        metastyle.stylize_video(clip, tmp_path / "b.mp4", styles[0], backend="jax", on_frame=stop)
    with refused("`stability`: the run that .*state continues has 0.8, got 0.5; set it back"):
        metastyle.stylize_video(clip, tmp_path / "b.mp4", styles[0], backend="jax", stability=0.5)
    seen = []
    metastyle.stylize_video(clip, tmp_path / "b.mp4", styles[0], backend="jax", on_frame=seen.append)
    assert seen[0].done == 4, "what was refused has not undone the work"
    assert sorted(os.listdir(tmp_path)) == ["b.mp4"] and len(made.times(tmp_path / "b.mp4")) == COUNT


def test_bad_input_leaves_nothing(clip, tmp_path, styles):
    one = made.write(tmp_path / "one.mkv", made.frames(1, HEIGHT, WIDTH))
    cut = made.write(tmp_path / "whole.mkv", made.frames(90, HEIGHT, WIDTH), g="10")
    (tmp_path / "cut.mkv").write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    before = sorted(os.listdir(tmp_path))
    for given, message in (
        ({"video": one}, "`content`: expected at least two frames, got 1 of .*one.mkv'; choose other times, or use"),
        ({"video": tmp_path / "cut.mkv"}, "`content`: .*cut.mkv' is "),
        ({"out": "b.avi"}, "`out`: expected a name that ends in .*, got .*b.avi"),
        ({"out": "one.mkv", "video": one}, "`out`: .* is a picture to work from"),
        ({"stability": 1.1}, "`stability`: expected a number from 0 to 1, got 1.1"),
        ({"start": 9}, "`start`: expected less than the length of the clip, 0.28 s, got 9"),
        ({"start": 0.2, "end": 0.1}, "`end`: expected more than `start`, 0.2, got 0.1"),
        ({"phases": 3}, "`phases`: expected one of 1, 4, 16, got 3"),
        ({"size": 4}, "`size`: expected a whole number of at least 16, got 4"),
        ({"fps": 0}, "`fps`: expected a number of at least 0.001, got 0"),
        ({"crf": 99}, "`crf`: expected a whole number from 0 to 51, got 99"),
        ({"backend": "torch"}, "`backend`: expected one of auto, jax, onnx, onnx-int8, got 'torch'"),
        ({"style": []}, "`style`: expected at least one style, got none"),
        ({"style": styles, "weights": [(0, [1])]}, "`weights`: expected 2 numbers of at least 0, .* at 0 s, got .1."),
        ({"style": styles, "weights": [(1, [1, 0]), (1, [0, 1])]}, "`weights`: expected times that grow"),
    ):
        arguments = {"video": clip, "out": "b.mp4", "style": styles[0]} | given
        arguments["out"] = tmp_path / arguments["out"]
        with refused(message):
            metastyle.stylize_video(**arguments)
        assert sorted(os.listdir(tmp_path)) == before, given
    with refused("`weights`: expected times and the weights of the styles then, such as .*, got '0:1;x'"):
        parse_weights("0:1;x")


def test_a_style_is_learned_on_frames_of_a_clip(clip):
    """The frames in place of the clip give the same."""
    start = metastyle.load(BUNDLE)
    painting = made.frames(1, 32, 32, seed=7)[0]
    by_clip = start.adapt(painting, steps=2, support=str(clip))
    frames = clips.spread(clips.describe(clip), 6)
    by_frames = start.adapt(painting, steps=2, support=frames)
    for path, x in by_clip.file.fast.items():
        np.testing.assert_array_equal(x, by_frames.file.fast[path])
