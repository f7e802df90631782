"""A video that was killed and continued has the same bytes."""

import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

from tests.support import kills


@pytest.mark.slow
@pytest.mark.processes
def test_killed_work_goes_on_to_the_same_bytes(tmp_path):
    """Late enough that a segment is there, most likely; the moments of tests.support.kills are random."""
    seconds = kills.whole(tmp_path)
    for share in (0.6, 0.85):
        _, same = kills.killed_and_continued(tmp_path, share * seconds)
        assert same
