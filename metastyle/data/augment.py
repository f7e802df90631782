"""Random crops of pictures, and collages of two."""

import math
from typing import Any

import numpy as np
from PIL import Image


def augment(
    rng: np.random.Generator, picture: np.ndarray, size: int, *, zoom: float, rotate: float, flip: bool
) -> np.ndarray:
    """A random crop, f32[size, size, 3] in [0, 1], of a random scaling and turn of `picture`.

    Args:
      picture: uint8[H, W, 3].
      zoom: the short side is scaled to between `size` and `zoom * size`, or to more if a turned crop would not fit.
      rotate: the largest turn in either direction, in degrees. The crop is always inside the picture.
      flip: whether to mirror every second crop.
    """
    scale, turn, x, y, mirror = rng.random(5)  # always five numbers, so that later draws don't depend on the settings
    angle = math.radians(rotate * (2 * turn - 1))
    cos, sin = math.cos(angle), math.sin(angle)
    span = abs(cos) + abs(sin)  # side of the upright square around a turned square of side 1
    height, width = picture.shape[:2]
    side = min(height, width) * min(1.0, span / (1 + (zoom - 1) * scale))
    left, top = x * (width - side), y * (height - side)
    box = (left, top, min(left + side, width), min(top + side, height))
    image = Image.fromarray(picture)
    if angle == 0:
        crop = np.asarray(image.resize((size, size), Image.Resampling.LANCZOS, box), np.float32)
    else:
        upright = math.ceil(size * span)
        if side > upright:
            image = image.resize((upright, upright), Image.Resampling.LANCZOS, box)
            left, top, side = 0.0, 0.0, upright
        pixel = side / (size * span)
        cos, sin = pixel * cos, pixel * sin
        shift_x, shift_y = left + (side - size * (cos + sin)) / 2, top + (side - size * (cos - sin)) / 2
        matrix = (cos, sin, shift_x, -sin, cos, shift_y)
        turned = image.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
        crop = np.array(turned, np.float32)
        # Pillow's bicubic filter truncates to bytes. Half a level more is the mean of the values that become one byte.
        crop[(crop > 0) & (crop < 255)] += 0.5
    if flip and mirror < 0.5:
        crop = crop[:, ::-1]
    return crop / 255


def collage(picture: Any, other: Any, turn: Any, at: Any, xp: Any = np) -> Any:
    """Puts `picture` f32[..., S, S, 3] on one side of a line and `other` f32[S, S, 3] on the other.

    turn: the direction of the line, as a part of a full circle in [0, 1]. at: where in the middle half of the picture
    it lies, in [0, 1]. xp: numpy or jax.numpy.
    """
    across = xp.linspace(-1, 1, picture.shape[-2])
    angle = 2 * math.pi * turn
    beyond = xp.cos(angle) * across + xp.sin(angle) * across[:, None] > at - 0.5
    return xp.where(beyond[..., None], other, picture)
