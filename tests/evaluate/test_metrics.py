"""Known answers: grids that are drawn, pictures without any, features of which the similarities are known."""

import sys

import jax
import numpy as np
import pytest

from metastyle.errors import InputError
from metastyle.evaluate import metrics
from metastyle.images import codec
from metastyle.images.resize import square
from metastyle.losses import perceptual
from metastyle.nets import vgg
from metastyle.system import paths

PHOTOS = paths.demo_pictures("photos")
ROWS, COLUMNS = np.indices((700, 700))
SIGN = lambda x: 1 - 2.0 * (x % 2)
GRIDS = {
    "checkerboard of 2 px": SIGN(ROWS // 2 + COLUMNS // 2),
    "checkerboard of 1 px": SIGN(ROWS + COLUMNS),
    "columns of 2 px": SIGN(COLUMNS // 2),
    "columns of 1 px": SIGN(COLUMNS),
    "rows of 2 px": SIGN(ROWS // 2),
    "rows of 1 px": SIGN(ROWS),
    "points 4 px apart": 1.0 * (ROWS % 4 + COLUMNS % 4 == 0),
}


def photograph(path, size):
    picture = codec.load(path)[0]
    return square(picture, size) if size else picture


def with_grid(picture, name, amplitude=8):
    height, width, _ = picture.shape
    return np.clip(picture + amplitude / 255 * GRIDS[name][:height, :width, None], 0, 1)


def grey(plane):
    return np.repeat(plane[..., None], 3, -1)


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
@pytest.mark.parametrize("size", [128, 256, None])
def test_photographs_have_no_grid(path, size):
    assert 0.6 < metrics.grid_artefact(photograph(path, size)) < 1.4


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
@pytest.mark.parametrize("size", [256, None])
@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_of_8_levels_on_a_photograph_raises_its_score_tenfold(path, size, name):
    picture = photograph(path, size)
    assert metrics.grid_artefact(with_grid(picture, name)) > 10 * metrics.grid_artefact(picture)


@pytest.mark.parametrize("height, width", [(32, 48), (101, 66)])
def test_prominence_is_that_of_the_power_spectrum(height, width):
    def expected(lines):
        pixels = lines.shape[1]
        window = np.hanning(2 * pixels + 1)[1::2]  # symmetric about the middle of the row
        power = np.abs(np.fft.fft(lines * window)) ** 2 / np.square(window).sum() + 1 / 12 / 255**2
        strips, found = power.reshape(-1, 4, pixels).mean(1), []
        for place in (pixels // 4, pixels // 2):
            near = [strips[:, (place + sign * k) % pixels] for sign in (-1, 1) for k in range(2, 7)]
            found.append(np.log(strips[:, place] / np.mean(near, 0)).mean())
        return found

    picture = np.random.default_rng(0).uniform(size=(height, width, 3)).cumsum(1) % 1
    luma = picture[: height // 4 * 4, : width // 4 * 4] @ metrics.LUMA
    np.testing.assert_allclose(metrics.log_prominence(picture), expected(luma) + expected(luma.T), atol=1e-9)


def test_no_fourier_transform_is_compiled():
    """On CPUs jaxlib 0.11 may wait for ever for one that it runs beside other work."""
    program = jax.make_jaxpr(jax.grad(lambda x: perceptual.grid(x).sum()))(np.zeros((1, 32, 32, 3), np.float32))
    assert "fft" not in str(program) and "dot_general" in str(program)


def test_a_stronger_grid_scores_higher():
    picture = photograph(PHOTOS[0], 128)
    scores = [metrics.grid_artefact(with_grid(picture, "checkerboard of 2 px", a)) for a in (0, 2, 4, 8, 16, 32)]
    assert scores == sorted(scores) and scores[-1] > 50


@pytest.mark.parametrize("size", [(128, 128), (130, 259), (512, 64)])
def test_white_noise_scores_one(size):
    noise = np.random.default_rng(0).uniform(size=(*size, 3))
    assert 0.8 < metrics.grid_artefact(noise) < 1.25


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_a_constant_picture_scores_one(level):
    assert metrics.grid_artefact(np.full((50, 64, 3), level, np.float32)) == pytest.approx(1)


def test_what_8_bits_cannot_hold_does_not_count():
    picture = np.full((128, 128, 3), 0.4)
    assert metrics.grid_artefact(with_grid(picture, "checkerboard of 2 px", 0.005)) == pytest.approx(1, abs=0.1)
    assert metrics.grid_artefact(with_grid(picture, "checkerboard of 2 px", 0.5)) > 100


def test_a_smooth_picture_and_its_rounding_score_one():
    ramp, cone = (ROWS + COLUMNS)[:200, :200] / 450, np.hypot(ROWS - 40.3, COLUMNS - 90.7)[:200, :200] / 300
    for smooth in (grey(ramp), grey(cone)):
        assert 0.8 < metrics.grid_artefact(smooth) < 1.25
        assert 0.7 < metrics.grid_artefact(codec.to_uint8(smooth) / 255) < 1.4
        assert metrics.grid_artefact(with_grid(smooth, "checkerboard of 2 px", 1)) > 50


def test_blocks_of_one_colour_and_larger_squares_are_no_grid():
    blocks = np.random.default_rng(0).uniform(size=(40, 40, 3)).repeat(4, 0).repeat(4, 1)
    squares = photograph(PHOTOS[0], 256) * 0.9 + 0.1 * grey(SIGN(ROWS // 4 + COLUMNS // 4)[:256, :256] > 0)
    assert metrics.grid_artefact(blocks) < 1
    assert metrics.grid_artefact(squares) < 1.4


def test_rows_and_columns_brightness_and_the_rest_of_a_multiple_of_4_do_not_matter():
    picture = with_grid(photograph(PHOTOS[1], 128), "columns of 2 px")
    score = metrics.grid_artefact(picture)
    assert metrics.grid_artefact(picture.transpose(1, 0, 2)) == pytest.approx(score)
    assert metrics.grid_artefact(1 - picture) == pytest.approx(score)
    assert metrics.grid_artefact(np.pad(picture, ((0, 3), (0, 1), (0, 0)))) == pytest.approx(score)


def test_too_small_for_a_spectrum():
    with pytest.raises(InputError, match="`image`: expected sides of at least 32 px, got 31 x 40"):
        metrics.grid_artefact(np.zeros((40, 31, 3)))


def test_ssim():
    pytest.importorskip("skimage", reason="scikit-image is not installed")
    picture = photograph(PHOTOS[0], 64)
    noise = np.random.default_rng(0).normal(size=picture.shape)
    scores = [metrics.ssim(picture, picture + std * noise) for std in (0, 0.05, 0.2)]
    assert scores[0] == pytest.approx(1) and scores[1] > scores[2] > 0
    # Of two constants c and d, (2 c d + (0.01 L)^2) / (c^2 + d^2 + (0.01 L)^2) with a data range L of 1.
    assert metrics.ssim(np.full((9, 9, 3), 0.2), np.full((9, 9, 3), 0.4)) == pytest.approx(0.1601 / 0.2001)


@pytest.mark.parametrize("other", [(64, 63, 3), (6, 64, 3)])
def test_ssim_of_different_or_tiny_sizes(other):
    pytest.importorskip("skimage", reason="scikit-image is not installed")
    first = (6, 64, 3) if other[0] == 6 else (64, 64, 3)
    with pytest.raises(InputError, match="`b`: expected the shape of `a`"):
        metrics.ssim(np.zeros(first), np.zeros(other))


def test_ssim_without_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(
        InputError, match=r'scikit-image, which is not installed; type `pip install "metastyle\[eval\]"`'
    ):
        metrics.ssim(np.zeros((9, 9, 3)), np.zeros((9, 9, 3)))


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
    first, second = (photograph(path, 64) for path in PHOTOS[:2])
    noise = np.random.default_rng(0).normal(size=first.shape)
    outputs = [first, *(np.clip(first + std * noise, 0, 1) for std in (0.02, 0.1)), second]
    content, *outputs = (features(np.float32(x)) for x in (first, *outputs))
    scores = [metrics.cfsd(params, content, output) for output in outputs]
    assert scores[0] == 0 and scores == sorted(set(scores))


@pytest.mark.parametrize("shapes", [[(4, 4, 3), (4, 5, 3)], [(4, 4, 3), (4, 4, 2)], [(1, 4, 4, 3), (1, 4, 4, 3)]])
def test_cfsd_of_different_shapes(shapes):
    with pytest.raises(InputError, match=r"`output`: expected \[h, w, C\] features of the shape of `content`, got"):
        metrics.cfsd(PARAMS, *map(np.zeros, shapes))
