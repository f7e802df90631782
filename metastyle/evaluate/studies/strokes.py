"""How large a style's strokes are: the mean wavelength of an output whose photograph is smooth, without strokes."""

import numpy as np

from metastyle.images import masks
from metastyle.images.resize import resize
from metastyle.losses.ssim import LUMA
from metastyle.stylize.stylizer import Stylizer

_SMOOTH, _SLOW = 512, 24  # px: the side of the smooth picture; waves that are longer than this are no strokes


def wavelength(picture: np.ndarray) -> float:
    """The mean wavelength, px, of f32[H, W, 3]: 2 pi (variance of the luma / mean of its squared gradient)^1/2.

    Long waves are taken off first. A sine has its own wavelength, and a mixture of sines less than its longest.
    """
    luma = np.asarray(picture, np.float64) @ LUMA
    fine = (luma - masks.feather(luma.astype(np.float32), _SLOW))[_SLOW:-_SLOW, _SLOW:-_SLOW]
    down, right = np.diff(fine, axis=0), np.diff(fine, axis=1)
    return float(2 * np.pi * np.sqrt(fine.var() / (np.square(down).mean() + np.square(right).mean())))


def make_smooth_picture() -> np.ndarray:
    """Four by four colours that blend into each other: f32[512, 512, 3]."""
    colours = np.random.default_rng(0).uniform(size=(4, 4, 3))
    return resize(colours, (_SMOOTH, _SMOOTH))


def measure_by_style_size(start: Stylizer, styles: list, sizes: list[int], steps: int = 10) -> np.ndarray:
    """Wavelengths in px, f64[styles, sizes], where the style picture is brought to each of `sizes` to be learned."""
    adapted = [[start.adapt(style, steps=steps, style_size=size) for size in sizes] for style in styles]
    return np.array([[wavelength(style.stylize(make_smooth_picture()) / 255) for style in row] for row in adapted])


def measure_by_content_size(start: Stylizer, styles: list, sizes: list[int], steps: int = 10) -> np.ndarray:
    """Wavelengths as shares of the output's side, f64[styles, sizes], where the photograph is brought to each size."""
    adapted = [start.adapt(style, steps=steps) for style in styles]
    outputs = [[style.stylize(make_smooth_picture(), content_size=size) / 255 for size in sizes] for style in adapted]
    return np.array([[wavelength(x) / x.shape[0] for x in row] for row in outputs])
