"""Measures from features (CFSD of the VGG's, FID and ArtFID of an Inception network's) and from pictures alone.

The style distance by means and standard deviations is `losses.perceptual` with `Loss(statistic="mean_std")`. The
networks of LPIPS and ArtFID are in nets/metric_nets.py.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from metastyle.errors import InputError
from metastyle.nets import vgg
from metastyle.nets.layers import upsample
from metastyle.nets.octaves import octaves
from metastyle.system.optional import need

Features = jax.Array | np.ndarray

_PATCH, _LEVELS, _PROJECTIONS, _MOST = 7, 5, 100, 16_384  # px; of the pyramid; of a patch; patches of a level
MIN_SIDE = _PATCH * 2 ** (_LEVELS - 1)  # px, of pictures that `patch_distance` takes
_SHIFTS, _MARGIN = (1, 2, 3), 16  # px
_ROWS = 256  # positions whose similarities to all positions are held at once: 16 MiB at 512 px


def cfsd(params: vgg.Params, content: Features, output: Features) -> float:
    """Content feature structural distance (StyleID, Chung et al. 2024); 0 where the structure is the same.

        S(F) = softmax over j of F_i . F_j / C^2          for positions i and j of C channels, F_i in R^C
        CFSD = sum over i of KL(S_i(content) || S_i(output))

    How alike every position is to every other one, compared as one distribution per position: what a style does to all
    positions alike matters little. The formula is that of the authors' public code, whose values have the size of
    those in their tables: similarities are divided by C^2, and divergences summed over positions. So compare outputs of
    one size only. Features enter in the units of torchvision's normalisation: CFSD grows like their fourth power.

    The original takes the features of torchvision's VGG-19 after `relu3_1`. Here the caller chooses the features,
    `relu3_3` of our VGG-16 by convention: the order of methods can be compared with that of papers, numbers can't.

    Args:
      params: the VGG that gave the features; its input convention says what units they are in.
      content, output: f32[h, w, C], features of the photograph and of the output, as from `vgg.features`.

    Takes time (h w)^2 C, and memory for 256 rows of the (h w)^2 similarities at a time. Raises InputError for features
    of different shapes.
    """
    if content.shape != output.shape or len(content.shape) != 3:
        raise InputError(
            f"`output`: expected [h, w, C] features of the shape of `content`, got {output.shape} and {content.shape}; "
            "resize the pictures to one size"
        )
    scale = params["input"]["std"].mean() / np.mean(vgg.TORCHVISION.std) / content.shape[-1]
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


def fid(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of the Gaussians that fit two sets of features, [n, C] and [m, C]; 0 for equal sets.

        |mean_a - mean_b|^2 + tr(cov_a + cov_b - 2 (cov_a cov_b)^(1/2)),   covariances over n - 1 and m - 1

    With few pictures it is biased upwards: the distance of two samples of one distribution is above 0, far above with
    fewer pictures than the 2048 channels. So compare values of sets of the same sizes only. Raises InputError for fewer
    than 2 pictures, or different C.
    """
    if a.ndim != 2 or b.ndim != 2 or min(len(a), len(b)) < 2 or a.shape[1] != b.shape[1]:
        raise InputError(
            f"`b`: expected features [m, C] to compare with `a`, [n, C], n and m at least 2, got {b.shape} and "
            f"{a.shape}; add pictures"
        )
    (mean_a, root_a), (mean_b, root_b) = (_gaussian(np.asarray(x, np.float64)) for x in (a, b))
    # With cov = root^T root, the eigenvalues of cov_a cov_b are the squared singular values of root_a root_b^T. The
    # usual square root of the product fails where covariances are singular, as they are with fewer pictures than C.
    common = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = np.square(mean_a - mean_b).sum() + np.square(root_a).sum() + np.square(root_b).sum() - 2 * common
    return max(float(distance), 0.0)


