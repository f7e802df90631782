"""What an output is judged by: the same measures for every method, on the picture as it would be saved."""

from typing import NamedTuple

import jax
import numpy as np

from metastyle.config import Loss
from metastyle.evaluate import metrics
from metastyle.evaluate.pairs import Pair
from metastyle.images import codec
from metastyle.losses import perceptual
from metastyle.losses.grid import grid_artefact
from metastyle.losses.ssim import ssim
from metastyle.nets import metric_nets, vgg

_GRAM, _MEAN_STD, _ONE_OCTAVE = Loss(octaves=3), Loss(statistic="mean_std"), Loss()
_CONTENT_TAP = "relu3_3"


class Scores(NamedTuple):
    """What an output f32[S, S, 3] in [0, 1] is judged by.

    J = C + 5 S    the relative losses of losses.perceptual, and their parts
    S2, S4         S at half and at quarter size: shapes that S is too close to see
    J3             C + 5 times the mean of S, S2 and S4
    S_mean_std     the style loss with the mean and standard deviation of each channel instead of Gram matrices
    ssim           structural similarity with the photograph
    cfsd           structural distance of features at relu3_3 from the photograph (metrics.cfsd)
    grid           grid artefacts (losses.grid.grid_artefact)
    patches        distance of small patches from the style's at five scales (metrics.patch_distance); None below 112 px
    colors         distance of the colours from the style's, in units of CIELAB (metrics.color_distance)
    contrast       standard deviation of the lightness over that of the style
    dark, light    the 2nd and the 98th percentile of the lightness, from 0 to 100
    lpips          perceptual distance from the photograph (metric_nets.lpips); None without its weights
    """

    J: float
    C: float
    S: float
    S2: float
    S4: float
    J3: float
    S_mean_std: float
    ssim: float
    cfsd: float
    grid: float
    patches: float | None
    colors: float
    contrast: float
    dark: float
    light: float
    lpips: float | None


class _Reference(NamedTuple):
    """The photograph's features, and the style's statistics of both kinds."""

    content: jax.Array
    gram: perceptual.Target
    mean_std: perceptual.Target


class Judge:
    """`judge(output, pair)` gives the scores of an output, which is rounded to 8 bits before anything else.

    params: the loss network that judges. lpips: the weights of `metric_nets.lpips`, or None.
    """

    def __init__(self, params: vgg.Params, lpips: metric_nets.Params | None = None):
        self.params, self._lpips = params, lpips
        self._last: tuple[int, _Reference] | None = None

    def parts(self, output: np.ndarray, pair: Pair) -> perceptual.Parts:
        """The relative losses alone, of the picture's own size, each f32[1]."""
        reference, seen = self._reference(pair), _seen(output)
        return _parts(self.params, seen[None], reference.content, reference.gram)

    def __call__(self, output: np.ndarray, pair: Pair) -> Scores:
        """The scores of an output f32[S, S, 3] in [0, 1]."""
        seen = _seen(output)
        reference = self._reference(pair)
        gram, mean_std, features = _judge(self.params, seen[None], reference)
        lpips = None
        if self._lpips is not None:
            lpips = float(metric_nets.lpips(self._lpips, pair.content[None], seen[None])[0])
        content, (s, s2, s4) = float(gram.content[0]), map(float, gram.by_octave[0])
        ours, theirs = metrics.lab(seen), metrics.lab(pair.style)
        dark, light = np.percentile(ours[..., 0], (2, 98))
        return Scores(
            J=content + _GRAM.style * s,
            C=content,
            S=s,
            S2=s2,
            S4=s4,
            J3=float(gram.total[0]),
            S_mean_std=float(mean_std.style[0]),
            ssim=ssim(pair.content, seen),
            cfsd=metrics.cfsd(self.params, reference.content[0], features[0]),
            grid=grid_artefact(seen),
            patches=metrics.patch_distance(seen, pair.style) if min(seen.shape[:2]) >= metrics.MIN_SIDE else None,
            colors=metrics.color_distance(ours, theirs),
            contrast=float(ours[..., 0].std() / theirs[..., 0].std()),
            dark=float(dark),
            light=float(light),
            lpips=lpips,
        )

    def _reference(self, pair: Pair) -> _Reference:
        """What outputs for a pair are compared with; that of the last pair is kept."""
        if self._last is None or self._last[0] != pair.number:
            self._last = (pair.number, _measure(self.params, pair.content[None], pair.style[None]))
        return self._last[1]


def _seen(output: np.ndarray) -> np.ndarray:
    """The output as a picture file would hold it."""
    return codec.to_uint8(output).astype(np.float32) / 255


@jax.jit
def _parts(params, output, content, target):
    return perceptual.perceptual(params, output, content, target, _ONE_OCTAVE)


@jax.jit
def _measure(params, content, style):
    return _Reference(
        perceptual.content_target(params, content, _GRAM),
        *(perceptual.style_target(params, style, loss) for loss in (_GRAM, _MEAN_STD)),
    )


@jax.jit
def _judge(params, output, reference):
    """Written as three passes through the network; the compiler makes one of them."""
    parts = [
        perceptual.perceptual(params, output, reference.content, target, loss)
        for target, loss in ((reference.gram, _GRAM), (reference.mean_std, _MEAN_STD))
    ]
    return *parts, vgg.features(params, output, (_CONTENT_TAP,))[_CONTENT_TAP]
