"""How far a pixel grid stands out in a picture, such as up-sampling leaves: as a score, and as a differentiable loss.

Both measure spectral power at 1/4 and at 1/2 cycle per px, which are periods of 4 and 2 px, against the power at
neighbouring frequencies.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metastyle.errors import InputError
from metastyle.losses.ssim import LUMA

_STRIP = 4  # lines whose spectra are averaged: enough to steady them, few enough to follow the picture
_NEAR = np.array([*range(-6, -1), *range(2, 7)])  # bins to compare with; not the next one, where a Hann window leaks
_ROUNDING = 1 / 12 / 255**2  # power of the noise of 8-bit rounding
_MIN_SIDE = 32


def grid_artefact(image: np.ndarray) -> float:
    """How far a grid of period 2 or 4 px stands out: about 1 where there is none.

    The power spectrum of the luma is taken along each row (Hann window) and averaged over strips of 4 rows. In each
    strip, the power at 1/4 cycle per px is divided by the mean power 2 to 6 bins away on either side. The geometric
    mean of these ratios over the strips says how far that frequency stands out, whatever else each strip shows. The
    same is done at 1/2 cycle per px, and along columns. The score is the largest of the four numbers.

    Checkerboards and stripes of 1 or 2 px count alike. Squares of 4 px and more don't count, and neither do blocks of
    one colour each, as nearest-neighbour up-sampling makes them, because their spectrum vanishes there. The power of
    8-bit rounding noise is added everywhere, so a constant picture scores 1. White noise and photographs score 0.7 to
    1.3. A photograph of 256 px with a checkerboard of 2 px squares, +-8/255, scores over 30 times its score without it.

    Args:
      image: floats [H, W, 3] in [0, 1], sides of at least 32 px; rows and columns beyond a multiple of 4 are left out.

    Raises:
      InputError: the picture is smaller.
    """
    height, width = image.shape[:2]
    if min(height, width) < _MIN_SIDE:
        raise InputError(
            f"`image`: expected sides of at least {_MIN_SIDE} px, got {width} x {height}; use a larger one"
        )
    return float(np.exp(log_prominence(np.asarray(image, np.float64)).max()))


def grid_loss(images: jax.Array) -> jax.Array:
    """How far a grid of period 2 or 4 px stands out: f32[N, H, W, 3] in [0, 1], sides of at least 16 px -> f32[N].

    It is the mean of the four numbers of `log_prominence`, where those below 0 count as 0.
    """
    with jax.default_matmul_precision("highest"):  # at less, the mean of a picture shows at every frequency
        return jnp.maximum(log_prominence(images, jnp), 0).mean(-1)


def log_prominence(images: Any, xp: Any = np) -> Any:
    """The logarithms of the four numbers whose largest is `grid_artefact`: floats [..., H, W, 3] -> [..., 4].

    They belong to 1/4 and 1/2 cycle per px along rows, then along columns. xp: numpy, or jax.numpy for a gradient.
    """
    height, width = images.shape[-3:-1]
    luma = images[..., : height // 4 * 4, : width // 4 * 4, :] @ xp.asarray(LUMA, images.dtype)
    return xp.concatenate([_along_rows(lines, xp) for lines in (luma, xp.swapaxes(luma, -1, -2))], -1)


def _along_rows(lines: Any, xp: Any) -> Any:
    """How far 1/4 and 1/2 cycle per px stand out along the rows of [..., lines, pixels], both multiples of 4: [..., 2].

    The spectrum is computed by products with the few waves that count. A Fourier transform beside other work can make
    jaxlib 0.11 hang on CPUs: the transform waits on one of the threads for the other threads.
    """
    pixels = lines.shape[-1]
    places = np.arange(pixels)
    window = np.sin(np.pi * (places + 0.5) / pixels) ** 2
    bins = np.array([[pixels // 4], [pixels // 2]]) + [0, *_NEAR]
    turns = 2 * np.pi * np.multiply.outer(places, bins) / pixels
    waves = np.stack([np.cos(turns), np.sin(turns)], -1) * window[:, None, None, None]
    spectrum = lines @ waves.reshape(pixels, -1).astype(lines.dtype)
    power = xp.square(spectrum).reshape(*lines.shape[:-1], *bins.shape, 2).sum(-1) / np.square(window).sum() + _ROUNDING
    strips = power.reshape(*lines.shape[:-2], -1, _STRIP, *bins.shape).mean(-3)
    return xp.log(strips[..., 0] / strips[..., 1:].mean(-1)).mean(-2)
