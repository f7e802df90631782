"""Public VGG-16 weights in other containers, converted to the one on-disk form (see vgg.py)."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from metastyle.errors import InputError, reason
from metastyle.nets import vgg
from metastyle.system.files import check_output
from metastyle.system.optional import need
from metastyle.weights import vgg_files

READING = "reading these weights"  # what needs a package

_HDF5 = b"\x89HDF"
_TORCH = (b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF")  # zip since torch 1.6; before, a pickled magic number
# Positions of conv1_1 ... conv4_3 in torchvision's `features`, which counts ReLUs and poolings too.
_TORCHVISION_INDEXES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)


def convert(source: str | os.PathLike, out: str | os.PathLike) -> None:
    """Writes `out`, float32 safetensors in the on-disk form, from `source`, told apart by what it holds.

    source: a Keras `.h5` of VGG-16, a torchvision state dict `.pth`, or safetensors with keys `convB_I/kernel` and
    `convB_I/bias` (without metadata they are taken for the Caffe numbers).

    Raises FileNotFoundError when there is no `source` or no folder for `out`; InputError when `source` is none of these
    or not a VGG-16, or when the package that reads it is not installed.
    """
    if not Path(source).is_file():
        raise FileNotFoundError(f"`source`: expected a file of VGG-16 weights, got {source}, which is not a file")
    check_output(out, suffixes=(".safetensors",), name="out")
    with open(source, "rb") as file:
        start = file.read(9)
    if start.startswith(_HDF5):
        tensors, convention = read_keras(source), vgg.CAFFE
    elif start.startswith(_TORCH):
        tensors, convention = from_torchvision(read_torch(source)), vgg.TORCHVISION
    elif start.endswith(b"{"):  # safetensors: the header's length in eight bytes, then the header, JSON
        tensors, convention = vgg_files.read(source, "source")
    else:
        raise InputError(
            f"`source`: expected VGG-16 weights (Keras .h5, torchvision .pth or safetensors), got {source}, "
            "which is none of these; download it again"
        )
    vgg_files.check_tensors(tensors, source, "source")
    vgg_files.save(out, tensors, convention)


def read_keras(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The convolutions of a VGG-16 saved by Keras as HDF5, in our names; the Caffe numbers, HWIO.

    Keras' names changed over the years (`block1_conv1/block1_conv1_W_1:0`, `block1_conv1/block1_conv1/kernel:0`), so
    a dataset is known by the layer it lies under and its rank.
    """
    h5py = need("h5py", READING)
    tensors = {}

    def visit(name: str, item: object) -> None:
        layer = re.search(r"(?:^|/)block(\d_)conv(\d)/", name)
        if layer and isinstance(item, h5py.Dataset) and item.ndim in (1, 4):
            part = "kernel" if item.ndim == 4 else "bias"
            tensors[f"conv{layer[1]}{layer[2]}/{part}"] = np.asarray(item[()], np.float32)

    try:
        with h5py.File(path) as file:
            # A whole saved model keeps them here, beside an optimiser's moments of the same names and shapes.
            file.get("model_weights", file).visititems(visit)
    except Exception as error:  # a damaged file raises half a dozen kinds, none documented
        raise InputError(f"`source`: {path} is not a readable HDF5 file ({reason(error)}); download it again") from None
    if "conv3_4/kernel" in tensors:
        raise InputError(f"`source`: expected VGG-16, got {path}, which is VGG-19; download the weights of VGG-16")
    return tensors


def read_torch(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """A state dict saved by PyTorch, as numpy arrays. Nothing but tensors is unpickled."""
    torch = need("torch", READING)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {key: tensor.detach().float().numpy() for key, tensor in state.items()}
    except Exception:  # as above; its text is left out: it advises to load without `weights_only`
        raise InputError(
            f"`source`: expected a PyTorch state dict, only tensors, got {path}; download torchvision's vgg16 again"
        ) from None


def from_torchvision(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Our names and HWIO for torchvision's `features.N.weight`, OIHW, and `features.N.bias`; the rest is left out."""
    tensors = {}
    for layer, index in zip(vgg.LAYERS, _TORCHVISION_INDEXES, strict=True):
        kernel, bias = state.get(f"features.{index}.weight"), state.get(f"features.{index}.bias")
        if kernel is None or bias is None or np.ndim(kernel) != 4:
            raise InputError(
                f"`source`: expected torchvision's VGG-16 with features.{index}.weight, OIHW, and "
                f"features.{index}.bias, got keys {', '.join(list(state)[:4]) or 'none'}, ...; "
                "download torchvision's vgg16"
            )
        tensors[f"{layer}/kernel"], tensors[f"{layer}/bias"] = np.transpose(kernel, (2, 3, 1, 0)), bias
    return tensors
