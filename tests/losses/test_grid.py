"""Known answers: grids that are drawn, and pictures without any."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.errors import InputError
from metastyle.images import codec
from metastyle.images.resize import square
from metastyle.losses.grid import grid_artefact, grid_loss, log_prominence
from metastyle.losses.ssim import LUMA
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
    assert 0.6 < grid_artefact(photograph(path, size)) < 1.4


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
@pytest.mark.parametrize("size", [256, None])
@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_of_8_levels_on_a_photograph_raises_its_score_tenfold(path, size, name):
    picture = photograph(path, size)
    assert grid_artefact(with_grid(picture, name)) > 10 * grid_artefact(picture)


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
    luma = picture[: height // 4 * 4, : width // 4 * 4] @ LUMA
    np.testing.assert_allclose(log_prominence(picture), expected(luma) + expected(luma.T), atol=1e-9)


def test_no_fourier_transform_is_compiled():
    """On CPUs jaxlib 0.11 may wait for ever for one that it runs beside other work."""
    program = jax.make_jaxpr(jax.grad(lambda x: grid_loss(x).sum()))(np.zeros((1, 32, 32, 3), np.float32))
    assert "fft" not in str(program) and "dot_general" in str(program)


def test_a_stronger_grid_scores_higher():
    picture = photograph(PHOTOS[0], 128)
    scores = [grid_artefact(with_grid(picture, "checkerboard of 2 px", a)) for a in (0, 2, 4, 8, 16, 32)]
    assert scores == sorted(scores) and scores[-1] > 50


@pytest.mark.parametrize("size", [(128, 128), (130, 259), (512, 64)])
def test_white_noise_scores_one(size):
    noise = np.random.default_rng(0).uniform(size=(*size, 3))
    assert 0.8 < grid_artefact(noise) < 1.25


@pytest.mark.parametrize("level", [0.0, 0.4, 1.0])
def test_a_constant_picture_scores_one(level):
    assert grid_artefact(np.full((50, 64, 3), level, np.float32)) == pytest.approx(1)


def test_what_8_bits_cannot_hold_does_not_count():
    picture = np.full((128, 128, 3), 0.4)
    assert grid_artefact(with_grid(picture, "checkerboard of 2 px", 0.005)) == pytest.approx(1, abs=0.1)
    assert grid_artefact(with_grid(picture, "checkerboard of 2 px", 0.5)) > 100


def test_a_smooth_picture_and_its_rounding_score_one():
    ramp, cone = (ROWS + COLUMNS)[:200, :200] / 450, np.hypot(ROWS - 40.3, COLUMNS - 90.7)[:200, :200] / 300
    for smooth in (grey(ramp), grey(cone)):
        assert 0.8 < grid_artefact(smooth) < 1.25
        assert 0.7 < grid_artefact(codec.to_uint8(smooth) / 255) < 1.4
        assert grid_artefact(with_grid(smooth, "checkerboard of 2 px", 1)) > 50


def test_blocks_of_one_colour_and_larger_squares_are_no_grid():
    blocks = np.random.default_rng(0).uniform(size=(40, 40, 3)).repeat(4, 0).repeat(4, 1)
    squares = photograph(PHOTOS[0], 256) * 0.9 + 0.1 * grey(SIGN(ROWS // 4 + COLUMNS // 4)[:256, :256] > 0)
    assert grid_artefact(blocks) < 1
    assert grid_artefact(squares) < 1.4


def test_rows_and_columns_brightness_and_the_rest_of_a_multiple_of_4_do_not_matter():
    picture = with_grid(photograph(PHOTOS[1], 128), "columns of 2 px")
    score = grid_artefact(picture)
    assert grid_artefact(picture.transpose(1, 0, 2)) == pytest.approx(score)
    assert grid_artefact(1 - picture) == pytest.approx(score)
    assert grid_artefact(np.pad(picture, ((0, 3), (0, 1), (0, 0)))) == pytest.approx(score)


def test_too_small_for_a_spectrum():
    with pytest.raises(InputError, match="`image`: expected sides of at least 32 px, got 31 x 40"):
        grid_artefact(np.zeros((40, 31, 3)))


@pytest.mark.slow
def test_the_grid_term_is_of_what_the_grid_score_is_the_largest_of():
    board = 0.05 * (-1.0) ** (np.indices((32, 32)) // 2).sum(0)[..., None]  # squares of 2 px: period 4 both ways
    smooth = np.random.default_rng(0).uniform(0.3, 0.7, size=(32, 32, 3))
    plain, gridded = (np.asarray(x, np.float32) for x in (smooth, smooth + board))
    logs = np.maximum(log_prominence(np.stack([plain, gridded]).astype(np.float64)), 0)
    np.testing.assert_allclose(np.exp(logs[1].max()), grid_artefact(gridded), rtol=1e-6)
    found = grid_loss(jnp.stack([plain, gridded]))
    np.testing.assert_allclose(found, logs.mean(-1), rtol=1e-3)
    assert found[1] > found[0] + 0.5
    slope = jax.grad(lambda x: grid_loss(x[None])[0])(jnp.asarray(gridded))
    assert np.vdot(slope, np.broadcast_to(board, slope.shape)) > 0  # downhill is less of the board
