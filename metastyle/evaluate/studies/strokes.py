"""How large a style's strokes are: the mean wavelength of an output whose photograph is smooth, without strokes."""

import itertools
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from metastyle.images import masks
from metastyle.images.codec import Picture
from metastyle.images.resize import resize
from metastyle.losses.ssim import LUMA
from metastyle.stylize.stylizer import Stylizer
from metastyle.stylize.transfer import transfer

STYLE_SIZES, CONTENT_SIZES = (64, 128, 256), (256, 512, 1024)  # px, that the table shows
TRANSFER_SIZES, STROKES = (512, 1024, 2048), (1.0, 2.0, 4.0)
_SMOOTH, _SLOW = 512, 24  # px: the side of the smooth picture; waves that are longer than this are no strokes


def wavelength(picture: np.ndarray, slow: int = _SLOW) -> float:
    """The mean wavelength, px, of f32[H, W, 3]: 2 pi (variance of the luma / mean of its squared gradient)^1/2.

    Waves that are longer than `slow` px are taken off first. A sine has its own wavelength, and a mixture of sines less
    than its longest.
    """
    luma = np.asarray(picture, np.float64) @ LUMA
    fine = (luma - masks.feather(luma.astype(np.float32), slow))[slow:-slow, slow:-slow]
    down, right = np.diff(fine, axis=0), np.diff(fine, axis=1)
    return float(2 * np.pi * np.sqrt(fine.var() / (np.square(down).mean() + np.square(right).mean())))


def make_smooth_picture() -> np.ndarray:
    """Four by four colours that blend into each other: f32[512, 512, 3]."""
    colours = np.random.default_rng(0).uniform(size=(4, 4, 3))
    return resize(colours, (_SMOOTH, _SMOOTH))


def measure_by_style_size(
    stylizer: Stylizer, styles: Sequence[Picture], sizes: Sequence[int], steps: int = 10
) -> np.ndarray:
    """Wavelengths in px, f64[styles, sizes], where the style picture is brought to each of `sizes` to be learned."""
    adapted = [[stylizer.adapt(style, steps=steps, style_size=size) for size in sizes] for style in styles]
    return np.array([[wavelength(style.stylize(make_smooth_picture()) / 255) for style in row] for row in adapted])


def measure_by_content_size(
    stylizer: Stylizer, styles: Sequence[Picture], sizes: Sequence[int], steps: int = 10
) -> np.ndarray:
    """Wavelengths as shares of the output's side, f64[styles, sizes], where the photograph is brought to each size."""
    adapted = [stylizer.adapt(style, steps=steps) for style in styles]
    outputs = [[style.stylize(make_smooth_picture(), content_size=size) / 255 for size in sizes] for style in adapted]
    return np.array([[wavelength(x) / x.shape[0] for x in row] for row in outputs])


def measure_transfers(
    styles: Sequence[Picture], sizes: Sequence[int], scales: Sequence[float], quality: str
) -> np.ndarray:
    """Wavelengths of `transfer` as shares of the output's side, f64[sizes, scales], the mean over styles.

    scales: of `stroke`. Waves of more than a twentieth of the side are no strokes.
    """

    def measured(style: Picture, size: int, scale: float) -> float:
        made = transfer(make_smooth_picture(), style, size=size, stroke=scale, quality=quality)
        return wavelength(made / 255, size // 20)

    found = [
        [[measured(style, size, scale) for scale in scales] for size in sizes]
        for style in tqdm(styles, unit="style", disable=None)
    ]
    return np.mean(found, 0) / np.array(sizes)[:, None]


def format_transfers(found: np.ndarray, sizes: Sequence[int], scales: Sequence[float]) -> str:
    """For a terminal: a line for each size and scale."""
    lines = zip(itertools.product(sizes, scales), found.ravel(), strict=True)
    return "\n".join(
        f"transfer --size={size:<5} --stroke={scale:<5g} mean wavelength {share:.2%} of the side"
        for (size, scale), share in lines
    )


def format_table(by_style_size: np.ndarray, by_content_size: np.ndarray) -> str:
    """For a terminal: the means over styles of what was measured at STYLE_SIZES, and of what was at CONTENT_SIZES."""
    lengths = zip(STYLE_SIZES, by_style_size.mean(0), strict=True)
    shares = zip(CONTENT_SIZES, by_content_size.mean(0), strict=True)
    lines = [f"--style_size={size:<5} mean wavelength {found:.1f} px" for size, found in lengths]
    lines += [f"--content_size={size:<5} mean wavelength {found:.2%} of the side" for size, found in shares]
    return "\n".join(lines)
