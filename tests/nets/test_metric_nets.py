"""LPIPS and Inception against networks written out in numpy, on random and slim weights."""

import numpy as np
import pytest

from metastyle.errors import InputError
from metastyle.nets import metric_nets
from tests.support.metric_nets import drawn_alexnet, drawn_inception, pictures


@pytest.mark.parametrize("size", [(31, 31), (40, 67)])
def test_lpips(size):
    reference, params = drawn_alexnet()
    a, b = pictures(2, 2, *size)
    distances = metric_nets.lpips(params, a, b)
    np.testing.assert_allclose(distances, reference.lpips(a, b), rtol=1e-5)
    np.testing.assert_array_equal(metric_nets.lpips(params, b, a), distances)
    np.testing.assert_array_equal(metric_nets.lpips(params, a, a), 0)
    assert distances.shape == (2,) and (distances > 0.01).all()


def test_lpips_of_constant_pictures_and_dead_features_is_finite():
    params = drawn_alexnet()[1]
    dead = params | {"conv1/kernel": 0 * params["conv1/kernel"], "conv1/bias": -1 + 0 * params["conv1/bias"]}
    black, white = np.zeros((1, 31, 31, 3), np.float32), np.ones((1, 31, 31, 3), np.float32)
    assert np.isfinite(metric_nets.lpips(params, black, white)).all()
    assert np.isfinite(metric_nets.lpips(dead, black, white)).all()


def test_pictures_too_small_or_of_two_sizes():
    alexnet, inception = drawn_alexnet()[1], drawn_inception()[1]
    with pytest.raises(InputError, match="`a`: expected sides of at least 31 px, got 40 x 30"):
        metric_nets.lpips(alexnet, *pictures(2, 1, 30, 40))
    with pytest.raises(InputError, match=r"`b`: expected the shape of `a`, \(1, 31, 31, 3\), got \(1, 31, 32, 3\)"):
        metric_nets.lpips(alexnet, pictures(1, 31, 31), pictures(1, 31, 32))
    with pytest.raises(InputError, match="`images`: expected sides of at least 75 px, got 74 x 80"):
        metric_nets.inception(inception, pictures(1, 80, 74))


@pytest.mark.parametrize("size", [(75, 75), (80, 103)])
def test_inception(size):
    reference, params = drawn_inception()
    images = pictures(2, *size)
    expected = reference.inception(images)
    features = metric_nets.inception(params, images)
    assert features.shape == expected.shape
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_inception_has_the_convolutions_of_the_public_one():
    assert len(drawn_inception()[1]) == 2 * 94
