"""Masks f32[H, W] in [0, 1]: where a style is applied, and how much of it."""

import math
import warnings

import numpy as np

from metastyle.errors import Adjusted, InputError
from metastyle.images import codec
from metastyle.images.resize import resize

# The whole number 1 of 8 and of 16 bits: programs that find regions write masks that hold nothing larger.
_ONE = (np.float32(1) / 255, np.float32(1) / 65535)


def load(
    picture: codec.Picture, height: int, width: int, *, name: str = "mask", max_pixels: int = codec.MAX_PIXELS
) -> np.ndarray:
    """Reads a mask: the lightness of each pixel of a picture, 0 where it is transparent.

    Where whole numbers are 0 and 1 only, 1 is white, with an `Adjusted` warning.

    Args:
      picture: as for `codec.load`, as are `name` and `max_pixels`.
      height, width: those of the picture that the mask is for. A mask of another size is resized, with an `Adjusted`
        warning.

    Returns:
      f32[height, width] in [0, 1]: the luma of Rec. 601 times the opacity. The luma of a grey is exactly its value.

    Raises:
      FileNotFoundError, InputError: as `codec.load`.
    """
    rgb, alpha = codec.load(picture, name=name, max_pixels=max_pixels)
    if rgb.max() in _ONE:
        message = f"`{name}`: {codec.describe(picture)} holds only the numbers 0 and 1, taken as black and white"
        warnings.warn(message, Adjusted, stacklevel=2)
        rgb = rgb / rgb.max()
    red, green, blue = np.moveaxis(rgb, -1, 0)
    mask = green + 0.299 * (red - green) + 0.114 * (blue - green)
    if alpha is not None:
        mask -= 1 - alpha  # `codec.load` puts pictures on white, but a mask belongs on black
    mask = np.clip(mask, 0, 1, out=mask)
    if mask.shape != (height, width):
        size = f"{mask.shape[1]} x {mask.shape[0]}"
        message = f"`{name}`: {codec.describe(picture)} is {size}, resized to {width} x {height}"
        warnings.warn(message, Adjusted, stacklevel=2)
        mask = resize(mask, (height, width))
    return mask


def feather(mask: np.ndarray, radius: float, *, name: str = "feather") -> np.ndarray:
    """Blurs a mask with a Gaussian; the mask is mirrored at its borders, so that its mean stays the same.

    The mask is convolved with the Gaussian sampled at whole pixels up to 6 standard deviations, with sum 1, in float
    precision. Fourier transforms make the time nearly independent of the radius: scipy.ndimage.gaussian_filter takes 4
    times as long at 20 px and 25 times as long at 200 px (a mask of 2000 x 3000 px on a CPU).

    Args:
      mask: f32[H, W] in [0, 1].
      radius: the standard deviation, px; 0 returns the mask itself.
      name: the argument that errors name.

    Returns:
      f32[H, W] in [0, 1].

    Raises:
      InputError: `radius` is negative or not finite.
    """
    if not 0 <= radius < math.inf:
        raise InputError(f"`{name}`: expected a radius of 0 px or more, got {radius}")
    if radius == 0:
        return mask
    blurred = np.ascontiguousarray(_blur_rows(_blur_rows(mask, radius).T, radius).T)
    return np.clip(blurred, 0, 1, out=blurred)


def _blur_rows(mask: np.ndarray, radius: float) -> np.ndarray:
    height, width = mask.shape
    radius = min(radius, 2 * width)  # with any larger one, float32 holds the mean only
    reach = math.ceil(6 * radius)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * np.square(offsets / radius))
    length = width + 2 * reach
    factor = 1 << (length.bit_length() - 3)
    # A multiple of a power of 2: transforms of lengths with large prime factors are slow.
    length = -(-length // factor) * factor
    response = np.fft.rfft(np.bincount(offsets % length, weights / weights.sum(), length)).real.astype(np.float32)
    out = np.empty((height, width), np.float32)
    step = max((1 << 18) // length, 1)
    for top in range(0, height, step):
        rows = np.pad(mask[top : top + step], ((0, 0), (reach, reach)), "symmetric")
        blurred = np.fft.irfft(np.fft.rfft(rows, length) * response, length)
        out[top : top + step] = blurred[:, reach : reach + width]
    return out
