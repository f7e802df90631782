"""Every container gives the same network: the params tree is what a picture meets, so it is what is compared."""

import sys
from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from metastyle.errors import InputError
from metastyle.nets import vgg
from metastyle.weights import convert, vgg_files
from tests.support.errors import refused
from tests.support.places import WEIGHTS
from tests.support.vgg_download import OLD_KERAS, bgr, slim_tensors, write_keras

INDEXES = dict(zip(vgg.LAYERS, (0, 2, 5, 7, 10, 12, 14, 17, 19, 21), strict=True))
NEW_KERAS = "{block}/{block}/{kernel}:0"
SAVED_MODEL = "model_weights/{block}/{block}/{kernel}:0"
KERAS_3 = "layers/{block}/vars/{i}"


def torch_state(tensors):
    state = {"classifier.0.weight": np.zeros((2, 2), np.float32)}
    for layer, index in INDEXES.items():
        state[f"features.{index}.weight"] = np.transpose(tensors[f"{layer}/kernel"], (3, 2, 0, 1))
        state[f"features.{index}.bias"] = tensors[f"{layer}/bias"]
    return state


def assert_params(params, tensors, mean, std):
    np.testing.assert_allclose(params["input"]["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(params["input"]["std"], std, rtol=1e-6)
    for layer in vgg.LAYERS:
        for part in ("kernel", "bias"):
            np.testing.assert_array_equal(params[layer][part], tensors[f"{layer}/{part}"], err_msg=f"{layer}/{part}")


CAFFE = {"mean": np.array([123.68, 116.779, 103.939]) / 255, "std": np.ones(3) / 255}
TORCHVISION = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@pytest.mark.parametrize("form", [OLD_KERAS, NEW_KERAS, SAVED_MODEL, KERAS_3])
def test_keras(tmp_path, form):
    tensors, out = slim_tensors(), tmp_path / "out.safetensors"
    write_keras(tmp_path / "vgg.h5", bgr(tensors), form)
    convert.convert(tmp_path / "vgg.h5", out)
    assert_params(vgg_files.load(out), tensors, **CAFFE)
    assert load_file(out).keys() == tensors.keys()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.safetensors", "vgg.h5"]


def test_keras_model_saved_with_its_optimizer(tmp_path):
    tensors = slim_tensors()
    write_keras(tmp_path / "model.h5", bgr(tensors), SAVED_MODEL)
    with h5py.File(tmp_path / "model.h5", "a") as file:
        file["optimizer_weights/block1_conv1/kernel/momentum:0"] = np.ones((3, 3, 3, 4))
    convert.convert(tmp_path / "model.h5", tmp_path / "out.safetensors")
    assert_params(vgg_files.load(tmp_path / "out.safetensors"), tensors, **CAFFE)


def test_vgg19_is_refused(tmp_path):
    write_keras(tmp_path / "vgg19.h5", slim_tensors())
    with h5py.File(tmp_path / "vgg19.h5", "a") as file:
        file["block3_conv4/block3_conv4_W_1:0"] = np.zeros((3, 3, 10, 10))
    with pytest.raises(InputError, match="VGG-19"):
        convert.convert(tmp_path / "vgg19.h5", tmp_path / "out.safetensors")


def test_torchvision_mapping(tmp_path):
    tensors, out = slim_tensors(), tmp_path / "out.safetensors"
    vgg_files.save(out, convert.from_torchvision(torch_state(tensors)), vgg.TORCHVISION)
    assert_params(vgg_files.load(out), tensors, **TORCHVISION)


def test_torchvision_of_another_network():
    state = torch_state(slim_tensors())
    del state["features.14.weight"]  # VGG-13 has no conv3_3
    with pytest.raises(InputError, match=r"`source`: expected torchvision's VGG-16 with features\.14\.weight"):
        convert.from_torchvision(state)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_torchvision_file(tmp_path, zipped):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensors, out = slim_tensors(), tmp_path / "out.safetensors"
    state = {k: torch.nn.Parameter(torch.from_numpy(v.copy())) for k, v in torch_state(tensors).items()}
    torch.save(state, tmp_path / "vgg.pth", _use_new_zipfile_serialization=zipped)
    convert.convert(tmp_path / "vgg.pth", out)
    assert_params(vgg_files.load(out), tensors, **TORCHVISION)


def test_torch_file_that_runs_code_is_refused(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")

    class Attack:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"features.0.weight": Attack()}, tmp_path / "vgg.pth")
    with pytest.raises(InputError, match="`source`: expected a PyTorch state dict, only tensors"):
        convert.convert(tmp_path / "vgg.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("convention", [vgg.CAFFE, vgg.TORCHVISION], ids=["caffe", "torchvision"])
def test_our_own_form_keeps_its_convention(tmp_path, convention):
    vgg_files.save(tmp_path / "in.safetensors", slim_tensors(), convention)
    convert.convert(tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    before, after = (vgg_files.read(tmp_path / f"{name}.safetensors") for name in ("in", "out"))
    assert before[1] == after[1] == convention
    jax.tree.map(np.testing.assert_array_equal, before[0], after[0])


def test_safetensors_without_metadata_are_the_caffe_numbers_in_any_precision(tmp_path):
    tensors = {k: v.astype(np.float16) for k, v in slim_tensors().items()}
    save_file({k: np.ascontiguousarray(v) for k, v in bgr(tensors).items()}, tmp_path / "in.safetensors")
    convert.convert(tmp_path / "in.safetensors", tmp_path / "out.safetensors")
    assert_params(vgg_files.load(tmp_path / "out.safetensors"), tensors, **CAFFE)
    assert {v.dtype for v in load_file(tmp_path / "out.safetensors").values()} == {np.dtype(np.float32)}


def test_sample_weights_through_both_containers(tmp_path, sample_data):
    source = sample_data / WEIGHTS
    expected = jax.tree.map(np.asarray, vgg_files.load(source))
    write_keras(tmp_path / "vgg.h5", load_file(source))
    for path in (source, tmp_path / "vgg.h5"):
        convert.convert(path, tmp_path / "out.safetensors")
        jax.tree.map(np.testing.assert_array_equal, vgg_files.load(tmp_path / "out.safetensors"), expected)

    golden = np.load(sample_data / "weights/golden.npz")
    params = vgg_files.load(tmp_path / "out.safetensors")
    relu4_3 = vgg.features(params, jnp.asarray(golden["image"])[None], ("relu4_3",))["relu4_3"][0]
    np.testing.assert_allclose(relu4_3, golden["relu4_3"], rtol=1e-3, atol=1e-4 * golden["relu4_3"].max())


def keras_without_conv4_3(path):
    write_keras(path, slim_tensors())
    with h5py.File(path, "a") as file:
        del file["block4_conv3"]


def truncated_keras(path):
    write_keras(path, slim_tensors())
    path.write_bytes(path.read_bytes()[:-1000])


def damaged_keras(path):
    write_keras(path, slim_tensors())
    path.write_bytes(path.read_bytes().replace(b"TREE", b"tree"))


def truncated_safetensors(path):
    vgg_files.save(path, slim_tensors(), vgg.CAFFE)
    path.write_bytes(path.read_bytes()[:-1000])


def safetensors_with_broken_metadata(path):
    save_file(slim_tensors(), path, {"format_version": "1", "channels": "rgb", "std": "[1, 1, 1]"})


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda path: path.write_bytes(b"<html>404</html>"), "which is none of these; download it again"),
        (lambda path: path.write_bytes(b""), "which is none of these; download it again"),
        (truncated_keras, "not a readable HDF5 file .*truncated"),
        (damaged_keras, "not a readable HDF5 file"),
        (keras_without_conv4_3, r"`source`: .*conv4_3/kernel of shape \(3, 3, 12, C\).*use weights of VGG-16$"),
        (truncated_safetensors, "not a readable safetensors file"),
        (safetensors_with_broken_metadata, "`source`: expected three numbers as mean in the metadata"),
    ],
)
def test_bad_file_is_one_line_and_out_stays_as_it_was(tmp_path, write, message):
    source, out = tmp_path / "bad", tmp_path / "out.safetensors"
    write(source)
    out.write_bytes(b"before")
    with refused(message) as error:
        convert.convert(source, out)
    assert str(source) in str(error.value)
    assert out.read_bytes() == b"before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad", "out.safetensors"]


