"""The procedural pictures: a pure function of their index, in range, varied, and natural in their statistics."""

from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pytest

from metastyle.data.procedural import source as procedural
from metastyle.data.procedural.source import MOODS, STYLES, ProceduralSource, photograph
from metastyle.errors import InputError


def spectral_slope(plane: np.ndarray) -> float:
    """a of the amplitude spectrum 1 / f**a, fitted over rings of frequency of a windowed picture."""
    size = len(plane)
    window = np.outer(np.hanning(size), np.hanning(size))
    amplitude = np.abs(np.fft.fft2((plane - plane.mean()) * window)).ravel()
    cycles = np.fft.fftfreq(size, 1 / size)
    ring = np.round(np.hypot(cycles[:, None], cycles)).astype(int).ravel()
    mean = np.bincount(ring, amplitude) / np.bincount(ring)
    fitted = np.arange(2, size // 3)
    return -np.polyfit(np.log(fitted), np.log(mean[fitted]), 1)[0]


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    return np.stack([photograph(np.random.default_rng(index), 128) for index in range(20)])


@pytest.mark.parametrize("kind", ["content", "style"])
@pytest.mark.parametrize("size", [16, 48, 127, 128])
def test_pictures_are_uint8_of_the_asked_size_and_use_its_range(kind, size):
    source = ProceduralSource(kind, size)
    pictures = np.stack([source[index] for index in range(6)])
    assert pictures.shape == (6, size, size, 3) and pictures.dtype == np.uint8
    assert pictures.max() > 180 and pictures.min() < 60


@pytest.mark.parametrize("kind", ["content", "style"])
def test_a_picture_is_a_function_of_kind_seed_and_index(kind):
    source = ProceduralSource(kind, 32, seed=3)
    first, second = source[5], source[6]
    np.testing.assert_array_equal(ProceduralSource(kind, 32, seed=3)[5], first)
    other_kind = {"content": "style", "style": "content"}[kind]
    for other in (second, ProceduralSource(kind, 32, seed=4)[5], ProceduralSource(other_kind, 32, seed=3)[5]):
        assert np.abs(other.astype(int) - first).mean() > 2


def test_threads_give_the_serial_pictures():
    sources = [ProceduralSource("content", 48), ProceduralSource("style", 48)]
    jobs = [(source, index) for source in sources for index in range(16)]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(lambda job: job[0][job[1]], jobs))
    for (source, index), picture in zip(jobs, threaded, strict=True):
        np.testing.assert_array_equal(picture, source[index])


@pytest.mark.parametrize("family", STYLES)
@pytest.mark.parametrize("size", [16, 63])
def test_every_family_is_finite_in_range_and_not_constant(family, size):
    for seed in range(12):
        picture = STYLES[family](np.random.default_rng(seed), size)
        assert picture.shape == (size, size, 3) and picture.dtype == np.float32
        assert np.isfinite(picture).all() and picture.min() >= 0 and picture.max() <= 1
        assert picture.std() > 0.02


@pytest.mark.parametrize("family", STYLES)
def test_every_family_has_composition_beyond_its_texture(family):
    pictures = np.stack([STYLES[family](np.random.default_rng(seed), 64) for seed in range(8)])
    blocks = pictures.reshape(8, 4, 16, 4, 16, 3).mean((2, 4, 5))
    assert blocks.std((1, 2)).mean() > 0.04


def test_families_differ_from_one_another():
    pictures = {family: make(np.random.default_rng(11), 64) for family, make in STYLES.items()}
    for one, other in combinations(pictures, 2):
        assert np.abs(pictures[one] - pictures[other]).mean() > 0.02, (one, other)


def test_names_tell_the_family_that_was_painted():
    source = ProceduralSource("style", 32, seed=1)
    drawn = {source.name(index).split("-")[2] for index in range(200)}
    assert drawn == set(STYLES)
    rng = np.random.default_rng((1, 1, 12))
    family = rng.choice(list(STYLES))
    assert source.name(12) == f"procedural-style-{family}-000012"
    np.testing.assert_array_equal(source[12], np.round(255 * STYLES[family](rng, 32)).astype(np.uint8))
    assert ProceduralSource("content", 32).name(7) == "procedural-content-photograph-000007"


def test_photographs_have_a_natural_spectrum(photographs):
    slopes = [spectral_slope(picture.mean(-1)) for picture in photographs]
    assert 0.8 < np.mean(slopes) < 1.6
    assert np.std(slopes) > 0.02


