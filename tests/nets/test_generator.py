"""The stylisation networks against numpy, and what they may not leave in a picture: a grid."""

import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.config import Generator
from metastyle.errors import InputError
from metastyle.images import codec
from metastyle.images.resize import square
from metastyle.losses.grid import grid_artefact
from metastyle.nets import architecture, generator, layers
from metastyle.nets.params import count_parameters, split_by_scope, unflatten
from metastyle.stylize import tiling
from metastyle.system import paths
from tests.support.numpy_nets import SMALL, U_NETS, numpy_network, random_params, uniform
from tests.support.toy import relative_error

JOHNSON, COMPACT = Generator("johnson"), Generator("compact")

forward = jax.jit(generator.apply, static_argnums=0)


# What the networks are


def test_parameter_counts():
    johnson = generator.shapes(JOHNSON)
    norm, rest = split_by_scope(johnson, "norm")
    assert count_parameters(johnson) == 1_677_635
    assert count_parameters(norm) == 3_200
    assert count_parameters(rest) == 1_677_635 - 3_200
    for arch in ("compact", "compact_half"):
        assert count_parameters(generator.shapes(Generator(arch))) <= 500_000


def test_johnson_is_the_published_network():
    convs = [("conv1", 9, 3, 32), ("conv2", 3, 32, 64), ("conv3", 3, 64, 128)]
    convs += [(f"block{i}/conv{j}", 3, 128, 128) for i in range(1, 6) for j in (1, 2)]
    convs += [("conv4", 3, 128, 64), ("conv5", 3, 64, 32)]
    expected = {"out/kernel": (9, 9, 32, 3), "out/bias": (3,)}
    for name, side, fan_in, width in convs:
        norm = name.replace("conv", "norm")
        expected |= {f"{name}/kernel": (side, side, fan_in, width), f"{norm}/scale": (width,), f"{norm}/bias": (width,)}
    shapes = generator.shapes(JOHNSON)
    assert {path: x.shape for path, x in shapes.items()} == expected
    assert {x.dtype for x in shapes.values()} == {jnp.dtype("float32")}


@pytest.mark.parametrize("arch", [*SMALL, *U_NETS])
def test_a_network_is_what_its_string_says(arch):
    params, picture = random_params(Generator(arch)), uniform(64, 80, 3) if arch in U_NETS else uniform(16, 20, 3)
    ours = forward(Generator(arch), params, picture[None])[0]
    np.testing.assert_allclose(ours, numpy_network(arch, params, picture.astype(np.float64)), atol=2e-5)


@pytest.mark.parametrize("arch", SMALL)
def test_what_is_computed_apart_is_the_same(arch):
    settings, pictures = Generator(arch), uniform(3, 16, 20, 3)
    params = random_params(settings)
    apart = jax.jit(functools.partial(generator.apply, settings, side_by_side=True))(params, pictures)
    np.testing.assert_allclose(apart, forward(settings, params, pictures), atol=2e-5)


@pytest.mark.slow
def test_side_by_side_each_picture_has_its_own_kernels_and_no_convolution_is_grouped():
    settings, pictures = Generator(SMALL[1]), uniform(3, 16, 20, 3)
    sets = [random_params(settings, seed) for seed in range(3)]
    _, slow = split_by_scope(sets[0], "norm,adapter,out")
    own = [split_by_scope(params, "norm,adapter,out")[0] for params in sets]
    each = jax.vmap(lambda fast, picture: generator.apply(settings, fast | slow, picture[None], side_by_side=True)[0])
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *own)
    for found, fast, picture in zip(each(stacked, pictures), own, pictures, strict=True):
        np.testing.assert_allclose(found, forward(settings, fast | slow, picture[None])[0], atol=2e-5)
    program = jax.jit(each).lower(stacked, pictures).as_text()
    assert set(re.findall(r"feature_group_count = (\d+)", program)) == {"1"}


@pytest.mark.slow
@pytest.mark.parametrize("arch", [*architecture.ARCHITECTURES, *SMALL])
def test_stylize_is_apply(arch):
    settings = Generator(arch)
    params, pictures = random_params(settings), uniform(2, 32, 48, 3)
    np.testing.assert_allclose(
        generator.stylize(settings, params, pictures), forward(settings, params, pictures), atol=2e-5
    )


# Pictures of any size


