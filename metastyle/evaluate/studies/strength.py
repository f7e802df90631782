"""How much style a strength gives: the style loss S of pairs that were never seen, over strengths."""

from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from metastyle.evaluate.judge import Judge
from metastyle.evaluate.pairs import Pair
from metastyle.losses.ssim import ssim
from metastyle.nets import vgg
from metastyle.stylize.style import Knobs
from metastyle.stylize.stylizer import Stylizer

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)  # over which S is promised to fall
SHOWN = (*LEVELS, 1.25, 1.5)


def measure(
    start: Stylizer, pairs: Iterable[Pair], params: vgg.Params, levels: tuple[float, ...] = LEVELS, steps: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """S by the loss network `params`, and SSIM, of each pair's photograph at each strength: f64[pairs, levels] both.

    The style is adapted in `steps` steps on the pair's support, never on the judged photograph.
    """
    judge, losses, similarities = Judge(params), [], []
    for pair in tqdm(pairs, unit="pair", mininterval=1.0):
        style = start.adapt(pair.style, steps=steps, support=pair.support)
        outputs = [style.apply(pair.content, Knobs(strength=level)) for level in levels]
        losses.append([float(judge.parts(output, pair).style[0]) for output in outputs])
        similarities.append([ssim(pair.content, output) for output in outputs])
    return np.array(losses), np.array(similarities)


def falling(losses: np.ndarray) -> float:
    """The share of pairs in which S falls at every step from one strength to the next."""
    return float((np.diff(losses, axis=1) < 0).all(1).mean())


def table(losses: np.ndarray, similarities: np.ndarray, levels: tuple[float, ...]) -> str:
    """What was measured, in lines: means over pairs for each strength, and the share of pairs in which S falls."""
    promised = [i for i, level in enumerate(levels) if level in LEVELS]
    lines = [f"{'strength':>8}{'S':>8}{'SSIM':>8}"]
    for level, loss, similarity in zip(levels, losses.mean(0), similarities.mean(0), strict=True):
        lines.append(f"{level:>8g}{loss:>8.3f}{similarity:>8.3f}")
    share = falling(losses[:, promised])
    return "\n".join([*lines, f"S falls from 0 to 1 in {share:.1%} of {len(losses)} pairs"])
