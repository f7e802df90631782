"""Flow finds how a picture moves, and steadied frames follow it; at a cut they begin anew."""

import numpy as np
import pytest

pytest.importorskip("cv2")

from metastyle.video import flow, stability
from tests.support import clips as made

MOVED = made.frames(3, 96, 128)  # by 2 px to the left, a frame


def inside(x):
    return x[12:-12, 12:-12]


def test_flow_points_to_where_a_pixel_is():
    there = flow.flow(MOVED[0], MOVED[1])
    assert np.abs(np.median(inside(there), (0, 1)) - (-2, 0)).max() < 0.3
    back = flow.flow(MOVED[1], MOVED[0], fine=True)
    assert np.abs(np.median(inside(back), (0, 1)) - (2, 0)).max() < 0.3


def test_warping_fetches_along_the_flow():
    along = np.zeros((96, 128, 2), np.float32)
    along[..., 0] = 2
    found = flow.warp(MOVED[0].astype(np.float32), along)
    np.testing.assert_allclose(inside(found), inside(MOVED[1]), atol=1e-3)
    along[...] = (0, -3)
    np.testing.assert_array_equal(flow.warp(MOVED[0], along)[3:], MOVED[0][:-3])


def test_only_flows_that_agree_are_visible():
    there = np.full((40, 50, 2), (5.0, 0.0), np.float32)
    seen = flow.visible(there, -there)
    assert seen[:, :45].all() and not seen[:, 45:].any()  # it leaves the frame there
    assert not flow.visible(there, there).any()
    there[:, 20:] = 0  # a motion boundary
    seen = flow.visible(there, np.zeros_like(there))
    assert seen[:, 22:].all() and not seen[:, :20].any()


def test_a_frame_that_is_too_small_for_flow_stands_still():
    assert not flow.flow(MOVED[0][:12, :12], MOVED[1][:12, :12]).any()


def test_a_picture_that_stands_still_stays_as_it_is():
    shown = np.random.default_rng(0).random((96, 128, 3), np.float32)
    found = stability.motion(MOVED[0], MOVED[0])
    assert not found.cut and found.trust.min() > 0.999
    np.testing.assert_allclose(stability.steadied(shown, shown, found, 0.8), shown, atol=1e-6)


def test_flicker_is_averaged_and_nothing_drifts():
    """y_t = a y_{t-1} + (1 - a) g_t: the variance of noise falls to (1 - a) / (1 + a), and the mean stays."""
    rng, mean = np.random.default_rng(0), 0.5
    shown, found = None, stability.motion(MOVED[0], MOVED[0])
    for _ in range(40):
        output = (mean + 0.1 * rng.standard_normal((96, 128, 3))).astype(np.float32)
        shown = output if shown is None else stability.steadied(output, shown, found, 0.8)
    assert abs(shown.mean() - mean) < 0.002
    assert abs(shown.var() / 0.01 - 0.2 / 1.8) < 0.02


def test_a_frame_follows_the_picture():
    """What was painted moves along, where the frames agree."""
    painted = made.frames(3, 96, 128, seed=5).astype(np.float32) / 255
    found = stability.motion(MOVED[1], MOVED[0])
    grey = np.full_like(painted[0], 0.5)
    y = stability.steadied(grey, painted[0], found, 1.0)
    assert np.abs(inside(y) - inside(painted[1])).mean() < 0.02


def test_at_a_cut_a_frame_stands_for_itself():
    other = 255 - made.frames(1, 96, 128, seed=9)[0]
    found = stability.motion(other, MOVED[0])
    assert found.cut
    output = np.random.default_rng(0).random((96, 128, 3), np.float32)
    np.testing.assert_array_equal(stability.steadied(output, 1 - output, found, 0.8), output)


def test_stability_0_is_the_frame_by_itself():
    output = np.random.default_rng(0).random((96, 128, 3), np.float32)
    found = stability.motion(MOVED[1], MOVED[0])
    np.testing.assert_array_equal(stability.steadied(output, 1 - output, found, 0.0), output)
