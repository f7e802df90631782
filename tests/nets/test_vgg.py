"""VGG features against golden activations of another framework; where weights are found, and which are refused."""

import json
import os
import stat

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from metastyle.config import Loss
from metastyle.errors import InputError
from metastyle.images import codec
from metastyle.images.resize import square
from metastyle.losses import perceptual
from metastyle.nets import vgg
from metastyle.system import paths
from tests.support.toy import relative_error

WEIGHTS = "weights/vgg16_imagenet_conv1-conv4.safetensors"
WIDTHS = (4, 6, 5, 7, 8, 9, 10, 11, 12, 13)
RANKS = (0, 2, 0, 0, 0, 3, 0, 0, 0, 4)
OURS = {"format_version": "1", "channels": "rgb", "mean": "[0.5, 0.5, 0.5]", "std": "[0.2, 0.2, 0.2]"}


def tensors(widths=WIDTHS, ranks=(0,) * 10):
    return vgg.tensors(vgg.random_params(0, widths, ranks))


def pictures(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(*shape, 3)), jnp.float32)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No weights: an empty cache, no sample data, METASTYLE_VGG16 not set."""
    monkeypatch.delenv("METASTYLE_VGG16", raising=False)
    monkeypatch.setenv("METASTYLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("METASTYLE_SAMPLE_DATA", str(tmp_path / "sample"))
    return tmp_path


# Features


def test_golden_activations(sample_data):
    golden = np.load(sample_data / "weights/golden.npz")
    with jax.default_matmul_precision("highest"):
        features = vgg.features(vgg.load(sample_data / WEIGHTS), jnp.asarray(golden["image"])[None])
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


def test_low_rank_survives_the_file(tmp_path):
    vgg.save(tmp_path / "vgg.safetensors", tensors(WIDTHS, RANKS), vgg.TORCHVISION)
    jax.tree.map(
        np.testing.assert_array_equal, vgg.load(tmp_path / "vgg.safetensors"), vgg.random_params(0, WIDTHS, RANKS)
    )


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
    jax.tree.map(np.testing.assert_array_equal, vgg.load("random"), vgg.random_params())


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


# Weights on disk


def test_the_same_network_in_either_channel_order(tmp_path):
    kernel = tensors()["conv1_1/kernel"]
    vgg.save(tmp_path / "rgb.safetensors", tensors(), vgg.TORCHVISION)
    reverse = {"channels": "bgr"} | {k: vgg.TORCHVISION[k][::-1] for k in ("mean", "std")}
    vgg.save(tmp_path / "bgr.safetensors", tensors() | {"conv1_1/kernel": kernel[:, :, ::-1]}, reverse)
    loaded = [vgg.load(tmp_path / f"{name}.safetensors") for name in ("rgb", "bgr")]
    jax.tree.map(np.testing.assert_array_equal, *loaded)
    jax.tree.map(np.testing.assert_array_equal, loaded[0], vgg.random_params(0, WIDTHS))


def test_the_conventions_put_the_same_picture_in_the_units_of_each_network(sample_data):
    caffe = vgg.load(sample_data / WEIGHTS)["input"]
    white = (1 - caffe["mean"]) / caffe["std"]
    np.testing.assert_allclose(white, 255 - np.array([123.68, 116.779, 103.939]), rtol=1e-6)


def test_a_saved_file_is_as_readable_as_any_other(tmp_path):
    before = os.umask(0o027)
    try:
        vgg.save(tmp_path / "vgg.safetensors", tensors(), vgg.CAFFE)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "vgg.safetensors").stat().st_mode) == 0o640
    assert load_file(tmp_path / "vgg.safetensors").keys() == tensors().keys()


def test_a_refused_save_leaves_what_was_there(tmp_path):
    path = tmp_path / "vgg.safetensors"
    vgg.save(path, tensors(), vgg.CAFFE)
    before = path.read_bytes()
    with pytest.raises(InputError, match="conv2_1/bias"):
        vgg.save(path, {k: v for k, v in tensors().items() if k != "conv2_1/bias"}, vgg.CAFFE)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["vgg.safetensors"]


def test_no_metadata_of_ours_means_the_caffe_numbers(tmp_path):
    save_file(tensors(), tmp_path / "vgg.safetensors", {"format": "pt"})
    read, convention = vgg.read(tmp_path / "vgg.safetensors")
    assert convention == vgg.CAFFE
    jax.tree.map(np.testing.assert_array_equal, read, tensors())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format_version": "2"}, "expected 1 as format_version .*got '2'"),
        ({"format_version": None}, "expected 1 as format_version .*got None"),
        ({"channels": "grb"}, "expected rgb or bgr as channels .*got 'grb'"),
        ({"channels": None}, "expected rgb or bgr as channels .*got None"),
        ({"mean": None}, "expected three numbers as mean .*got None"),
        ({"mean": "[0.5, 0.5"}, "expected three numbers as mean"),
        ({"mean": "[0.5, 0.5]"}, "expected three numbers as mean"),
        ({"mean": "[0.5, 0.5, null]"}, "expected three numbers as mean"),
        ({"mean": "[0.5, 0.5, NaN]"}, "expected three numbers as mean"),
        ({"mean": '{"r": 1}'}, "expected three numbers as mean"),
        ({"std": "0.2"}, "expected three positive numbers as std"),
        ({"std": "[0.2, 0.2, 0]"}, "expected three positive numbers as std"),
        ({"std": "[\n0.2, 0.2]"}, "expected three positive numbers as std"),
    ],
)
def test_bad_metadata_is_one_line(tmp_path, change, message):
    metadata = {key: value for key, value in (OURS | change).items() if value is not None}
    save_file(tensors(), tmp_path / "vgg.safetensors", metadata)
    with pytest.raises(InputError, match=f"^`vgg`: {message}") as error:
        vgg.load(tmp_path / "vgg.safetensors")
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def float8(path):
    header = json.dumps({"conv1_1/bias": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda path: path.write_bytes(b""), "is not a readable safetensors file"),
        (lambda path: path.write_bytes(bytes(100)), "is not a readable safetensors file"),
        (float8, "is not a readable safetensors file .*float8"),
        (
            lambda path: save_file({"a": np.zeros(2)}, path),
            r"conv1_1/kernel of shape \(3, 3, 3, C\).*got None, None and None",
        ),
        (
            lambda path: save_file(tensors() | {"conv3_1/bias": np.zeros(3)}, path),
            r"conv3_1/bias of shape \(C,\).*, got \(3, 3, 7, 8\), None and \(3,\)",
        ),
        (
            lambda path: save_file(tensors() | {"conv3_1/mix": np.zeros((5, 8))}, path),
            r"conv3_1/mix, if any, of shape \(C, D\).*, got \(3, 3, 7, 8\), \(5, 8\) and \(8,\)",
        ),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, write, message):
    write(tmp_path / "vgg.safetensors")
    with pytest.raises(InputError, match=f"^`vgg`: .*{message}") as error:
        vgg.load(tmp_path / "vgg.safetensors")
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_the_first_weights_found_are_taken(nowhere, monkeypatch):
    places = [nowhere / name for name in ("environment", "cache/vgg16.safetensors", f"sample/{WEIGHTS}")]
    with pytest.raises(FileNotFoundError, match="VGG-16 weights not found; type `metastyle fetch vgg16`"):
        vgg.load("vgg16")
    for path in reversed(places):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if path.name == "environment":
            monkeypatch.setenv("METASTYLE_VGG16", str(path))
        assert vgg.locate("vgg16") == path
    assert vgg.locate(places[-1]) == places[-1]


@pytest.mark.parametrize("name", ["absent", "."])
def test_named_weights_must_be_there(nowhere, monkeypatch, name):
    (nowhere / "cache").mkdir()
    vgg.save(nowhere / "cache/vgg16.safetensors", tensors(), vgg.CAFFE)
    assert vgg.load("vgg16")["conv1_1"]["bias"].shape == (4,)
    with pytest.raises(
        FileNotFoundError, match=f"`vgg`: expected slim, vgg16, random or a safetensors file, got .*{name}'"
    ):
        vgg.load(nowhere / name)
    monkeypatch.setenv("METASTYLE_VGG16", str(nowhere / name))
    with pytest.raises(FileNotFoundError, match="`METASTYLE_VGG16`: expected slim, vgg16, random or a safe"):
        vgg.load("vgg16")


def test_the_slim_network_in_the_package_stands_for_vgg16(sample_data):
    """As a loss: it ranks pictures as VGG-16 does, from a photograph over blends and damage to the style itself."""
    stats = pytest.importorskip("scipy.stats")
    photograph, style = (square(codec.load(paths.demo_pictures(kind)[0])[0], 96) for kind in ("photos", "styles"))
    noise = np.random.default_rng(0).normal(0, 0.2, photograph.shape)
    outputs = [(1 - share) * photograph + share * style for share in np.linspace(0, 1, 9)]
    outputs += [photograph + share * noise for share in (0.2, 0.5, 1)] + [style[:, ::-1], np.full_like(style, 0.5)]
    outputs = jnp.asarray(np.clip(outputs, 0, 1), jnp.float32)
    found = []
    for params in (vgg.load(), vgg.load(sample_data / WEIGHTS)):
        content = perceptual.content_target(params, jnp.asarray(photograph)[None], Loss())
        target = perceptual.style_target(params, jnp.asarray(style)[None], Loss())
        found.append([float(perceptual.perceptual(params, x[None], content, target, Loss()).total[0]) for x in outputs])
    assert stats.spearmanr(*found).statistic > 0.9
    np.testing.assert_allclose(*found, rtol=0.5)
