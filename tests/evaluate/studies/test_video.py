"""The study of videos: its made clip, its rows, and that it goes on where it was stopped."""

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

from metastyle.errors import InputError
from metastyle.evaluate.studies import video, video_scenes
from metastyle.images import clips, codec
from metastyle.stylize import stylizer
from metastyle.video import measures
from metastyle.weights import vgg_files
from tests.support import clips as made
from tests.support.places import BUNDLE
from tests.support.styles import picture

pytestmark = pytest.mark.usefixtures("no_compile_cache")


def test_the_flow_of_the_made_clip_is_exact():
    scene = video_scenes.pan(picture(120, 200), 12, 96)
    assert scene.frames[0].shape == (72, 96, 3) and len(scene.frames) == 12
    for lag in video.LAGS:
        found = measures.warping_error(scene.frames, measures.follow(scene.frames, lag, scene.flows))
        assert found.error < 5e-5 and found.cover > 0.75
    moved = np.median(scene.flows(0, 1), (0, 1))
    assert np.abs(moved - (-1.3, 0)).max() < 0.05


def test_a_film_is_brought_to_a_width(tmp_path):
    path = made.write(tmp_path / "a.mp4", made.frames(5, 40, 60))
    scene = video_scenes.film(str(path), 3, 30)
    assert scene.name == "a" and [x.shape for x in scene.frames] == [(20, 30, 3)] * 3


def test_rows_of_a_study(tmp_path, capsys):
    codec.save(tmp_path / "painting.png", picture(40, 40) / np.float32(255))
    scene = video_scenes.Scene("a", list(made.frames(12, 40, 56)))
    methods = video.Methods(stylizer.load(BUNDLE), 1, peers=False)
    judge = video.Judge(vgg_files.load("random"), "random")
    arguments = ([scene], [str(tmp_path / "painting.png")], methods, judge, tmp_path / "out")
    rows = video.measure(*arguments)
    names = ["the clip itself", "frame by frame", "metastyle video", "frame by frame, blurred"]
    assert [row.method for row in rows] == names
    by_name = {row.method: row for row in rows}
    assert by_name["the clip itself"].C == 0
    assert by_name["frame by frame, blurred"].sharpness < by_name["frame by frame"].sharpness
    assert by_name["the clip itself"].E1 == np.mean(by_name["the clip itself"].curve)
    page = (tmp_path / "out" / "video.html").read_text()
    for name in ("a_painting.png", "a_painting.mp4", "a_painting_curve.png"):
        assert f'src="{name}"' in page and (tmp_path / "out" / name).is_file()
    assert len(list(clips.describe(tmp_path / "out" / "a_painting.mp4").frames())) == 12
    capsys.readouterr()
    assert video.measure(*arguments) == rows and capsys.readouterr().out == ""  # nothing is done again
    table = video.format_table(rows).splitlines()
    assert len(table) == 2 + len(rows) and table[2].startswith("| a | the clip itself | ")


def test_rows_of_other_settings_are_not_taken(tmp_path):
    codec.save(tmp_path / "painting.png", picture(40, 40) / np.float32(255))
    scene = video_scenes.Scene("a", list(made.frames(12, 40, 56)))
    judge = video.Judge(vgg_files.load("random"), "random")

    def measured(steps):
        methods = video.Methods(stylizer.load(BUNDLE), steps, peers=False)
        return video.measure([scene], [str(tmp_path / "painting.png")], methods, judge, tmp_path / "out")

    measured(0)
    with pytest.raises(InputError, match="`steps`: the run that .*rows.json continues has 0, got 1"):
        measured(1)