def test_photographs_have_natural_colour_and_varied_exposure(photographs):
    principal = []
    for pixels in photographs.reshape(20, -1, 3):
        variances = np.linalg.eigvalsh(np.cov(pixels.T))
        principal.append(variances[-1] / variances.sum())
    assert np.mean(principal) > 0.8
    means = photographs.mean((1, 2, 3))
    assert 0.3 < means.mean() < 0.65 and means.std() > 0.05


def test_palettes_run_from_dark_to_light_in_range():
    for mood in MOODS:
        for seed in range(20):
            colours = procedural.palette(np.random.default_rng(seed), mood)
            assert 4 <= len(colours) <= 8 and colours.min() >= 0 and colours.max() <= 1
            assert colours[0].mean() + 0.1 < colours[-1].mean()


def test_oklch_known_colours():
    # Ottosson's coordinates of white, mid grey (sRGB 0.5) and pure sRGB red.
    found = procedural.oklch(np.array([1, 0.598182, 0.627955]), np.array([0, 0, 0.257683]), np.array([0, 0, 29.2339]))
    np.testing.assert_allclose(found, [[1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0]], atol=2e-3)


@pytest.mark.parametrize("slope", [0.8, 1.2])
def test_fractal_noise_has_the_asked_slope(slope):
    fields = [procedural.fractal_noise(np.random.default_rng(seed), 128, slope) for seed in range(8)]
    assert abs(np.mean([spectral_slope(field) for field in fields]) - slope) < 0.1
    np.testing.assert_allclose([(field.mean(), field.std()) for field in fields], [(0, 1)] * 8, atol=1e-5)


def test_stamp_paints_in_order_over_the_ground():
    square = lambda low, high: np.array([[low, low], [high, low], [high, high], [low, high]])
    ground = np.full((32, 32, 3), 0.25, np.float32)
    polygons = np.stack([square(0.25, 0.75), square(0.5, 0.75)])
    picture, owner = procedural.stamp(ground, polygons, np.array([[1.0, 0, 0], [0, 0, 1.0]]))
    assert (owner[4, 4], owner[12, 12], owner[20, 20]) == (0, 1, 2)
    np.testing.assert_allclose(picture[[4, 12, 20], [4, 12, 20]], [[0.25] * 3, [1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(procedural.of_owner(owner, [5, 7], 3)[[4, 12, 20], [4, 12, 20]], [3, 5, 7])


def test_voronoi_without_jitter_is_the_grid():
    u, v = (4 * axis for axis in procedural.plane(40))
    key, border = procedural.voronoi(np.random.default_rng(0), u, v, 0.0)
    np.testing.assert_array_equal(key, np.floor(v).astype(int) * 64 + np.floor(u).astype(int))
    along, across = np.abs(u % 1 - 0.5), np.abs(v % 1 - 0.5)
    near = np.hypot(1 - np.maximum(along, across), np.minimum(along, across)) - np.hypot(along, across)
    np.testing.assert_allclose(border, near, atol=1e-5)


def test_cell_means_are_the_means_under_each_key():
    rng = np.random.default_rng(0)
    base, key = rng.random((8, 8, 3)).astype(np.float32), rng.integers(0, 5, (8, 8))
    means = procedural.cell_means(base, key)
    for cell in range(5):
        np.testing.assert_allclose(means[cell], base[key == cell].mean(0), rtol=1e-5)


def test_mistakes_are_named():
    for arguments, name in ((("styles", 64), "`kind`"), (("style", 15), "`size`"), (("style", 64, -1), "`seed`")):
        with pytest.raises(InputError, match=name) as caught:
            ProceduralSource(*arguments)
        assert "\n" not in str(caught.value)


def test_the_last_index_works_and_the_next_does_not():
    source = ProceduralSource("style", 16)
    assert len(source) == 2**20
    assert source[2**20 - 1].shape == (16, 16, 3)
    for index in (2**20, -1):
        with pytest.raises(IndexError):
            source[index]
        with pytest.raises(IndexError):
            source.name(index)


def test_synthetic_photographs_are_all_different_and_the_seeds():
    some = procedural.photographs(4, 16)
    assert all(x.shape == (16, 16, 3) and x.dtype == np.float32 and 0 <= x.min() < x.max() <= 1 for x in some)
    assert len({x.tobytes() for x in (*some, *procedural.photographs(4, 16, seed=1))}) == 8
    np.testing.assert_array_equal(procedural.photographs(2, 16), some[:2])
