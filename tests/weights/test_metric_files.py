"""Files of metric networks: what is read, refused and converted."""

import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from metastyle.errors import InputError
from metastyle.weights import metric_files
from tests.support.errors import refused
from tests.support.metric_nets import drawn, drawn_alexnet, drawn_inception, save

LOADERS = {metric_files.LPIPS: metric_files.load_lpips, metric_files.INCEPTION: metric_files.load_inception}


@pytest.fixture(params=LOADERS)
def kind(request):
    return request.param


@pytest.fixture
def params(kind):
    return {name: np.float32(x) for name, x in drawn(kind)[1].items()}


def test_load(tmp_path, kind, params):
    save(tmp_path / "x.safetensors", params | {"more": np.zeros(2)}, kind)
    loaded = LOADERS[kind](tmp_path / "x.safetensors")
    assert loaded.keys() == params.keys()
    for key, x in loaded.items():
        np.testing.assert_array_equal(x, params[key])


@pytest.mark.parametrize(
    "metadata, message",
    [({"kind": "vgg"}, "expected {} as kind .*got 'vgg'"), ({"format_version": "2"}, "expected 1 as format_version")],
)
def test_bad_metadata_is_one_line(tmp_path, kind, params, metadata, message):
    save(tmp_path / "x.safetensors", params, kind, metadata)
    check_refusal(kind, tmp_path / "x.safetensors", message.format(kind))


def test_a_missing_or_misshapen_tensor_is_one_line(tmp_path, kind, params):
    path = tmp_path / "x.safetensors"
    for key in list(params)[:: len(params) // 8]:
        save(path, {k: v for k, v in params.items() if k != key}, kind)
        check_refusal(kind, path, rf"expected {key} of shape \(.*\), got none in")
        save(path, params | {key: params[key][..., None]}, kind)
        check_refusal(kind, path, rf"expected {key} of shape \(.*\), got \(.*\) in")
    first = next(iter(params))
    save(path, params | {first: params[first][..., :-1]}, kind)  # fits the picture, but not what follows
    check_refusal(kind, path, r"expected .*/bias of shape \(\d,\), got \(\d,\)")


def test_an_unreadable_or_absent_file_is_one_line(tmp_path, kind):
    path = tmp_path / "x.safetensors"
    path.write_bytes(bytes(100))
    check_refusal(kind, path, "is not a readable safetensors file")
    with pytest.raises(FileNotFoundError, match=f"`{argument(kind)}`: expected a safetensors file, got .*absent"):
        LOADERS[kind](tmp_path / "absent")


def argument(kind):
    return kind.removeprefix("art_")


def check_refusal(kind, path, message):
    with refused(f"^`{argument(kind)}`: .*{message}") as error:
        LOADERS[kind](path)
    assert str(path) in str(error.value)
    assert "experiments.convert_metrics" in str(error.value)


def test_a_state_dict_that_lacks_something():
    def lacking(state, key):
        return {k: v for k, v in state.items() if k != key}

    alex, art = drawn_alexnet()[0].state, drawn_inception()[0].state
    with pytest.raises(
        InputError, match=r"`source`: expected features\.6\.weight of shape \(C, C, C, C\), got none; give"
    ):
        metric_files.from_alexnet(lacking(alex, "features.6.weight"))
    with pytest.raises(
        InputError, match=r"expected lin0\.model\.1\.weight of shape \(1, 5, 1, 1\), got none; .*alex\.pth"
    ):
        metric_files.from_alexnet(lacking(alex, "lin0.model.1.weight"))
    with pytest.raises(InputError, match=r"expected Mixed_7c\.branch_pool\.bn\.running_var of shape \(\d,\), got none"):
        metric_files.from_inception(lacking(art, "Mixed_7c.branch_pool.bn.running_var"))
    with pytest.raises(InputError, match=r"Conv2d_1a_3x3\.bn\.bias of shape \(\d,\), got \(1,\)"):
        metric_files.from_inception(art | {"Conv2d_1a_3x3.bn.bias": np.zeros(1)})


def test_convert(tmp_path, kind, params):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    state = drawn(kind)[0].state
    unused = {"fc1.weight": np.zeros((3, 2)), "Conv2d_1a_3x3.bn.num_batches_tracked": np.array(7)}
    parts = (
        [state | unused]
        if kind == metric_files.INCEPTION
        else [{k: v for k, v in state.items() if k.startswith(start)} for start in ("features", "lin")]
    )
    paths = [tmp_path / f"{i}.pth" for i in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        torch.save({k: torch.from_numpy(np.array(v)) for k, v in part.items()}, path)
    out = tmp_path / "out.safetensors"
    metric_files.convert(paths, out)
    assert load_file(out).keys() == params.keys()
    for key, x in LOADERS[kind](out).items():
        np.testing.assert_array_equal(x, params[key])
    with safe_open(out, "numpy") as file:
        metadata = file.metadata()
    assert metadata["kind"] == kind and metadata["format_version"] == "1"
    assert all(path.name in metadata["source"] for path in paths)
    assert len(list(tmp_path.iterdir())) == len(paths) + 1


def test_convert_of_half_the_files(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    path, out = tmp_path / "alexnet.pth", tmp_path / "out.safetensors"
    backbone = {k: torch.from_numpy(v) for k, v in drawn_alexnet()[0].state.items() if k.startswith("features")}
    torch.save(backbone, path)
    out.write_bytes(b"before")
    with pytest.raises(InputError, match=r"`source`: expected lin0\.model\.1\.weight"):
        metric_files.convert([path], out)
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="`source`: expected a PyTorch state dict, .*alexnet.pth; give torchvision's"):
        metric_files.convert([path], out)
    assert out.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 2


def test_convert_checks_first(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(FileNotFoundError, match="`source`: expected a PyTorch file, got .*absent"):
        metric_files.convert([path, tmp_path / "absent"], tmp_path / "out.safetensors")
    with pytest.raises(FileNotFoundError, match="`out`: no such folder"):
        metric_files.convert([path], tmp_path / "absent" / "out.safetensors")
    with pytest.raises(InputError, match=r"`out`: expected a name that ends in \.safetensors"):
        metric_files.convert([path], tmp_path / "out.npz")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match="needs torch, which is not installed; type `pip install torch`"):
        metric_files.convert([path], tmp_path / "out.safetensors")
