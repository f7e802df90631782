"""The procedural pictures: a pure function of their index, in range, varied, and natural in their statistics."""

from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pytest

from metastyle.data.procedural import source as procedural
from metastyle.data.procedural.source import STYLES, ProceduralSource
from tests.support.errors import refused


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


@pytest.mark.slow
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


def test_mistakes_are_named():
    for arguments, name in ((("styles", 64), "`kind`"), (("style", 15), "`size`"), (("style", 64, -1), "`seed`")):
        with refused(name):
            ProceduralSource(*arguments)


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
