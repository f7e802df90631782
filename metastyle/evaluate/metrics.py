"""Measures of pictures: how far a pixel grid stands out, structural similarity, and, of VGG features, CFSD.

The style distance by means and standard deviations is `losses.perceptual` with `Loss(statistic="mean_std")`; measures
with networks of their own are in artfid.py.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metastyle.errors import InputError
from metastyle.nets import vgg
from metastyle.system.optional import need

LUMA = (0.299, 0.587, 0.114)  # Rec. 601
_STRIP = 4  # lines whose spectra are averaged: enough to steady them, few enough to follow the picture
_NEAR = np.array([*range(-6, -1), *range(2, 7)])  # bins to compare with; a Hann window leaks into the one beside
_ROUNDING = 1 / 12 / 255**2  # power of the noise of 8-bit rounding
_MIN_SIDE = 32
_ROWS = 256  # positions whose similarities to all positions are held at once: 16 MiB at 512 px


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
    return float(np.exp(log_prominence(np.asarray(image, np.float64)).max()))


def log_prominence(images: Any, xp: Any = np) -> Any:
    """The logarithms of the four numbers whose largest is `grid_artefact`: floats [..., H, W, 3] -> [..., 4].

    xp: numpy, or jax.numpy for a gradient.
    """
    height, width = images.shape[-3:-1]
    luma = images[..., : height // 4 * 4, : width // 4 * 4, :] @ xp.asarray(LUMA, images.dtype)
    return xp.concatenate([_along_rows(lines, xp) for lines in (luma, xp.swapaxes(luma, -1, -2))], -1)


def _along_rows(lines: Any, xp: Any) -> Any:
    """How far 1/4 and 1/2 cycle per px stand out along the rows of [..., lines, pixels], both multiples of 4.

    By products with the few waves that count. With a Fourier transform among other work jaxlib 0.11 may wait for ever
    on CPUs: it waits for threads on one of them.
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


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004) of two pictures' luma; 1 where they are equal.

    a, b: floats [H, W, 3] in [0, 1] of one size, sides of at least 7 px. Raises InputError for pictures of different
    or smaller sizes, and when scikit-image is not installed.
    """
    structural_similarity = need("skimage.metrics", "ssim").structural_similarity
    if a.shape != b.shape or min(a.shape[:2]) < 7:
        raise InputError(f"`b`: expected the shape of `a`, sides of at least 7 px, got {a.shape} and {b.shape}; resize")
    return float(structural_similarity(*(np.asarray(x, np.float64) @ LUMA for x in (a, b)), data_range=1.0))


def cfsd(params: vgg.Params, content: np.ndarray, output: np.ndarray) -> float:
    """Content feature structural distance (StyleID, Chung et al. 2024); 0 where the structure is the same.

        S(F) = softmax over j of F_i . F_j / C^2          for positions i and j of C channels, F_i in R^C
        CFSD = sum over i of KL(S_i(content) || S_i(output))

    How alike every position is to every other one, compared as one distribution per position: what a style does to all
    positions alike matters little. The formula is that of the authors' public code, which the values in their tables
    are the size of: similarities are divided by C^2, and divergences summed over positions. So compare outputs of one
    size only. Features enter in the units of torchvision's normalisation: CFSD grows like their fourth power.

    The original takes VGG-19 after `relu3_1`, torchvision's weights. Here it is whichever network's features come in,
    `relu3_3` of our VGG-16 by convention: the order of methods can be compared with that of papers, numbers can't.

    Args:
      params: the VGG that gave the features, which says what units they are in.
      content, output: f32[h, w, C], features of the photograph and of the output, as from `vgg.features`.

    Takes time (h w)^2 C, and memory for 256 rows of the (h w)^2 similarities at a time. Raises InputError for features
    of different shapes.
    """
    if content.shape != output.shape or len(content.shape) != 3:
        raise InputError(
            f"`output`: expected [h, w, C] features of the shape of `content`, got {output.shape} and {content.shape}; "
            "resize the pictures to one size"
        )
    scale = params["input"]["std"].mean() / np.mean(vgg.TORCHVISION["std"]) / content.shape[-1]
    content, output = (jnp.asarray(x, jnp.float32).reshape(-1, x.shape[-1]) * scale for x in (content, output))
    return float(np.asarray(_divergences(content, output), np.float64).sum())


@jax.jit
def _divergences(content: jax.Array, output: jax.Array) -> jax.Array:
    """KL of each position's soft-maxed similarities: two f32[positions, C] -> f32[positions]."""

    def divergence(rows):
        log_p, log_q = (
            jax.nn.log_softmax(jnp.matmul(all_rows, row, precision="highest"))
            for all_rows, row in zip((content, output), rows, strict=True)
        )
        p, q = jnp.exp(log_p), jnp.exp(log_q)
        # q - p sums to 0. With it no term is negative, and the rounding of log_p and log_q, which sums to as much as
        # the divergence itself, cancels to first order.
        return jnp.sum(p * (log_p - log_q) + (q - p))

    return jax.lax.map(divergence, (content, output), batch_size=_ROWS)
