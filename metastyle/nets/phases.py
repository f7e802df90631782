"""The mean of a network's outputs over places of the picture on its pixel grid (cycle spinning, Coifman et al. 1995).

A network that packs m x m pixels into one position gives another output for a picture that is shifted by less than m
px, and its texture has a period of m px. The mean over shifts has neither. Each shift pads the picture by reflection,
runs the network, and cuts the picture out of the result.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Shift(NamedTuple):
    """How a picture is padded for one place on the grid: px above and to the left, and px below and to the right."""

    before: tuple[int, int]
    after: tuple[int, int]


def shifts(phases: int, height: int, width: int, multiple: int) -> list[Shift]:
    """The shifts of a picture of this size for a network with this `Net.multiple`. All padded pictures have one size.

    With 4 phases, every row and every column of the grid's quarters is met once: (0, 0), (1, 2), (2, 3), (3, 1) for a
    multiple of 4 px. With 16, all pairs are. With 1 phase, the picture is only padded to a multiple.
    """
    quarter, most = multiple // 4, multiple if phases > 1 else 0
    places = {1: [(0, 0)], 4: [(0, 0), (1, 2), (2, 3), (3, 1)], 16: [(i, j) for i in range(4) for j in range(4)]}
    rows, columns = (-side % multiple + most for side in (height, width))  # px of padding
    return [Shift((i * quarter, j * quarter), (rows - i * quarter, columns - j * quarter)) for i, j in places[phases]]


def mean_over_phases(
    run: Callable[[np.ndarray], np.ndarray], pictures: np.ndarray, phases: int, multiple: int
) -> np.ndarray:
    """The mean of `run` over the shifts of pictures f32[..., H, W, 3], one after the other: f32[..., H, W, 3].

    run: f32[..., H', W', 3] -> the same.
    """
    if phases == 1:
        return run(pictures)
    height, width = pictures.shape[-3:-1]
    total, around = np.zeros_like(pictures), [(0, 0)] * (pictures.ndim - 3)
    for (top, left), (bottom, right) in shifts(phases, height, width, multiple):
        output = run(np.pad(pictures, [*around, (top, bottom), (left, right), (0, 0)], "reflect"))
        total += output[..., top : top + height, left : left + width, :]
    return total / np.float32(phases)
