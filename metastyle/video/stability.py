"""Keeps a stylised clip from flickering: each frame is mixed with the one before, moved along with the picture.

    y_t = a w warp(y_{t-1}) + (1 - a w) G(x_t)

where G(x_t) is the frame as it is stylised by itself, a the stability, and w from 0 to 1 says where the optical flow
between the frames of the clip can be trusted. Since every frame draws y_t towards G(x_t), nothing drifts or darkens.
Where a cut hides nearly everything, the frame stands for itself.
"""

from typing import NamedTuple

import numpy as np

from metastyle.video import flow

_CUT = 0.2  # of the picture: if less of it is visible in the frame before, there is a cut between them
_ERROR = 0.06  # of colours in [0, 1]: where the frames of the clip differ by so much along the flow, w is 1/e
_MARGIN, _SOFT = 5, 1.5  # px: what is hidden grows by half of this square, and its edge is blurred


class Before(NamedTuple):
    """The frame before: of the clip, uint8 [H, W, 3], and as it was shown, f32[H, W, 3] in [0, 1]."""

    frame: np.ndarray
    shown: np.ndarray


class Motion(NamedTuple):
    """How a frame follows from the one before. along: the flow to it, f32[H, W, 2]. trust: w, f32[H, W] in [0, 1].

    cut: whether it is another shot.
    """

    along: np.ndarray
    trust: np.ndarray
    cut: bool


def motion(frame: np.ndarray, before: np.ndarray) -> Motion:
    """Compares two frames of a clip, uint8 [H, W, 3], of which `before` is the earlier one."""
    cv2 = flow.need_cv2()
    along, back = flow.flow(frame, before), flow.flow(before, frame)
    seen = flow.visible(along, back)
    moved = flow.warp(before, along)
    error = cv2.absdiff(frame, moved).mean(-1, dtype=np.float32) / 255
    close = np.exp(-np.square(cv2.GaussianBlur(error, (0, 0), _SOFT) / _ERROR))
    shown = cv2.erode(seen.astype(np.float32), np.ones((_MARGIN, _MARGIN)))
    trust = cv2.GaussianBlur(shown, (0, 0), _SOFT) * close
    return Motion(along, trust, cut=float(trust.mean()) < _CUT)


def steadied(stylised: np.ndarray, before: np.ndarray, found: Motion, stability: float) -> np.ndarray:
    """y_t of the module's docstring, f32[H, W, 3] in [0, 1]. before: y_{t-1}. stability: a, from 0 to 1."""
    if found.cut or stability == 0:
        return stylised
    weight = (stability * found.trust)[..., None]
    return np.clip(stylised + weight * (flow.warp(before, found.along) - stylised), 0, 1)
