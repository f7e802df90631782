"""How much style each strength gives: the style loss S of outputs on pairs that were never seen in training."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from metastyle.evaluate.judge import Judge
from metastyle.evaluate.pairs import Pair
from metastyle.losses.ssim import ssim
from metastyle.nets import vgg
from metastyle.stylize.style import Knobs
from metastyle.stylize.stylizer import Stylizer

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)  # the strengths over which S is promised to fall
SHOWN = (*LEVELS, 1.25, 1.5)


class Measured(NamedTuple):
    """The style loss S, and the structural similarity with the photograph: f64[pairs, levels] both."""

    losses: np.ndarray
    similarities: np.ndarray


def measure_levels(
    stylizer: Stylizer, pairs: Iterable[Pair], params: vgg.Params, levels: tuple[float, ...] = LEVELS, steps: int = 10
) -> Measured:
    """Measures the outputs for each pair at each strength; the loss network `params` judges S.

    The style is adapted in `steps` steps on the pair's support, never on the judged photograph.
    """
    judge, losses, similarities = Judge(params), [], []
    for pair in tqdm(pairs, unit="pair", mininterval=1.0):
        style = stylizer.adapt(pair.style, steps=steps, support=pair.support)
        outputs = [style.apply(pair.content, Knobs(strength=level)) for level in levels]
        losses.append([float(judge.parts(output, pair).style[0]) for output in outputs])
        similarities.append([ssim(pair.content, output) for output in outputs])
    return Measured(np.array(losses), np.array(similarities))


def share_falling(losses: np.ndarray) -> float:
    """The share of pairs for which S falls at every step from one strength to the next; losses: f64[pairs, levels]."""
    return float((np.diff(losses, axis=1) < 0).all(1).mean())


def format_table(measured: Measured, levels: tuple[float, ...]) -> str:
    """For a terminal: the means over pairs at each strength, and the share of pairs for which S falls."""
    losses, similarities = measured
    promised = [i for i, level in enumerate(levels) if level in LEVELS]
    lines = [f"{'strength':>8}{'S':>8}{'SSIM':>8}"]
    for level, loss, similarity in zip(levels, losses.mean(0), similarities.mean(0), strict=True):
        lines.append(f"{level:>8g}{loss:>8.3f}{similarity:>8.3f}")
    share = share_falling(losses[:, promised])
    return "\n".join([*lines, f"S falls from 0 to 1 in {share:.1%} of {len(losses)} pairs"])