@pytest.mark.slow
@pytest.mark.parametrize("settings", [COMPACT, JOHNSON], ids=["compact", "johnson"])
@pytest.mark.parametrize("height, width", [(16, 16), (17, 23), (50, 31)])
def test_any_size_gives_that_size_in_range(settings, height, width):
    params, pictures = random_params(settings), uniform(1, height, width, 3)
    out = forward(settings, params, pictures)
    assert out.shape == pictures.shape and out.dtype == jnp.float32
    assert 0 <= out.min() < 0.3 and 0.7 < out.max() <= 1


@pytest.mark.parametrize("height, width", [(16, 16), (17, 23)])
def test_other_sizes_are_padded_by_reflection_and_cropped(height, width):
    params, pictures = random_params(COMPACT), uniform(1, height, width, 3)
    padded = np.pad(pictures, ((0, 0), (0, -height % 4), (0, -width % 4), (0, 0)), "reflect")
    expected = jax.jit(generator.network(COMPACT).apply)({"params": unflatten(params)}, padded)
    ours = forward(COMPACT, params, pictures)
    np.testing.assert_allclose(ours, expected[:, :height, :width], atol=1e-6)


def test_deeper_nets_pad_to_larger_multiples_and_take_larger_pictures():
    settings = Generator("s4,d6.blur,save-a,d8,u6.bilinear,add-a,u6,p4-3")
    params, pictures = random_params(settings), uniform(1, 131, 150, 3)
    padded = np.pad(pictures, ((0, 0), (0, 13), (0, 10), (0, 0)), "reflect")
    expected = jax.jit(generator.network(settings).apply)({"params": unflatten(params)}, padded)
    np.testing.assert_allclose(forward(settings, params, pictures), expected[:, :131, :150], atol=1e-5)
    with pytest.raises(InputError, match="`content`: expected sides of at least 64 px, got 150 x 63"):
        generator.apply(settings, params, pictures[:, :63])


@pytest.mark.parametrize("height, width", [(15, 64), (64, 15)])
def test_too_small(height, width):
    with pytest.raises(InputError, match=f"`content`: expected sides of at least 16 px, got {width} x {height}"):
        generator.apply(COMPACT, {}, uniform(1, height, width, 3))


def test_bfloat16_is_close_and_returns_float32():
    params, pictures = random_params(COMPACT), uniform(2, 32, 32, 3)
    exact, half = (forward(Generator("compact", dtype), params, pictures) for dtype in ("float32", "bfloat16"))
    assert half.dtype == jnp.float32
    assert 1e-4 < relative_error(half, exact) < 0.05


# Parameters


