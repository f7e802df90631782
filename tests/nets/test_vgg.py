"""VGG features against golden activations of another framework."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.errors import InputError
from metastyle.nets import vgg
from metastyle.weights import vgg_files
from tests.support.places import WEIGHTS
from tests.support.slim_vgg import RANKS, WIDTHS
from tests.support.toy import relative_error


def pictures(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(*shape, 3)), jnp.float32)


def test_golden_activations(sample_data):
    golden = np.load(sample_data / "weights/golden.npz")
    with jax.default_matmul_precision("highest"):
        features = vgg.features(vgg_files.load(sample_data / WEIGHTS), jnp.asarray(golden["image"])[None])
    assert list(features) == list(vgg.TAPS)
    for tap in vgg.TAPS:
        ours = features[tap][0, ::4, ::4] if tap == "relu1_2" else features[tap][0]
        assert ours.shape == golden[tap].shape
        assert relative_error(ours, golden[tap]) < 1e-5, tap


def test_a_kernel_of_low_rank_is_the_product_of_its_two():
    low = vgg.random_params(0, WIDTHS, RANKS)
    product = lambda layer: {"kernel": layer["kernel"] @ layer["mix"], "bias": layer["bias"]}
    full = {name: product(layer) if "mix" in layer else layer for name, layer in low.items()}
    assert sum("mix" in layer for layer in low.values()) == 3
    images = pictures(2, 16, 24)
    expected = vgg.features(full, images)
    for tap, x in vgg.features(low, images).items():
        np.testing.assert_allclose(x, expected[tap], atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (33, 50), (301, 9)])
def test_slim_widths_and_any_size(size):
    taps = tuple(f"relu{layer[4:]}" for layer in vgg.LAYERS)
    apply = lambda params, images: vgg.features(params, images, taps)
    features = jax.eval_shape(apply, vgg.random_params(0, WIDTHS), jnp.zeros((2, *size, 3)))
    for tap, width in zip(taps, WIDTHS, strict=True):
        halvings = int(tap[4]) - 1
        assert features[tap].shape == (2, size[0] >> halvings, size[1] >> halvings, width)


def test_features_are_local():
    """Far from the edges, a picture's features don't depend on what it was cropped from."""
    params, images = vgg.random_params(0, WIDTHS), pictures(1, 48, 33)
    whole, part = (jax.jit(vgg.features)(params, x)["relu2_2"] for x in (images, images[:, 8:40]))
    np.testing.assert_allclose(part[:, 4:-4], whole[:, 8:16], rtol=1e-4, atol=1e-5)


def test_a_tap_does_not_depend_on_the_others():
    params, images = vgg.random_params(), pictures(1, 8, 8)
    together, some = vgg.features(params, images), vgg.features(params, images, ("relu2_2", "relu1_2"))
    assert some.keys() == {"relu1_2", "relu2_2"}
    jax.tree.map(np.testing.assert_array_equal, some, {tap: together[tap] for tap in some})


@pytest.mark.parametrize("taps", [("relu2_1", "relu9_9"), ("relu1_2", "relu1_2"), ("conv1_1",), ()])
def test_unknown_or_repeated_taps(taps):
    with pytest.raises(InputError, match=r"`taps`: expected some of relu1_1, .*relu4_3, each once, got"):
        vgg.features(vgg.random_params(), pictures(1, 8, 8), taps)


def test_random_params_are_a_function_of_the_seed():
    first, again, other = (vgg.random_params(seed) for seed in (3, 3, 4))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert relative_error(other["conv4_3"]["kernel"], first["conv4_3"]["kernel"]) > 0.5
    jax.tree.map(np.testing.assert_array_equal, vgg_files.load("random"), vgg.random_params())


@pytest.mark.parametrize("shape", [(2, 8, 6, 3), (1, 7, 9, 2)])
def test_max_pool_and_its_gradient_are_the_usual_ones(shape):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.permutation(np.prod(shape)).reshape(shape), jnp.float32)  # no ties
    ours, pullback = jax.vjp(vgg.max_pool, x)
    usual, usual_pullback = jax.vjp(lambda x: nn.max_pool(x, (2, 2), (2, 2)), x)
    np.testing.assert_array_equal(ours, usual)
    cotangent = jnp.asarray(rng.normal(size=ours.shape), jnp.float32)
    np.testing.assert_array_equal(pullback(cotangent)[0], usual_pullback(cotangent)[0])


def test_params_are_arguments_not_constants_of_a_compiled_function():
    params, images = vgg.random_params(), pictures(1, 8, 8)
    jaxpr = jax.make_jaxpr(vgg.features)(params, images)
    assert jaxpr.consts == []
    assert len(jaxpr.jaxpr.invars) == len(jax.tree.leaves(params)) + 1
    compiled = jax.jit(vgg.features)
    doubled = params | {"conv1_1": jax.tree.map(lambda x: 2 * x, params["conv1_1"])}
    assert relative_error(compiled(doubled, images), jax.tree.map(lambda x: 2 * x, compiled(params, images))) < 1e-5


def test_twice_differentiable():
    """Features are piecewise linear, F = J x + c, so the Hessian of |F|^2 / 2 times v is J^T (J v)."""
    params, x, v = vgg.random_params(0, WIDTHS), pictures(1, 8, 8), pictures(1, 8, 8, seed=1)
    apply = lambda x: vgg.features(params, x)
    gradient = jax.grad(lambda x: sum(jnp.square(f).sum() for f in apply(x).values()) / 2)
    expected = jax.jit(lambda: jax.vjp(apply, x)[1](jax.jvp(apply, (x,), (v,))[1])[0])()
    forward_over_reverse = jax.jit(lambda: jax.jvp(gradient, (x,), (v,))[1])()
    reverse_over_reverse = jax.jit(jax.grad(lambda x: jnp.vdot(gradient(x), v)))(x)
    assert relative_error(forward_over_reverse, expected) < 1e-5
    assert relative_error(reverse_over_reverse, expected) < 1e-5


def test_bfloat16_is_close_and_returns_float32():
    params, images = vgg.random_params(), pictures(1, 32, 32)
    half = jax.jit(lambda *x: vgg.features(*x, dtype=jnp.bfloat16))(params, images)
    assert {x.dtype for x in half.values()} == {jnp.dtype("float32")}
    for tap, exact in jax.jit(vgg.features)(params, images).items():
        assert 1e-4 < relative_error(half[tap], exact) < 0.03, tap


def test_float64_is_kept():
    with jax.enable_x64(True):
        exact = jax.eval_shape(lambda *x: vgg.features(*x, dtype=jnp.float64), vgg.random_params(), pictures(1, 8, 8))
    assert {x.dtype for x in exact.values()} == {jnp.dtype("float64")}
