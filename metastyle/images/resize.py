"""Resizes pictures with an antialiasing Lanczos filter, and cuts squares out of them."""

from __future__ import annotations

import numpy as np
from PIL import Image


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes with an antialiasing Lanczos filter, in float precision throughout.

    Args:
      image: floats [H, W] or [H, W, C] in [0, 1].
      size: `(height, width)` of the result.

    Returns:
      float32, clipped to [0, 1], since the filter overshoots.
    """
    return _lanczos(image, size)


def resize_short(image: np.ndarray, short: int) -> np.ndarray:
    """Resizes the shorter side to `short` px and keeps the aspect ratio."""
    return _lanczos(image, short_size(image.shape[:2], short))


def center_crop(image: np.ndarray, size: int) -> np.ndarray:
    """Returns the central `size` x `size` pixels of [H, W, ...], as a view; ValueError if `image` is smaller."""
    height, width = image.shape[:2]
    if size > min(height, width):
        raise ValueError(f"`size`: expected at most {min(height, width)} for a {width} x {height} picture, got {size}")
    top, left = (height - size) // 2, (width - size) // 2
    return image[top : top + size, left : left + size]


def square(image: np.ndarray, size: int) -> np.ndarray:
    """Computes `center_crop(resize_short(image, size), size)` without the pixels that the crop discards."""
    height, width = image.shape[:2]
    full_height, full_width = short_size(image.shape[:2], size)
    top, left = (full_height - size) // 2, (full_width - size) // 2
    box = (
        left * width / full_width,
        top * height / full_height,
        (left + size) * width / full_width,
        (top + size) * height / full_height,
    )
    return _lanczos(image, (size, size), box)


def short_size(size: tuple[int, ...], short: int) -> tuple[int, int]:
    """The (height, width) of a picture of this (height, width) whose shorter side is brought to `short` px."""
    height, width = size
    if height <= width:
        return short, round(width * short / height)
    return round(height * short / width), short


def _lanczos(
    image: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    if not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"`image`: expected floats in [0, 1], got {image.dtype}; read pictures with `load`")
    height, width = size
    planes = image.reshape(*image.shape[:2], -1)
    out = np.empty((height, width, planes.shape[-1]), np.float32)
    for c in range(planes.shape[-1]):
        plane = Image.fromarray(np.ascontiguousarray(planes[..., c], np.float32))
        out[..., c] = np.asarray(plane.resize((width, height), Image.Resampling.LANCZOS, box))
    return np.clip(out, 0, 1, out=out).reshape(height, width, *image.shape[2:])
