"""How well photographs are brought to a domain: KID with its error, beside two bounds, and what of them is kept.

The kernel inception distance (Binkowski et al. 2018) is the squared maximum mean discrepancy for the kernel
(x . y / d + 1)^3. Here x are means and standard deviations of VGG-16's features in each quarter of a picture, shifted
and scaled so that those of the domain's training pictures have mean 0 and deviation 1. Pairs of quarters of one picture
are left out, and the error is that of a bootstrap over pictures: quarters of one picture are no further samples.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metastyle.config import Loss
from metastyle.images import codec
from metastyle.losses import perceptual
from metastyle.losses.grid import grid_artefact
from metastyle.losses.ssim import ssim
from metastyle.nets import vgg

_TAPS = ("relu3_3", "relu4_3")
_RECALL_TAP = "relu4_3"
_ONE = Loss()
_NOISE = 2 / 255  # deviation, on the middle picture of a cycle
_DRAWS = 200  # of the bootstrap

Stylize = Callable[[np.ndarray], np.ndarray]  # f32[S, S, 3] in [0, 1] -> the same


class Row(NamedTuple):
    """A method. kid: the distance of its outputs from held-out pictures of the domain. error: its standard error.

    C: the content loss, a mean. recall: the share of outputs whose own photograph is the nearest of all, by the
    features at relu4_3. grid: the grid score, a mean. They are None for pictures that no method made. cycle: SSIM with
    the photograph of what the method's way back makes of its outputs, rounded to 8 bits and with noise of deviation
    2/255; None without a way back. Without noise, a network may hide the photograph where the eye can't see it.
    """

    method: str
    kid: float
    error: float
    C: float | None = None
    recall: float | None = None
    grid: float | None = None
    cycle: float | None = None


class Distance(NamedTuple):
    """KID, and its standard error."""

    value: float
    error: float


class Measure:
    """Measures outputs for the same photographs, f32[N, S, S, 3], against pictures of a domain, by VGG-16."""

    def __init__(self, params: vgg.Params, photographs: np.ndarray, train: np.ndarray, held_out: np.ndarray):
        """train, held_out: of the domain, f32[M, S, S, 3] in [0, 1]."""
        self._params, self._photographs = params, photographs
        of_train = _quarters(params, train)
        flat = of_train.reshape(-1, of_train.shape[-1])
        self._mean, self._deviation = flat.mean(0), flat.std(0) + 1e-6
        self._held_out = self._standard(_quarters(params, held_out))
        self._train = self._standard(of_train)
        self._keys = np.stack([_key(params, x) for x in photographs])

    def bounds(self, photographs: str, train: str) -> list[Row]:
        """The photographs as they are, and the domain's training pictures: between these a method should lie."""
        return [
            Row(photographs, *self._distance(self._photographs)),
            Row(train, *kid(self._train, self._held_out)),
        ]

    def of(self, method: str, stylize: Stylize, back: Stylize | None = None) -> tuple[Row, np.ndarray]:
        """The row of a method, and its outputs, rounded to 8 bits. back: its way back to photographs."""
        outputs = np.stack([codec.to_uint8(stylize(x)).astype(np.float32) / 255 for x in self._photographs])
        content = [_content(self._params, y[None], x[None]) for x, y in zip(self._photographs, outputs, strict=True)]
        found = np.stack([_key(self._params, x) for x in outputs]) @ self._keys.T
        recall = float((found.argmax(1) == np.arange(len(outputs))).mean())
        grid = float(np.mean([grid_artefact(x) for x in outputs]))
        cycle = None if back is None else self._cycle(outputs, back)
        return Row(method, *self._distance(outputs), float(np.mean(content)), recall, grid, cycle), outputs

    def _cycle(self, outputs: np.ndarray, back: Stylize) -> float:
        rng, found = np.random.default_rng(0), []
        for photograph, output in zip(self._photographs, outputs, strict=True):
            noisy = np.clip(output + rng.normal(0, _NOISE, output.shape), 0, 1).astype(np.float32)
            found.append(ssim(photograph, back(noisy)))
        return float(np.mean(found))

    def _distance(self, pictures: np.ndarray) -> Distance:
        return kid(self._standard(_quarters(self._params, pictures)), self._held_out)

    def _standard(self, features: np.ndarray) -> np.ndarray:
        return (features - self._mean) / self._deviation


