"""Loss networks on disk: what is read and refused, and where they are found."""

import json
import os
import stat

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
from metastyle.weights import vgg_files
from tests.support.errors import refused
from tests.support.places import WEIGHTS
from tests.support.slim_vgg import RANKS, WIDTHS

OURS = {"format_version": "1", "channels": "rgb", "mean": "[0.5, 0.5, 0.5]", "std": "[0.2, 0.2, 0.2]"}


def tensors(widths=WIDTHS, ranks=(0,) * 10):
    return vgg_files.tensors(vgg.random_params(0, widths, ranks))


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No weights: an empty cache, no sample data, METASTYLE_VGG16 not set."""
    monkeypatch.delenv("METASTYLE_VGG16", raising=False)
    monkeypatch.setenv("METASTYLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("METASTYLE_SAMPLE_DATA", str(tmp_path / "sample"))
    return tmp_path


def test_low_rank_survives_the_file(tmp_path):
    vgg_files.save(tmp_path / "vgg.safetensors", tensors(WIDTHS, RANKS), vgg.TORCHVISION)
    jax.tree.map(
        np.testing.assert_array_equal, vgg_files.load(tmp_path / "vgg.safetensors"), vgg.random_params(0, WIDTHS, RANKS)
    )


def test_the_same_network_in_either_channel_order(tmp_path):
    kernel = tensors()["conv1_1/kernel"]
    vgg_files.save(tmp_path / "rgb.safetensors", tensors(), vgg.TORCHVISION)
    reverse = vgg.Convention("bgr", vgg.TORCHVISION.mean[::-1], vgg.TORCHVISION.std[::-1])
    vgg_files.save(tmp_path / "bgr.safetensors", tensors() | {"conv1_1/kernel": kernel[:, :, ::-1]}, reverse)
    loaded = [vgg_files.load(tmp_path / f"{name}.safetensors") for name in ("rgb", "bgr")]
    jax.tree.map(np.testing.assert_array_equal, *loaded)
    jax.tree.map(np.testing.assert_array_equal, loaded[0], vgg.random_params(0, WIDTHS))


def test_the_conventions_put_the_same_picture_in_the_units_of_each_network(sample_data):
    caffe = vgg_files.load(sample_data / WEIGHTS)["input"]
    white = (1 - caffe["mean"]) / caffe["std"]
    np.testing.assert_allclose(white, 255 - np.array([123.68, 116.779, 103.939]), rtol=1e-6)


def test_a_saved_file_is_as_readable_as_any_other(tmp_path):
    before = os.umask(0o027)
    try:
        vgg_files.save(tmp_path / "vgg.safetensors", tensors(), vgg.CAFFE)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "vgg.safetensors").stat().st_mode) == 0o640
    assert load_file(tmp_path / "vgg.safetensors").keys() == tensors().keys()


def test_a_refused_save_leaves_what_was_there(tmp_path):
    path = tmp_path / "vgg.safetensors"
    vgg_files.save(path, tensors(), vgg.CAFFE)
    before = path.read_bytes()
    with pytest.raises(InputError, match="conv2_1/bias"):
        vgg_files.save(path, {k: v for k, v in tensors().items() if k != "conv2_1/bias"}, vgg.CAFFE)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["vgg.safetensors"]


def test_no_metadata_of_ours_means_the_caffe_numbers(tmp_path):
    save_file(tensors(), tmp_path / "vgg.safetensors", {"format": "pt"})
    read, convention = vgg_files.read(tmp_path / "vgg.safetensors")
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
    with refused(f"^`vgg`: {message}") as error:
        vgg_files.load(tmp_path / "vgg.safetensors")
    assert str(tmp_path) in str(error.value)


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
    with refused(f"^`vgg`: .*{message}") as error:
        vgg_files.load(tmp_path / "vgg.safetensors")
    assert str(tmp_path) in str(error.value)


def test_the_first_weights_found_are_taken(nowhere, monkeypatch):
    places = [nowhere / name for name in ("environment", "cache/vgg16.safetensors", f"sample/{WEIGHTS}")]
    with pytest.raises(FileNotFoundError, match="VGG-16 weights not found; type `metastyle fetch vgg16`"):
        vgg_files.load("vgg16")
    for path in reversed(places):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if path.name == "environment":
            monkeypatch.setenv("METASTYLE_VGG16", str(path))
        assert vgg_files.locate("vgg16") == path
    assert vgg_files.locate(places[-1]) == places[-1]


@pytest.mark.parametrize("name", ["absent", "."])
def test_named_weights_must_be_there(nowhere, monkeypatch, name):
    (nowhere / "cache").mkdir()
    vgg_files.save(nowhere / "cache/vgg16.safetensors", tensors(), vgg.CAFFE)
    assert vgg_files.load("vgg16")["conv1_1"]["bias"].shape == (4,)
    with pytest.raises(
        FileNotFoundError, match=f"`vgg`: expected slim, half, vgg16, random or a safetensors file, got .*{name}'"
    ):
        vgg_files.load(nowhere / name)
    monkeypatch.setenv("METASTYLE_VGG16", str(nowhere / name))
    with pytest.raises(FileNotFoundError, match="`METASTYLE_VGG16`: expected slim, half, vgg16, random or a safe"):
        vgg_files.load("vgg16")


@pytest.mark.slow
def test_the_slim_network_in_the_package_stands_for_vgg16(sample_data):
    """As a loss: it ranks pictures as VGG-16 does, from a photograph over blends and damage to the style itself."""
    stats = pytest.importorskip("scipy.stats")
    photograph, style = (square(codec.load(paths.demo_pictures(kind)[0])[0], 96) for kind in ("photos", "styles"))
    noise = np.random.default_rng(0).normal(0, 0.2, photograph.shape)
    outputs = [(1 - share) * photograph + share * style for share in np.linspace(0, 1, 9)]
    outputs += [photograph + share * noise for share in (0.2, 0.5, 1)] + [style[:, ::-1], np.full_like(style, 0.5)]
    outputs = jnp.asarray(np.clip(outputs, 0, 1), jnp.float32)
    found = []
    for params in (vgg_files.load(), vgg_files.load(sample_data / WEIGHTS)):
        content = perceptual.content_target(params, jnp.asarray(photograph)[None], Loss())
        target = perceptual.style_target(params, jnp.asarray(style)[None], Loss())
        found.append([float(perceptual.perceptual(params, x[None], content, target, Loss()).total[0]) for x in outputs])
    assert stats.spearmanr(*found).statistic > 0.9
    np.testing.assert_allclose(*found, rtol=0.5)