@pytest.mark.parametrize("name", ["absent.h5", "."])
def test_no_such_file(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="`source`: expected a file of VGG-16 weights"):
        convert.convert(tmp_path / name, tmp_path / "out.safetensors")


def test_out_is_checked_before_the_work(tmp_path):
    vgg_files.save(tmp_path / "in.safetensors", slim_tensors(), vgg.CAFFE)
    with pytest.raises(FileNotFoundError, match="`out`: no such folder"):
        convert.convert(tmp_path / "in.safetensors", tmp_path / "absent" / "out.safetensors")
    with pytest.raises(InputError, match=r"`out`: expected a name that ends in \.safetensors"):
        convert.convert(tmp_path / "in.safetensors", tmp_path / "out.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["in.safetensors"]


@pytest.mark.parametrize(
    "module, start, command",
    [
        ("h5py", b"\x89HDF\r\n\x1a\n", r'pip install "metastyle\[convert\]"'),
        ("torch", b"PK\x03\x04", "pip install torch"),
    ],
)
def test_missing_reader_says_how_to_install_it(tmp_path, monkeypatch, module, start, command):
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "weights").write_bytes(start + bytes(100))
    with pytest.raises(InputError, match=f"needs {module}.*{command}`"):
        convert.convert(tmp_path / "weights", tmp_path / "out.safetensors")
