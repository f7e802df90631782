"""Known answers: features whose similarities are known."""

import jax
import numpy as np
import pytest

from metastyle.errors import InputError
from metastyle.evaluate import metrics
from metastyle.images import codec
from metastyle.images.resize import square
from metastyle.nets import vgg
from metastyle.system import paths

# CFSD, of features in torchvision's units unless said otherwise

PARAMS = {"input": {"std": np.float32(vgg.TORCHVISION["std"])}}


def some_features(*shape, seed=0):
    return np.random.default_rng(seed).gamma(1, 5, shape).astype(np.float32)


def all_at_once(content, output):
    """CFSD in float64, all similarities at once."""
    logs = []
    for features in (content, output):
        flat = np.float64(features).reshape(-1, features.shape[-1]) / features.shape[-1]
        similarities = flat @ flat.T
        similarities -= similarities.max(1, keepdims=True)
        logs.append(similarities - np.log(np.exp(similarities).sum(1, keepdims=True)))
    return (np.exp(logs[0]) * (logs[0] - logs[1])).sum()


@pytest.mark.parametrize("shape", [(1, 1, 3), (16, 16, 8), (17, 19, 8), (4, 150, 5)])
@pytest.mark.parametrize("change", [1e-3, 0.3, 3])
def test_cfsd_in_blocks_is_that_of_all_similarities(shape, change):
    content = some_features(*shape)
    output = content + change * some_features(*shape, seed=1)
    assert metrics.cfsd(PARAMS, content, output) == pytest.approx(all_at_once(content, output), rel=1e-3, abs=1e-9)


def test_cfsd_of_equal_features_is_0():
    features = some_features(17, 19, 8)
    assert metrics.cfsd(PARAMS, features, features) == 0
    assert metrics.cfsd(PARAMS, 0 * features, 0 * features + 7) == pytest.approx(0, abs=1e-6)


def test_cfsd_of_two_kinds_of_positions_and_none():
    """Among 2k positions of two kinds, alike s within a kind and 0 across, each is log cosh(s / 2) from uniform."""
    output = np.zeros((6, 50, 2), np.float32)
    output[:3, :, 0] = output[3:, :, 1] = 4
    s = 4**2 / 2**2
    assert metrics.cfsd(PARAMS, 0 * output, output) == pytest.approx(300 * np.log(np.cosh(s / 2)), rel=1e-6)


def test_cfsd_sees_where_what_is_alike_not_what_it_is():
    rng = np.random.default_rng(0)
    content, output = some_features(9, 12, 6), some_features(9, 12, 6, seed=1)
    score = metrics.cfsd(PARAMS, content, output)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0].astype(np.float32)
    assert metrics.cfsd(PARAMS, content, output @ rotation) == pytest.approx(score, rel=1e-4)
    order = rng.permutation(9 * 12)
    moved = [x.reshape(-1, 6)[order].reshape(x.shape) for x in (content, output)]
    assert metrics.cfsd(PARAMS, *moved) == pytest.approx(score, rel=1e-4)
    assert metrics.cfsd(PARAMS, content, moved[0]) > 0.01


def test_cfsd_of_any_units_of_the_network():
    content, output = some_features(9, 12, 6), some_features(9, 12, 6, seed=1)
    caffe = {"input": {"std": np.ones(3, np.float32) / 255}}
    factor = np.mean(vgg.TORCHVISION["std"]) * 255
    expected = metrics.cfsd(PARAMS, content, output)
    assert metrics.cfsd(caffe, content * factor, output * factor) == pytest.approx(expected, rel=1e-4)


def test_cfsd_of_vgg_features_grows_with_the_change():
    params = vgg.random_params()
    features = jax.jit(lambda x: vgg.features(params, x[None], ("relu3_3",))["relu3_3"][0])
    first, second = (square(codec.load(path)[0], 64) for path in paths.demo_pictures("photos")[:2])
    noise = np.random.default_rng(0).normal(size=first.shape)
    outputs = [first, *(np.clip(first + std * noise, 0, 1) for std in (0.02, 0.1)), second]
    content, *outputs = (features(np.float32(x)) for x in (first, *outputs))
    scores = [metrics.cfsd(params, content, output) for output in outputs]
    assert scores[0] == 0 and scores == sorted(set(scores))


@pytest.mark.parametrize("shapes", [[(4, 4, 3), (4, 5, 3)], [(4, 4, 3), (4, 4, 2)], [(1, 4, 4, 3), (1, 4, 4, 3)]])
def test_cfsd_of_different_shapes(shapes):
    with pytest.raises(InputError, match=r"`output`: expected \[h, w, C\] features of the shape of `content`, got"):
        metrics.cfsd(PARAMS, *map(np.zeros, shapes))
