"""How steady a clip is: the warping error of Lai et al. 2018 (Learning Blind Video Temporal Consistency)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from metastyle.images.clips import floats
from metastyle.losses.ssim import LUMA
from metastyle.video import flow

_AGREE = 0.1  # of colours in [0, 1]: where the frames of the clip differ by more along the flow, it is not believed

Flows = Callable[[int, int], np.ndarray]  # the flow from frame i to frame j, f32[H, W, 2]


class WarpingError(NamedTuple):
    """error: the mean squared difference of colours in [0, 1]. cover: the share of pixels in which it is measured."""

    error: float
    cover: float


def warping_error(
    outputs: Sequence[np.ndarray], clip: Sequence[np.ndarray], lag: int = 1, flows: Flows | None = None
) -> WarpingError:
    """What changes from frame t to frame t + lag of `outputs`, beside moving along with `clip`.

    outputs, clip: uint8 [H, W, 3] each, the stylised frames and those that were filmed. flows: between frames of the
    clip, where they are known; by default DIS at full resolution. Pixels that are hidden in one of two frames, and
    those whose flow can't be believed, do not count. Raises ValueError for fewer than lag + 1 frames.
    """
    if len(outputs) <= lag:
        raise ValueError(f"expected more than {lag} frames, got {len(outputs)}")
    known, flows = flows is not None, flows or (lambda i, j: flow.flow(clip[i], clip[j], fine=True))
    errors, covers = [], []
    for t in range(len(outputs) - lag):
        there = flows(t, t + lag)
        seen = flow.visible(there, flows(t + lag, t))
        if not known:
            moved = flow.warp(floats(clip[t + lag]), there)
            seen &= np.abs(moved - floats(clip[t])).mean(-1) <= _AGREE
        moved = flow.warp(floats(outputs[t + lag]), there)
        covers.append(seen.mean())
        if seen.any():
            errors.append(np.square(moved - floats(outputs[t])).mean(-1)[seen].mean())
    return WarpingError(float(np.mean(errors)) if errors else float("nan"), float(np.mean(covers)))


def sharpness(frames: Sequence[np.ndarray]) -> float:
    """The mean length of the gradient of the luma in [0, 1], a pixel, over frames uint8 [H, W, 3]."""
    lengths = []
    for frame in frames:
        down, right = np.gradient(floats(frame) @ LUMA)
        lengths.append(np.hypot(down, right).mean())
    return float(np.mean(lengths))
