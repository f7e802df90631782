"""How steady a clip is: the warping error of Lai et al. 2018 (Learning Blind Video Temporal Consistency)."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from metastyle.images.clips import floats
from metastyle.losses.ssim import LUMA
from metastyle.video import flow

_AGREE = 0.1  # of colours in [0, 1]: where the frames of the clip differ by more along the flow, it is not believed

Flows = Callable[[int, int], np.ndarray]  # the flow from frame i to frame j, f32[H, W, 2]


class Followed(NamedTuple):
    """How a frame moves on to a later one. along: the flow to it. seen: where it can be told, bool [H, W]."""

    along: np.ndarray
    seen: np.ndarray


class WarpingError(NamedTuple):
    """error: the mean squared difference of colours in [0, 1]. cover: the share of pixels in which it is measured.

    curve: the error from each frame to the later one; NaN where nothing of both can be compared.
    """

    error: float
    cover: float
    curve: tuple[float, ...]


def follow(clip: Sequence[np.ndarray], lag: int = 1, flows: Flows | None = None) -> list[Followed]:
    """How each frame t of a clip moves on to frame t + lag.

    clip: uint8 [H, W, 3] each, as they were filmed. flows: between its frames, where they are known; by default DIS at
    full resolution. Raises ValueError for fewer than lag + 1 frames.
    """
    if len(clip) <= lag:
        raise ValueError(f"expected more than {lag} frames, got {len(clip)}")
    known, flows = flows is not None, flows or (lambda i, j: flow.flow(clip[i], clip[j], fine=True))
    found = []
    for t in range(len(clip) - lag):
        along = flows(t, t + lag)
        seen = flow.visible(along, flows(t + lag, t))
        if not known:
            moved = flow.warp(floats(clip[t + lag]), along)
            seen &= np.abs(moved - floats(clip[t])).mean(-1) <= _AGREE
        found.append(Followed(along, seen))
    return found


def warping_error(outputs: Sequence[np.ndarray], followed: Sequence[Followed]) -> WarpingError:
    """What changes from frame t to frame t + lag of `outputs`, beside moving along with the clip.

    outputs: the stylised frames, uint8 [H, W, 3] each. followed: `follow` of the clip, whose length less that of
    `outputs` is the lag. Pixels that are hidden in one of two frames, and those whose flow can't be believed, do not
    count.
    """
    lag, errors = len(outputs) - len(followed), []
    for t, (along, seen) in enumerate(followed):
        moved = flow.warp(floats(outputs[t + lag]), along)
        squares = np.square(moved - floats(outputs[t])).mean(-1)[seen]
        errors.append(float(squares.mean()) if squares.size else math.nan)
    believed = [error for error in errors if not math.isnan(error)]
    cover = float(np.mean([seen.mean() for _, seen in followed]))
    return WarpingError(float(np.mean(believed)) if believed else math.nan, cover, tuple(errors))


def sharpness(frames: Sequence[np.ndarray]) -> float:
    """The mean length of the gradient of the luma in [0, 1], a pixel, over frames uint8 [H, W, 3]."""
    lengths = []
    for frame in frames:
        down, right = np.gradient(floats(frame) @ LUMA)
        lengths.append(np.hypot(down, right).mean())
    return float(np.mean(lengths))
