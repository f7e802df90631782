"""How large the strokes are: the mean wavelength of what a style paints on a picture that is smooth itself."""

import numpy as np

from metastyle.images import masks
from metastyle.images.resize import resize
from metastyle.losses.ssim import LUMA
from metastyle.stylize.stylizer import Stylizer

_SMOOTH, _SLOW = 512, 24  # px: the side of the smooth picture, and what changes slower than this is no stroke


def wavelength(picture: np.ndarray) -> float:
    """2 pi (variance of the luma / mean of its squared gradient)^1/2, px, of f32[H, W, 3] without its slow parts.

    A sine of that wavelength has it; a mixture has less than its longest.
    """
    luma = np.asarray(picture, np.float64) @ LUMA
    fine = (luma - masks.feather(np.float32(luma), _SLOW))[_SLOW:-_SLOW, _SLOW:-_SLOW]
    down, right = np.diff(fine, axis=0), np.diff(fine, axis=1)
    return float(2 * np.pi * np.sqrt(fine.var() / (np.square(down).mean() + np.square(right).mean())))


def smooth() -> np.ndarray:
    """Four by four colours, blended: f32[512, 512, 3]."""
    colours = np.random.default_rng(0).uniform(size=(4, 4, 3))
    return resize(colours, (_SMOOTH, _SMOOTH))


def by_style_size(start: Stylizer, styles: list, sizes: list[int], steps: int = 10) -> np.ndarray:
    """Wavelengths, px, f64[styles, sizes], of styles that were brought to these sizes when they were learned."""
    adapted = [[start.adapt(style, steps=steps, style_size=size) for size in sizes] for style in styles]
    return np.array([[wavelength(style.stylize(smooth()) / 255) for style in row] for row in adapted])


def by_content_size(start: Stylizer, styles: list, sizes: list[int], steps: int = 10) -> np.ndarray:
    """Wavelengths in shares of the picture's side, f64[styles, sizes], of pictures that are brought to these sizes."""
    adapted = [start.adapt(style, steps=steps) for style in styles]
    outputs = [[style.stylize(smooth(), content_size=size) / 255 for size in sizes] for style in adapted]
    return np.array([[wavelength(x) / x.shape[0] for x in row] for row in outputs])
