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
from metastyle.nets import generator
from metastyle.stylize import tiling
from metastyle.system import paths
from tests.support.toy import relative_error

JOHNSON, COMPACT = Generator("johnson"), Generator("compact")
SMALL = ["c9s1-4,d6,R6x2,u5,c3s1-3", "s4,c5s1-6,R6x1a,p4-3,skip", "u4,s2,c3s1-3,skip"]

forward = jax.jit(generator.apply, static_argnums=0)


def uniform(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def random_params(settings, seed=0):
    """He-normal kernels, norm scales from N(1, 0.5), biases from N(0, 0.5): far from where training starts."""
    rng = np.random.default_rng(seed)
    params = {}
    for path, x in generator.shapes(settings).items():
        he = np.sqrt(2 / max(np.prod(x.shape[:-1]), 1))
        mean, std = {"kernel": (0, he), "adapter": (0, he), "scale": (1, 0.5), "bias": (0, 0.5)}[path.split("/")[-1]]
        params[path] = rng.normal(mean, std, x.shape).astype(np.float32)
    return params


def numpy_conv(x, kernel, stride=1):
    """Padded by reflection: f64[H, W, C] -> f64[H / stride, W / stride, D]."""
    side = len(kernel)
    padded = np.pad(x, ((side // 2, side // 2), (side // 2, side // 2), (0, 0)), "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (0, 1))[::stride, ::stride]
    return np.einsum("hwcij,ijcd->hwd", windows, kernel)


def numpy_norm(x, scale, bias):
    return (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-5) * scale + bias


def numpy_network(arch, params, x):
    """The architecture language read a second time: f64[H, W, 3] -> f64[H, W, 3]."""
    p = {path: np.array(value, np.float64) for path, value in params.items()}
    norm = lambda x, name: numpy_norm(x, p[f"{name}/scale"], p[f"{name}/bias"])
    *tokens, last = arch.removesuffix(",skip").split(",")
    skipped = norm(x, "norm_skip") if arch.endswith(",skip") else 0
    convs = blocks = 0
    for token in tokens:
        h, w, c = x.shape
        if token[0] == "s":
            f = int(token[1])
            x = np.stack([x[i::f, j::f] for i in range(f) for j in range(f)], 2).reshape(h // f, w // f, f * f * c)
        elif token[0] == "R":
            for _ in range(int(token.split("x")[1].removesuffix("a"))):
                blocks += 1
                second = p[f"block{blocks}/conv2/kernel"]
                if token.endswith("a"):
                    second[1, 1] += p[f"block{blocks}/conv2/adapter"]
                y = np.maximum(norm(numpy_conv(x, p[f"block{blocks}/conv1/kernel"]), f"block{blocks}/norm1"), 0)
                x = x + norm(numpy_conv(y, second), f"block{blocks}/norm2")
        else:
            convs += 1
            x = np.kron(x, np.ones((2, 2, 1))) if token[0] == "u" else x
            y = numpy_conv(x, p[f"conv{convs}/kernel"], 2 if token[0] == "d" else 1)
            x = np.maximum(norm(y, f"norm{convs}"), 0)
    kernel = p["out/kernel"]
    if last[0] == "p":
        f, (h, w, _) = int(last[1]), x.shape
        out = np.zeros((h * f, w * f, 3))
        mean = np.mean([kernel[..., 3 * i :][..., :3].sum((0, 1)) for i in range(f * f)], 0) / 9
        for i in range(f * f):
            subpixel = kernel[..., 3 * i :][..., :3]
            out[i // f :: f, i % f :: f] = numpy_conv(x, subpixel - subpixel.mean((0, 1)) + mean)
    else:
        out = numpy_conv(x, kernel)
    return 1 / (1 + np.exp(-out - p["out/bias"] - skipped))


# What the networks are


def test_parameter_counts():
    johnson = generator.shapes(JOHNSON)
    norm, rest = generator.split(johnson, "norm")
    assert generator.count(johnson) == 1_677_635
    assert generator.count(norm) == 3_200
    assert generator.count(rest) == 1_677_635 - 3_200
    for arch in ("compact", "compact_half"):
        assert generator.count(generator.shapes(Generator(arch))) <= 500_000


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


@pytest.mark.parametrize("arch", SMALL)
def test_a_network_is_what_its_string_says(arch):
    params, picture = random_params(Generator(arch)), uniform(16, 20, 3)
    ours = forward(Generator(arch), params, picture[None])[0]
    np.testing.assert_allclose(ours, numpy_network(arch, params, picture.astype(np.float64)), atol=2e-5)


@pytest.mark.parametrize("kernel, stride", [(3, 1), (9, 1), (3, 2)])
@pytest.mark.parametrize("height, width", [(16, 24), (6, 18), (5, 7)])
def test_reflect_conv_is_numpys(kernel, stride, height, width):
    if min(height, width) <= kernel // 2:
        pytest.skip("a reflection needs a pixel more than it adds")
    x, weights = uniform(2, height, width, 3), uniform(kernel, kernel, 3, 4, seed=1) - 0.5
    ours = generator.reflect_conv(jnp.asarray(x), jnp.asarray(weights), stride)
    expected = np.stack([numpy_conv(picture.astype(np.float64), weights, stride) for picture in x])
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_reflect_product_is_reflect_conv(kernel):
    x, weights = jnp.asarray(uniform(2, 8, 12, 3)), jnp.asarray(uniform(kernel, kernel, 3, 4, seed=1) - 0.5)
    np.testing.assert_allclose(
        generator.reflect_product(x, weights), generator.reflect_conv(x, weights), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("arch", SMALL)
def test_what_is_computed_apart_is_the_same(arch):
    settings, pictures = Generator(arch), uniform(3, 16, 20, 3)
    params = random_params(settings)
    apart = jax.jit(functools.partial(generator.apply, settings, apart=True))(params, pictures)
    np.testing.assert_allclose(apart, forward(settings, params, pictures), atol=2e-5)


def test_side_by_side_each_picture_has_its_own_kernels_and_no_convolution_is_grouped():
    settings, pictures = Generator(SMALL[1]), uniform(3, 16, 20, 3)
    sets = [random_params(settings, seed) for seed in range(3)]
    _, slow = generator.split(sets[0], "norm,adapter,out")
    own = [generator.split(params, "norm,adapter,out")[0] for params in sets]
    each = jax.vmap(lambda fast, picture: generator.apply(settings, fast | slow, picture[None], apart=True)[0])
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *own)
    for found, fast, picture in zip(each(stacked, pictures), own, pictures, strict=True):
        np.testing.assert_allclose(found, forward(settings, fast | slow, picture[None])[0], atol=2e-5)
    program = jax.jit(each).lower(stacked, pictures).as_text()
    assert set(re.findall(r"feature_group_count = (\d+)", program)) == {"1"}


@pytest.mark.parametrize("mean, std, tolerance", [(0, 1, 1e-5), (-3, 20, 1e-5), (1000, 0.01, 0.06)])
def test_instance_norm_is_numpy_s(mean, std, tolerance):
    """Near 1000, float32 knows a mean to 6e-5 at best, and of E[x^2] - E[x]^2 = 1e-4 it has no correct digit."""
    x = np.random.default_rng(0).normal(mean, std, (2, 16, 16, 3)).astype(np.float32)
    scale, bias = np.float32([1, 2, -1]), np.float32([0, 0.5, 1])
    ours = generator._Norm().apply({"params": {"scale": scale, "bias": bias}}, x)
    expected = np.stack([numpy_norm(y, scale, bias) for y in x.astype(np.float64)])
    np.testing.assert_allclose(ours, expected, atol=tolerance)


def test_instance_norm_of_bfloat16_is_computed_in_float32():
    x = jnp.asarray(np.random.default_rng(0).normal(100, 3, (1, 16, 16, 3)), jnp.bfloat16)
    scale, bias = np.ones(3, np.float32), np.zeros(3, np.float32)
    ours = generator._Norm().apply({"params": {"scale": scale, "bias": bias}}, x)
    assert ours.dtype == jnp.bfloat16
    np.testing.assert_allclose(ours[0].astype(float), numpy_norm(np.asarray(x[0], np.float64), 1, 0), atol=0.01)


@pytest.mark.parametrize("factor", [2, 4])
def test_space_to_depth_and_back(factor):
    x = uniform(2, 8, 12, 3)
    packed = generator.space_to_depth(x, factor)
    assert packed.shape == (2, 8 // factor, 12 // factor, 3 * factor**2)
    np.testing.assert_array_equal(
        packed[:, 1, 0, 3 * (factor + 1) :][:, :3], x[:, factor + 1, 1]
    )  # row, column, colour
    np.testing.assert_array_equal(generator.depth_to_space(packed, factor), x)
    np.testing.assert_array_equal(generator.space_to_depth(generator.depth_to_space(packed, factor), factor), packed)


@pytest.mark.parametrize(
    "arch, message",
    [
        ("jonson", 'johnson, compact, compact_half or tokens such as .*got "jonson" in "jonson"'),
        ("c9s1-32,x64,c9s1-3", 'got "x64"'),
        ("c9s2-32,c9s1-3", 'got "c9s2-32"'),
        ("c4s1-32,c9s1-3", 'got "c4s1-32"'),
        ("c9s1-0,c9s1-3", 'got "c9s1-0"'),
        ("c9s1-32,,c9s1-3", 'got ""'),
        ("", 'got "" in ""'),
        ("c9s1-32,d64,c9s1-3", "a net that ends in .* at its input's size"),
        ("c9s1-32,c9s1-4", "a net that ends in c9s1-3 or p4-3"),
        ("d8,u3", "a net that ends in c9s1-3 or p4-3"),
        ("R3x2", "a net that ends in c9s1-3 or p4-3"),
        ("s4,p4-8,c3s1-3", "its only p"),
        ("skip,c3s1-3", "and then skip at most"),
        ("c3s1-3,skip,skip", "and then skip at most"),
        ("skip", "a net that ends in c9s1-3 or p4-3"),
        ("c9s1-32,R64x2,c9s1-3", r'as many channels as come in, R32x2, got "R64x2"'),
        ("s4,R64x2,p4-3", r'R48x2, got "R64x2"'),
        ("d8,d8,d8,u8,u8,u8,c3s1-3", r"goes down to 1/4 of its input's size at most, got \"d8\""),
        ("s4,s2,c3s1-8,p2-12,p4-3", r"goes down to 1/4 of its input's size at most, got \"s2\""),
    ],
)
def test_what_is_not_in_the_language_is_refused(arch, message):
    with pytest.raises(InputError, match=f"^`generator.arch`: expected .*{message}") as error:
        generator.network(Generator(arch))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("arch", [*generator.ARCHITECTURES, *SMALL])
def test_stylize_is_apply(arch):
    settings = Generator(arch)
    params, pictures = random_params(settings), uniform(2, 32, 48, 3)
    np.testing.assert_allclose(
        generator.stylize(settings, params, pictures), forward(settings, params, pictures), atol=2e-5
    )


# Pictures of any size


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
    expected = jax.jit(generator.network(COMPACT).apply)({"params": generator.unflatten(params)}, padded)
    ours = forward(COMPACT, params, pictures)
    np.testing.assert_allclose(ours, expected[:, :height, :width], atol=1e-6)


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


@pytest.mark.parametrize("arch", ["c3s1-4,c3s1-3", "s2,R12x1a,p2-3"])  # every initialiser
def test_initial_kernels_are_the_same_where_float64_is_on(arch):
    settings = Generator(arch)
    initial = lambda: generator.initial_params(settings, 0)
    with jax.enable_x64(True):
        wide = jax.jit(initial)()
    for path, x in jax.jit(initial)().items():
        np.testing.assert_allclose(wide[path], x, rtol=1e-6)  # scalars are wider: the last bits may differ


@pytest.mark.parametrize(
    "scope, chosen",
    [
        ("norm", r"(.*/)?norm\d/.*"),
        ("all", ".*"),
        ("out", "out/.*"),
        ("block1,out", "(block1|out)/.*"),
        ("block1/conv1", "block1/conv1/kernel"),
        ("norm, out/bias", r"(.*/)?norm\d/.*|out/bias"),
        ("adapter", r"block\d+/conv2/adapter"),
    ],
)
def test_split_and_its_inverse(scope, chosen):
    params = random_params(Generator("c3s1-8,R8x10a,c3s1-3"))
    fast, slow = generator.split(params, scope)
    assert set(fast) == {path for path in params if re.fullmatch(chosen, path)} != set()
    assert fast.keys().isdisjoint(slow) and fast | slow == params


@pytest.mark.parametrize("scope", ["", "norms", "block", "block3", "out,block1/conv3", "norm,,out"])
def test_a_scope_that_picks_nothing_is_refused(scope):
    params = random_params(Generator("c3s1-8,R8x2,c3s1-3"))
    expected = "`inner.scope`: expected norm, adapter, all or prefixes of block1, block2, conv1, norm1, out, got "
    with pytest.raises(InputError, match=expected):
        generator.split(params, scope)


def test_flatten_and_its_inverse():
    tree = {"b": {"kernel": 1}, "a": {"c": {"bias": 2, "a": 3}}}
    flat = generator.flatten(tree)
    assert list(flat.items()) == [("a/c/a", 3), ("a/c/bias", 2), ("b/kernel", 1)]
    assert generator.unflatten(flat) == tree
    assert generator.flatten(generator.unflatten(flat)) == flat


# No grid


@pytest.fixture(scope="module")
def photographs():
    return np.stack([square(codec.load(path)[0], 128) for path in paths.demo_pictures("photos")])


class PlainUnpack(nn.Module):
    """A convolution whose sub-pixels share nothing, then depth to space."""

    features: int
    factor: int
    dtype: jnp.dtype
    apart: bool

    @nn.compact
    def __call__(self, x):
        y = generator._Conv(self.features * self.factor**2, 3, self.dtype, name="conv")(x)
        return generator.depth_to_space(y, self.factor)


def grids(settings, photographs, equal_subpixels=False):
    """Scores of five random networks' outputs over those of the photographs, [5, N]."""
    compiled = jax.jit(lambda *arguments: generator.apply(settings, *arguments))
    scores = []
    for seed in range(5):
        params = random_params(settings, seed)
        if equal_subpixels:
            params["out/kernel"] = np.tile(params["out/kernel"][..., :3], 16)
        scores.append([grid_artefact(np.asarray(x)) for x in compiled(params, photographs)])
    return np.array(scores) / [grid_artefact(x) for x in photographs]


def test_johnson_leaves_no_grid(photographs):
    assert grids(JOHNSON, photographs).max() <= 2


def test_compact_leaves_no_grid_and_a_plain_twin_does(photographs, monkeypatch):
    start = generator.initial_params(Generator("s4,p4-3"), 0)["out/kernel"]
    np.testing.assert_array_equal(start, np.tile(start[..., :3], 16))
    assert grids(COMPACT, photographs, equal_subpixels=True).max() <= 2
    apart = grids(COMPACT, photographs)  # as training may leave them
    monkeypatch.setattr(generator, "_Unpack", PlainUnpack)
    plain = grids(COMPACT, photographs)
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