def test_initial_params():
    settings = Generator("c3s1-3,R3x1a,c3s1-3")
    first, again, other = (generator.initial_params(settings, seed) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    shapes = generator.shapes(settings)
    assert {k: (x.shape, x.dtype) for k, x in first.items()} == {k: (x.shape, x.dtype) for k, x in shapes.items()}
    for path, x in first.items():
        if path.endswith("kernel"):
            assert relative_error(x, other[path]) > 0.5, path
        else:
            assert (x == path.endswith("scale")).all(), path


@pytest.mark.parametrize("arch", ["c3s1-4,c3s1-3", "s4,R48x1a,p2-4,p2-3"])  # every initialiser
def test_initial_kernels_are_the_same_where_float64_is_on(arch):
    settings = Generator(arch)
    initial = lambda: generator.initial_params(settings, 0)
    with jax.enable_x64(True):
        wide = jax.jit(initial)()
    for path, x in jax.jit(initial)().items():
        np.testing.assert_allclose(wide[path], x, rtol=1e-6)  # scalars are wider: the last bits may differ


# Discriminators of patches


@pytest.mark.parametrize(
    "arch, scale, field",
    [
        ("c4s2-8.bare.leaky,c4s2-8.bare.leaky,c4s1-8.bare.leaky,c4s1-1", 4, 34),
        ("c4s2-8.bare.leaky,c4s2-8.bare.leaky,c4s2-8.bare.leaky,c4s1-8.bare.leaky,c4s1-1", 8, 70),
        ("d4.bare.blur.leaky,c3s1-1", 2, 9),
    ],
)
def test_a_discriminator_judges_patches_of_its_size(arch, scale, field):
    """Without norms, which see the whole picture: the pixels that change one value, in float64."""
    network = generator.Network(arch, jnp.float64, head="patch")
    with jax.enable_x64(True):
        picture = jnp.asarray(np.random.default_rng(0).uniform(size=(1, 128, 96, 3)))
        params = network.init(jax.random.key(0), picture)
        value = lambda x: network.apply(params, x)[0, 64 // scale, 48 // scale, 0]
        seen = np.abs(jax.jit(jax.grad(value))(picture)[0])
    rows, columns = (np.flatnonzero(seen.sum(axes)) for axes in ((1, 2), (0, 2)))
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == field


def test_a_discriminator_gives_a_value_for_each_patch_without_bounds():
    arch = "c4s2-8.bare.leaky,c4s2-8.leaky,c4s1-8.leaky,c4s1-1"
    network = generator.Network(arch, jnp.bfloat16, head="patch")
    pictures = uniform(2, 64, 48, 3)
    params = network.init(jax.random.key(0), pictures)
    out = jax.jit(network.apply)(params, pictures)
    assert out.shape == (2, 16, 12, 1) and out.dtype == jnp.float32
    assert out.min() < 0 < out.max()
    with pytest.raises(InputError, match="^`generator.arch`: expected an odd kernel in a generator"):
        generator.Network(arch).init(jax.random.key(0), pictures)


# No grid


@pytest.fixture(scope="module")
def photographs():
    return np.stack([square(codec.load(path)[0], 128) for path in paths.demo_pictures("photos")])


class PlainSubpixelConv(nn.Module):
    """A convolution whose sub-pixels share nothing, then depth to space."""

    op: architecture.Conv
    dtype: jnp.dtype
    side_by_side: bool

    @nn.compact
    def __call__(self, x):
        plain = architecture.Conv("conv", self.op.features * self.op.subpixels**2)
        y = layers.ReflectConv(plain, self.dtype, name="conv")(x)
        return layers.depth_to_space(y, self.op.subpixels)


def grids(settings, photographs, equal_subpixels=False, plain=False):
    """Scores of five random networks' outputs over those of the photographs, [5, N]. plain: of a PlainSubpixelConv."""
    compiled = jax.jit(lambda *arguments: generator.apply(settings, *arguments))
    scores = []
    for seed in range(5):
        params = random_params(settings, seed)
        if equal_subpixels:
            params["out/kernel"] = np.tile(params["out/kernel"][..., :3], 16)
        if plain:
            biases = np.random.default_rng(seed).normal(0, 0.5, 3 * 16).astype(np.float32)
            params |= {"out/conv/kernel": params.pop("out/kernel"), "out/conv/bias": biases}
            del params["out/bias"]
        scores.append([grid_artefact(np.asarray(x)) for x in compiled(params, photographs)])
    return np.array(scores) / [grid_artefact(x) for x in photographs]


@pytest.mark.slow
def test_johnson_leaves_no_grid(photographs):
    assert grids(JOHNSON, photographs).max() <= 2


@pytest.mark.slow
def test_compact_leaves_no_grid_and_a_plain_twin_does(photographs, monkeypatch):
    start = generator.initial_params(Generator("s4,p4-3"), 0)["out/kernel"]
    np.testing.assert_array_equal(start, np.tile(start[..., :3], 16))
    assert grids(COMPACT, photographs, equal_subpixels=True).max() <= 2
    apart = grids(COMPACT, photographs)  # as training may leave them
    monkeypatch.setattr(generator, "SubpixelConv", PlainSubpixelConv)
    plain = grids(COMPACT, photographs, plain=True)
    assert plain.min() > 2
    assert np.median(apart) <= 2 and np.median(plain / apart) > 3


@pytest.mark.parametrize("settings", [COMPACT, JOHNSON], ids=["compact", "johnson"])
def test_a_constant_picture_stays_constant(settings):
    out = forward(settings, random_params(settings), np.full((1, 16, 16, 3), 0.3, np.float32))
    np.testing.assert_allclose(out, np.broadcast_to(out[:, :1, :1], out.shape), atol=1e-5)


@pytest.mark.parametrize("settings", [COMPACT, JOHNSON], ids=["compact", "johnson"])
def test_a_large_constant_picture_gets_no_frame(settings):
    picture = np.full((64, 64, 3), 0.3, np.float32)
    out = tiling.stylize(settings, random_params(settings), picture, tile=0)
    np.testing.assert_allclose(out, np.broadcast_to(out[:1, :1], out.shape), atol=1e-5)
