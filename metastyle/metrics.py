"""Measures of pictures that need no network: how far a pixel grid stands out, and structural similarity."""

import numpy as np

from metastyle.errors import InputError

_LUMA = (0.299, 0.587, 0.114)  # Rec. 601
_STRIP = 4  # lines whose spectra are averaged: enough to steady them, few enough to follow the picture
_NEAR = np.array([*range(-6, -1), *range(2, 7)])  # bins to compare with; a Hann window leaks into the one beside
_ROUNDING = 1 / 12 / 255**2  # power of the noise of 8-bit rounding
_MIN_SIDE = 32


def grid_artefact(image: np.ndarray) -> float:
    """How far a grid of period 2 or 4 px, such as up-sampling leaves, stands out: about 1 where there is none.

    Spectral power at 1/4 and at 1/2 cycle per px against neighbouring frequencies. The luma's power spectrum is taken
    along each row (Hann window) and averaged over strips of 4 rows. In each strip, the power at 1/4 is divided by the
    mean power 2 to 6 bins away on either side; of these ratios, the geometric mean over the strips says how far that
    frequency stands out, whatever each strip holds besides. Likewise at 1/2, and along columns; the score is the
    largest of the four.

    Checkerboards and stripes of 1 or 2 px count alike. Squares of 4 px and more don't, and neither do blocks of one
    colour each, as of nearest up-sampling, whose spectrum vanishes there. The power of 8-bit rounding noise is added
    throughout: a constant picture scores 1. White noise and photographs score 0.7 to 1.3; a photograph of 256 px with a
    checkerboard of 2 px squares, +-8/255, scores over 30 times what it scores without.

    Args:
      image: floats [H, W, 3] in [0, 1], sides of at least 32 px; rows and columns beyond a multiple of 4 are left out.

    Raises InputError for a smaller picture.
    """
    height, width = image.shape[:2]
    if min(height, width) < _MIN_SIDE:
        raise InputError(
            f"`image`: expected sides of at least {_MIN_SIDE} px, got {width} x {height}; use a larger one"
        )
    luma = np.asarray(image[: height // 4 * 4, : width // 4 * 4], np.float64) @ _LUMA
    return max(*_prominence(luma), *_prominence(luma.T))


def _prominence(lines: np.ndarray) -> list[float]:
    """How far 1/4 and 1/2 cycle per px stand out along the rows of [lines, pixels], both multiples of 4."""
    pixels = lines.shape[1]
    window = np.sin(np.pi * (np.arange(pixels) + 0.5) / pixels) ** 2
    power = np.square(np.abs(np.fft.fft(lines * window))) / np.square(window).sum() + _ROUNDING
    strips = power.reshape(-1, _STRIP, pixels).mean(1)
    bins = np.array([pixels // 4, pixels // 2])
    near = strips[:, (bins[:, None] + _NEAR) % pixels].mean(2)
    return np.exp(np.log(strips[:, bins] / near).mean(0)).tolist()


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004) of two pictures' luma; 1 where they are equal.

    a, b: floats [H, W, 3] in [0, 1] of one size, sides of at least 7 px. Raises InputError for pictures of different
    or smaller sizes, and when scikit-image is not installed.
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError:
        raise InputError(
            'ssim needs scikit-image, which is not installed; type `pip install "metastyle[eval]"`'
        ) from None
    if a.shape != b.shape or min(a.shape[:2]) < 7:
        raise InputError(f"`b`: expected the shape of `a`, sides of at least 7 px, got {a.shape} and {b.shape}; resize")
    return float(structural_similarity(*(np.asarray(x, np.float64) @ _LUMA for x in (a, b)), data_range=1.0))
