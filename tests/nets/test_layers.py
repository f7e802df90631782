"""The layers of the networks against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.nets import layers
from tests.support.numpy_nets import numpy_blur, numpy_conv, numpy_norm, uniform


@pytest.mark.parametrize("kernel, stride", [(3, 1), (9, 1), (3, 2), (4, 1), (4, 2)])
@pytest.mark.parametrize("height, width", [(16, 24), (6, 18), (5, 7)])
def test_reflect_conv_is_numpys(kernel, stride, height, width):
    if min(height, width) <= kernel // 2:
        pytest.skip("a reflection needs a pixel more than it adds")
    x, weights = uniform(2, height, width, 3), uniform(kernel, kernel, 3, 4, seed=1) - 0.5
    ours = layers.reflect_conv(jnp.asarray(x), jnp.asarray(weights), stride)
    expected = np.stack([numpy_conv(picture.astype(np.float64), weights, stride) for picture in x])
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_reflect_product_is_reflect_conv(kernel):
    x, weights = jnp.asarray(uniform(2, 8, 12, 3)), jnp.asarray(uniform(kernel, kernel, 3, 4, seed=1) - 0.5)
    np.testing.assert_allclose(
        layers.reflect_product(x, weights), layers.reflect_conv(x, weights), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("mean, std, tolerance", [(0, 1, 1e-5), (-3, 20, 1e-5), (1000, 0.01, 0.06)])
def test_instance_norm_is_numpy_s(mean, std, tolerance):
    """Near 1000, float32 knows a mean to 6e-5 at best, and of E[x^2] - E[x]^2 = 1e-4 it has no correct digit."""
    x = np.random.default_rng(0).normal(mean, std, (2, 16, 16, 3)).astype(np.float32)
    scale, bias = np.float32([1, 2, -1]), np.float32([0, 0.5, 1])
    ours = layers.InstanceNorm().apply({"params": {"scale": scale, "bias": bias}}, x)
    expected = np.stack([numpy_norm(y, scale, bias) for y in x.astype(np.float64)])
    np.testing.assert_allclose(ours, expected, atol=tolerance)


def test_instance_norm_of_bfloat16_is_computed_in_float32():
    x = jnp.asarray(np.random.default_rng(0).normal(100, 3, (1, 16, 16, 3)), jnp.bfloat16)
    scale, bias = np.ones(3, np.float32), np.zeros(3, np.float32)
    ours = layers.InstanceNorm().apply({"params": {"scale": scale, "bias": bias}}, x)
    assert ours.dtype == jnp.bfloat16
    np.testing.assert_allclose(ours[0].astype(float), numpy_norm(np.asarray(x[0], np.float64), 1, 0), atol=0.01)


@pytest.mark.parametrize("factor", [2, 4])
def test_space_to_depth_and_back(factor):
    x = uniform(2, 8, 12, 3)
    packed = layers.space_to_depth(x, factor)
    assert packed.shape == (2, 8 // factor, 12 // factor, 3 * factor**2)
    np.testing.assert_array_equal(
        packed[:, 1, 0, 3 * (factor + 1) :][:, :3], x[:, factor + 1, 1]
    )  # row, column, colour
    np.testing.assert_array_equal(layers.depth_to_space(packed, factor), x)
    np.testing.assert_array_equal(layers.space_to_depth(layers.depth_to_space(packed, factor), factor), packed)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_blurred_kernel_blurs_first(stride):
    x, kernel = uniform(12, 16, 2), uniform(3, 3, 2, 4, seed=1) - 0.5
    ours = layers.reflect_conv(jnp.asarray(x[None]), layers.blurred(jnp.asarray(kernel)), stride)[0]
    np.testing.assert_allclose(ours, numpy_conv(numpy_blur(x.astype(np.float64)), kernel, stride), atol=1e-5)


def test_bilinear_up_sampling_is_that_of_jax_image():
    x = jnp.asarray(uniform(2, 5, 7, 3))
    np.testing.assert_allclose(layers.upsample(x, True), jax.image.resize(x, (2, 10, 14, 3), "bilinear"), atol=1e-6)
    np.testing.assert_array_equal(layers.upsample(x), jax.image.resize(x, (2, 10, 14, 3), "nearest"))
