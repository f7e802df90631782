"""The warping error: 0 for what moves along, the variance of flicker for what does not, nothing where it is hidden."""

import numpy as np
import pytest

pytest.importorskip("cv2")

from metastyle.video import measures
from tests.support import clips as made

CLIP = made.frames(12, 64, 96)  # moves by 2 px to the left, a frame
PAINTED = made.frames(12, 64, 96, seed=3)


def known(i, j):
    """The exact flow."""
    there = np.zeros((64, 96, 2), np.float32)
    there[..., 0] = -2 * (j - i)
    return there


@pytest.mark.parametrize("lag, hidden", [(1, 2), (10, 20)])
def test_what_moves_along_has_no_error(lag, hidden):
    found = measures.warping_error(list(PAINTED), measures.follow(list(CLIP), lag, known))
    assert len(found.curve) == 12 - lag
    assert found.error < 1e-9 and abs(found.cover - (96 - hidden) / 96) < 0.02


def test_flicker_counts_by_its_variance():
    """Two frames of independent noise differ by twice its variance."""
    noisy = np.clip(PAINTED + np.random.default_rng(0).normal(0, 10, PAINTED.shape), 0, 255).round().astype(np.uint8)
    found = measures.warping_error(list(noisy), measures.follow(list(CLIP), 1, known))
    assert abs(found.error / (2 * (10 / 255) ** 2) - 1) < 0.1


def test_flow_is_found_where_it_is_not_known():
    found = measures.warping_error(list(PAINTED), measures.follow(list(CLIP)))
    assert found.error < 2e-3 and found.cover > 0.6


def test_another_shot_is_not_measured():
    frames = [CLIP[0], 255 - CLIP[5]]
    found = measures.warping_error(frames, measures.follow(frames))
    assert found.cover < 0.3


def test_too_few_frames():
    with pytest.raises(ValueError, match="expected more than 10 frames, got 10"):
        measures.follow(list(CLIP[:10]), 10)


def test_sharpness_of_a_ramp_is_its_slope():
    ramp = np.repeat((2 * np.arange(96)).astype(np.uint8)[None, :, None], 64, 0).repeat(3, -1)
    assert abs(measures.sharpness([ramp]) - 2 / 255) < 1e-6
