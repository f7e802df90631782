"""Optical flow: where each pixel of a frame was in another frame, and where that can be told.

DIS (Kroeger et al. 2016), by OpenCV. A flow is f32[H, W, 2], in px: pixel (y, x) of frame a is found at
(y + flow[y, x, 1], x + flow[y, x, 0]) of frame b.
"""

import functools
from typing import Any

import numpy as np

from metastyle.system.optional import need

_LEAST = 16  # px: DIS divides a frame into patches of 8 px


def need_cv2() -> Any:
    """OpenCV. Raises InputError where it is not installed."""
    return need("cv2", "`content`: the stability of a video")


def flow(a: np.ndarray, b: np.ndarray, *, fine: bool = False) -> np.ndarray:
    """The flow from frame a to frame b, both uint8 [H, W, 3]. fine: at full resolution, twice as slow."""
    cv2 = need_cv2()
    grey = [cv2.cvtColor(np.ascontiguousarray(x), cv2.COLOR_RGB2GRAY) for x in (a, b)]
    if min(grey[0].shape) < _LEAST:
        return np.zeros((*grey[0].shape, 2), np.float32)
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    if fine:
        dis.setFinestScale(0)
    return dis.calc(*grey, None)


def warp(picture: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The picture f32[H, W] or f32[H, W, C], fetched along a flow by bicubic interpolation: pixel p is its p + flow."""
    cv2 = need_cv2()
    places = grid(*along.shape[:2]) + along
    return cv2.remap(picture, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def visible(there: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Where a flow can be trusted: bool [H, W].

    there, back: the flow from a to b, and the flow from b to a. A pixel counts where both agree and no motion boundary
    is near (Sundaram et al. 2010, equations 5 and 6), and where it stays within the frame.
    """
    returned = warp(back, there)
    length = lambda x: np.square(x).sum(-1)
    agree = length(there + returned) <= 0.01 * (length(there) + length(returned)) + 0.5
    steepness = sum(np.square(slope) for axis in (0, 1) for slope in np.gradient(there, axis=axis).transpose(2, 0, 1))
    smooth = steepness <= 0.01 * length(there) + 0.002
    places = grid(*there.shape[:2]) + there
    height, width = there.shape[:2]
    inside = (places >= 0).all(-1) & (places[..., 0] <= width - 1) & (places[..., 1] <= height - 1)
    return agree & smooth & inside


@functools.lru_cache(maxsize=4)
def grid(height: int, width: int) -> np.ndarray:
    """The coordinates (x, y) of each pixel, f32[H, W, 2]."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