def _gaussian(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and a root of the covariance: [n, C] -> [C], [min(n, C), C] with root^T root the covariance."""
    mean = features.mean(0)
    return mean, np.linalg.qr(features - mean, "r") / np.sqrt(len(features) - 1)


def artfid(distances: np.ndarray, styles: np.ndarray, outputs: np.ndarray) -> float:
    """ArtFID (Wright and Ommer 2022): (1 + mean LPIPS) * (1 + FID), lower is better.

    Args:
      distances: [N], `metric_nets.lpips` of each photograph and its output.
      styles: [M, 2048], `metric_nets.inception` of the style pictures; in papers M = N, each style once per output
        in it.
      outputs: [N, 2048], `metric_nets.inception` of the outputs.

    What `fid` says of few pictures holds here. The authors' code by default extrapolates the FID to infinitely many
    pictures, from 5,000 on; of the 800 of StyleID's protocol each of its points takes all, which gives the plain FID.
    The untouched photographs can score well: print them, and the style pictures as outputs, beside every value.
    """
    return (1 + float(np.mean(distances))) * (1 + fid(styles, outputs))


def patch_distance(output: np.ndarray, style: np.ndarray) -> float:
    """How far the small patches of two pictures are apart at several scales; 0 for equal pictures. Uses no network.

    Both pictures f32[H, W, 3] are taken apart into a Laplacian pyramid of 5 levels. At each level, all patches of 7 x 7
    pixels are projected on 100 fixed random directions. The distance is the 1-Wasserstein distance of the projections,
    in standard deviations of the style's, as a mean over directions and levels (sliced Wasserstein distance, Rabin et
    al. 2011). Raises InputError for pictures of different sizes, or with sides of less than MIN_SIDE.
    """
    if output.shape != style.shape or min(style.shape[:2]) < MIN_SIDE:
        raise InputError(
            f"`output`: expected the size of `style`, sides of at least {MIN_SIDE} px, got "
            f"{output.shape} and {style.shape}"
        )
    directions = np.random.default_rng(0).normal(size=(_PATCH * _PATCH * 3, _PROJECTIONS)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    distances = []
    for ours, theirs in zip(_pyramid(output), _pyramid(style), strict=True):
        a, b = (np.sort(_patches(x) @ directions, 0) for x in (ours, theirs))
        distances.append((np.abs(a - b).mean(0) / (b.std(0) + 1e-8)).mean())
    return float(np.mean(distances))


def _pyramid(picture: np.ndarray) -> list[np.ndarray]:
    """The Laplacian pyramid: what each halving loses, and at the end the smallest picture."""
    scaled = octaves(jnp.asarray(picture)[None], _LEVELS)
    levels = []
    for large, small in zip(scaled[:-1], scaled[1:], strict=True):
        back = upsample(small, bilinear=True)
        levels.append(np.asarray(large[:, : back.shape[1], : back.shape[2]] - back)[0])
    return [*levels, np.asarray(scaled[-1][0])]


def _patches(level: np.ndarray) -> np.ndarray:
    """Patches of a level, [N, 7 * 7 * 3]: all of them, or evenly spread ones if these are too many."""
    windows = np.lib.stride_tricks.sliding_window_view(level, (_PATCH, _PATCH), (0, 1))
    stride = int(np.ceil(np.sqrt(windows.shape[0] * windows.shape[1] / _MOST)))
    return windows[::stride, ::stride].reshape(-1, _PATCH * _PATCH * 3)


def color_distance(output: np.ndarray, style: np.ndarray) -> float:
    """How far the colours of two pictures of one size are apart, in units of CIELAB; 0 for equal palettes.

    The mean over L, a and b of the 1-Wasserstein distance between the values of all pixels. output, style: as `lab`
    gives them.
    """
    a, b = (np.sort(x.reshape(-1, 3), 0) for x in (output, style))
    return float(np.abs(a - b).mean())


def lab(picture: np.ndarray) -> np.ndarray:
    """CIELAB values of a picture f32[H, W, 3] in [0, 1]: L in [0, 100]. Needs scikit-image."""
    return need("skimage.color", "an evaluation").rgb2lab(picture)


def shift_change(stylize: Callable[[np.ndarray], np.ndarray], content: np.ndarray, output: np.ndarray) -> float:
    """How much the output changes, beside moving along, when the photograph is moved by 1, 2 or 3 px diagonally.

    The mean squared change as a share of the output's variance, without the 16 px (or a quarter of the shorter side)
    along the borders: 0 where the texture moves along with the picture, 2 where it has nothing to do with the one
    before. stylize: f32[H, W, 3] -> the same. output: `stylize(content)`.
    """
    changes, margin = [], min(_MARGIN, min(content.shape[:2]) // 4)
    for d in _SHIFTS:
        moved = stylize(np.pad(content, ((0, d), (0, d), (0, 0)), "reflect")[d:, d:])
        after, before = moved[:-d, :-d], output[d:, d:]
        inside = slice(margin, -margin), slice(margin, -margin)
        changes.append(np.square(after[inside] - before[inside]).mean())
    return float(np.mean(changes) / output.var())