def kid(a: np.ndarray, b: np.ndarray, draws: int = _DRAWS, seed: int = 0) -> Distance:
    """KID between two sets of pictures, from features f32[N, parts, D] and f32[M, parts, D]; 0 in the mean if equal.

    Raises ValueError for fewer than two pictures on a side.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"expected at least two pictures on each side, got {len(a)} and {len(b)}")
    kernels = _kernel(a, a), _kernel(b, b), _kernel(a, b)
    every = np.arange(len(a)), np.arange(len(b))
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        chosen = [rng.integers(len(x), size=len(x)) for x in every]
        if all(len(set(x.tolist())) > 1 for x in chosen):
            drawn.append(_discrepancy(kernels, *chosen))
    return Distance(_discrepancy(kernels, *every), float(np.std(drawn)))


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The mean of the kernel over all parts of two pictures: f64[N, M]."""
    products = np.einsum("npd,mqd->nmpq", a.astype(np.float64), b.astype(np.float64)) / a.shape[-1]
    return ((products + 1) ** 3).mean((2, 3))


def _discrepancy(kernels: Sequence[np.ndarray], i: np.ndarray, j: np.ndarray) -> float:
    """The squared discrepancy of the pictures with these indices; pairs of a picture with itself don't count."""
    within = []
    for kernel, chosen in zip(kernels[:2], (i, j), strict=True):
        others = chosen[:, None] != chosen[None]
        within.append(kernel[np.ix_(chosen, chosen)][others].mean())
    return float(sum(within) - 2 * kernels[2][np.ix_(i, j)].mean())


def _quarters(params: vgg.Params, pictures: np.ndarray) -> np.ndarray:
    """What `kid` compares: f32[N, 4, D] for f32[N, S, S, 3]."""
    half = pictures.shape[1] // 2
    cut = [x[y : y + half, z : z + half] for x in pictures for y in (0, half) for z in (0, half)]
    features = np.stack([np.asarray(_statistics(params, part[None])) for part in cut])
    return features.reshape(len(pictures), 4, -1)


@jax.jit
def _statistics(params: vgg.Params, picture: jax.Array) -> jax.Array:
    features = vgg.features(params, picture, _TAPS)
    return jnp.concatenate([f(features[tap][0], (0, 1)) for tap in _TAPS for f in (jnp.mean, jnp.std)])


@jax.jit
def _unit_features(params: vgg.Params, picture: jax.Array) -> jax.Array:
    x = vgg.features(params, picture[None], (_RECALL_TAP,))[_RECALL_TAP].ravel()
    return x / jnp.linalg.norm(x)


def _key(params: vgg.Params, picture: np.ndarray) -> np.ndarray:
    """The direction of a picture's features, by which its photograph is found again."""
    return np.asarray(_unit_features(params, picture))


def _content(params: vgg.Params, output: np.ndarray, photograph: np.ndarray) -> float:
    target = perceptual.content_target(params, photograph, _ONE)
    kept = perceptual.content_target(params, output, _ONE)
    return float(perceptual.ratio(kept, target)[0])


def table(rows: Sequence[Row]) -> list[list[str]]:
    """The cells of a table of the rows, below its head."""
    lines = [["method", "KID", "C", "recall", "grid", "cycle"]]
    for row in rows:
        rest = ["" if x is None else f"{x:.2f}" for x in (row.C, row.recall, row.grid, row.cycle)]
        lines.append([row.method, f"{row.kid:.3f} ± {row.error:.3f}", *rest])
    return lines
