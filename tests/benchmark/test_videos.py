"""The measurement of videos, on a small and short one."""

import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

from metastyle.benchmark import videos


@pytest.mark.slow
def test_a_short_clip_is_measured(monkeypatch, no_compile_cache):
    monkeypatch.setattr(videos, "_HEIGHT", 48)
    monkeypatch.setattr(videos, "_WIDTH", 64)
    found = videos.measure(1, 12, 5)
    assert found["frames a second"] > 0
    assert 0 < found["before the first frame, GiB"] <= found["peak memory, GiB"]


def test_each_case_has_its_lines(monkeypatch):
    asked = []
    monkeypatch.setattr(videos, "run_module", lambda *arguments: asked.append(arguments) or {"frames a second": 2.0})
    found = videos.measure_videos(((4, 250, 25), (1, 3000, 5)))
    assert found == {
        "4 phases, 10 s, 250 frames: frames a second": 2.0,
        "1 phases, 600 s, 3000 frames: frames a second": 2.0,
    }
    assert asked[1] == ("metastyle.benchmark.videos", "1", "3000", "5")
