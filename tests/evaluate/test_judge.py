"""Scores agree with the losses and metrics that they are made of."""

import jax.numpy as jnp
import numpy as np
import pytest

from metastyle import config
from metastyle.evaluate import judge, metrics
from metastyle.evaluate.pairs import Pair
from metastyle.losses import perceptual
from metastyle.losses.grid import grid_artefact
from metastyle.losses.ssim import ssim
from metastyle.nets import vgg
from metastyle.nets.octaves import octaves
from metastyle.weights import vgg_files

rgb2lab = pytest.importorskip("skimage.color", reason="scikit-image is not installed").rgb2lab


@pytest.mark.slow
def test_scores_are_those_of_the_shared_losses():
    rng = np.random.default_rng(0)
    output, content, style = rng.random((3, 32, 32, 3), np.float32)
    output = np.round(output * 255).astype(np.float32) / 255
    params = vgg_files.load("random")
    scores = judge.Judge(params)(output, Pair(0, "a", "b", content, style, []))
    kept = perceptual.content_target(params, content[None], config.Loss())
    for statistic, names in (("gram", ("J", "C", "S")), ("mean_std", (None, None, "S_mean_std"))):
        loss = config.Loss(statistic=statistic)
        target = perceptual.style_target(params, style[None], loss)
        parts = perceptual.perceptual(params, output[None], kept, target, loss)
        for name, value in zip(names, (parts.total, parts.content, parts.style), strict=True):
            if name:
                assert getattr(scores, name) == pytest.approx(float(value[0]), rel=1e-5)
    assert scores.J == pytest.approx(scores.C + 5 * scores.S, rel=1e-6)
    halved = [octaves(jnp.asarray(x)[None], 3) for x in (output, style)]
    for name, (ours, theirs) in zip(("S", "S2", "S4"), zip(*halved, strict=True), strict=True):
        target = perceptual.style_target(params, theirs, config.Loss())
        kept = perceptual.content_target(params, ours, config.Loss())
        parts = perceptual.perceptual(params, ours, kept, target, config.Loss())
        assert getattr(scores, name) == pytest.approx(float(parts.style[0]), rel=1e-4), name
    assert scores.J3 == pytest.approx(scores.C + 5 * (scores.S + scores.S2 + scores.S4) / 3, rel=1e-5)
    colors = [rgb2lab(x) for x in (output, style)]
    lightness = [x[..., 0] for x in colors]
    assert scores.contrast == pytest.approx(lightness[0].std() / lightness[1].std(), rel=1e-5)
    assert (scores.dark, scores.light) == pytest.approx(tuple(np.percentile(lightness[0], (2, 98))), rel=1e-5)
    assert scores.colors == pytest.approx(metrics.color_distance(*colors)) and scores.patches is None
    assert scores.grid == pytest.approx(grid_artefact(output))
    assert scores.ssim == pytest.approx(ssim(content, output))
    at = lambda x: vgg.features(params, x[None], ("relu3_3",))["relu3_3"][0]
    assert scores.cfsd == pytest.approx(metrics.cfsd(params, at(content), at(output)), rel=1e-3)
