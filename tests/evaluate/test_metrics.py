"""Known answers: CFSD, FID and ArtFID of features, and distances of patches, colours and shifts of pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.errors import InputError
from metastyle.evaluate import metrics
from metastyle.images import codec
from metastyle.images.resize import resize, square
from metastyle.nets import vgg
from metastyle.nets.layers import upsample
from metastyle.system import paths

# CFSD, of features in torchvision's units unless said otherwise

PARAMS = {"input": {"std": np.float32(vgg.TORCHVISION.std)}}


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
    factor = np.mean(vgg.TORCHVISION.std) * 255
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


def sample(count, mean, covariance, seed=0):
    """`count` points of exactly this mean and covariance (over n - 1)."""
    x = np.random.default_rng(seed).normal(size=(count, len(mean)))
    x -= x.mean(0)
    white = np.linalg.qr(x)[0] * np.sqrt(count - 1)
    return white @ np.linalg.cholesky(covariance).T + mean


def covariance(channels, seed):
    root = np.random.default_rng(seed).normal(size=(channels, channels))
    return root @ root.T


@pytest.mark.parametrize("shape", [(5, 40), (40, 5), (2, 3), (7, 7)])
def test_fid_of_equal_sets_is_0(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert metrics.fid(x, x) == pytest.approx(0, abs=1e-12)
    assert metrics.fid(x, x[::-1]) == pytest.approx(0, abs=1e-12)


def test_fid_of_one_set_moved_is_the_squared_distance():
    x = np.random.default_rng(0).normal(size=(6, 20))
    assert metrics.fid(x, x + 0.5) == pytest.approx(20 * 0.25)


def test_fid_of_gaussians_on_common_axes():
    """|mean difference|^2 + the squared differences of standard deviations along the axes."""
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    mean_a, mean_b, std_a, std_b = np.random.default_rng(1).uniform(0.5, 3, (4, 4))
    a, b = (sample(n, m, axes * s**2 @ axes.T, n) for n, m, s in ((30, mean_a, std_a), (50, mean_b, std_b)))
    expected = np.square(mean_a - mean_b).sum() + np.square(std_a - std_b).sum()
    assert metrics.fid(a, b) == pytest.approx(expected) == metrics.fid(b, a)


def test_fid_of_any_gaussians():
    """The trace of a root of a product is the sum of the roots of its eigenvalues."""
    mean_a, mean_b = np.random.default_rng(0).normal(size=(2, 6))
    cov_a, cov_b = covariance(6, 1), covariance(6, 2)
    common = np.sqrt(np.linalg.eigvals(cov_a @ cov_b).real).sum()
    expected = np.square(mean_a - mean_b).sum() + np.trace(cov_a + cov_b) - 2 * common
    assert metrics.fid(sample(20, mean_a, cov_a), sample(90, mean_b, cov_b)) == pytest.approx(expected)


def test_fid_of_a_few_samples_of_one_distribution_is_far_above_that_of_many():
    x = np.random.default_rng(0).normal(size=(2, 4000, 16))
    scores = [metrics.fid(*x[:, :count]) for count in (8, 80, 4000)]
    assert scores[0] > 5 * scores[1] > 25 * scores[2] > 0


@pytest.mark.parametrize("shapes", [[(1, 4), (5, 4)], [(5, 4), (1, 4)], [(5, 4), (5, 3)], [(4,), (5, 4)]])
def test_fid_of_too_few_or_different_features(shapes):
    with pytest.raises(InputError, match=r"`b`: expected features \[m, C\] to compare with `a`, \[n, C\]"):
        metrics.fid(*map(np.zeros, shapes))


def test_artfid():
    x = np.random.default_rng(0).normal(size=(6, 20))
    assert metrics.artfid(np.array([0.2, 0.4]), x, x + 0.5) == pytest.approx(1.3 * 6)
    assert metrics.artfid(np.zeros(6), x, x) == pytest.approx(1)


# From pictures alone


def test_patches_of_a_picture_are_its_own_and_further_off_the_more_it_is_changed():
    style = smooth(128, 140)
    assert metrics.patch_distance(style, style) == 0
    moved = np.roll(style, 40, 1)
    noisy = [np.clip(style + noise * np.random.default_rng(1).normal(size=style.shape), 0, 1) for noise in (0.05, 0.2)]
    distances = [metrics.patch_distance(np.asarray(x, np.float32), style) for x in (moved, *noisy)]
    assert distances == sorted(distances) and 0 < distances[0] < 0.5 * distances[1]
    with pytest.raises(InputError, match="`output`: expected the size of `style`, sides of at least 112 px"):
        metrics.patch_distance(style, style[:100])


def test_the_pyramid_adds_up_to_the_picture():
    style = smooth(112, 128)
    *details, smallest = metrics._pyramid(style)
    picture = jnp.asarray(smallest)[None]
    for detail in details[::-1]:
        picture = upsample(picture, bilinear=True) + detail
    np.testing.assert_allclose(picture[0], style, atol=1e-5)


def test_colors_are_compared_as_sets():
    pytest.importorskip("skimage.color", reason="scikit-image is not installed")
    style = metrics.lab(smooth(20, 30))
    assert metrics.color_distance(style[::-1, ::-1], style) == pytest.approx(0, abs=1e-6)
    grey, black = np.full((20, 30, 3), 0.5, np.float32), np.zeros((20, 30, 3), np.float32)
    found = metrics.color_distance(metrics.lab(grey), metrics.lab(black))
    assert found == pytest.approx(53.39 / 3, abs=0.01)  # the L of middle grey in sRGB


def test_a_filter_moves_with_the_picture_and_a_fixed_pattern_does_not():
    content = smooth(64, 64)
    change = lambda stylize: metrics.shift_change(stylize, content, stylize(content))
    assert change(lambda x: 1 - x) == pytest.approx(0, abs=1e-9)
    pattern = np.random.default_rng(2).random((64, 64, 3), np.float32)
    assert change(lambda x: pattern) == pytest.approx(2, rel=0.1)
    grid = lambda x: np.repeat(np.repeat(x[::4, ::4], 4, 0), 4, 1)
    assert change(grid) > 1e-4


def smooth(height, width):
    """A picture of soft blobs, f32[height, width, 3]."""
    small = np.random.default_rng(3).random((8, 9, 3), np.float32)
    return resize(small, (height, width))
