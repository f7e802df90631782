"""Converts public VGG-16 weights in other containers to our on-disk form (vgg_files.py)."""

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from metastyle.errors import InputError, reason, shown
from metastyle.nets import vgg
from metastyle.system.files import check_output, is_file, open_input
from metastyle.system.optional import need
from metastyle.weights import vgg_files

READING = "reading these weights"  # the subject of errors about a missing package

_HDF5 = b"\x89HDF"
_TORCH = (b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF")  # zip since torch 1.6; before, a pickled magic number
# Positions of conv1_1 ... conv4_3 in torchvision's `features`, which counts ReLUs and poolings as well.
_TORCHVISION_INDEXES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)


def convert(source: str | os.PathLike, out: str | os.PathLike) -> None:
    """Converts the weights in `source` to `out`, float32 safetensors in our on-disk form.

    Args:
      source: a Keras `.h5` of VGG-16, a torchvision state dict `.pth`, or safetensors with the keys `convB_I/kernel`
        and `convB_I/bias` (without metadata they are assumed to be the Caffe numbers). The contents of the file, not
        its suffix, say which.

    Raises:
      FileNotFoundError: `source`, or the folder of `out`, does not exist.
      InputError: `source` is none of these or no VGG-16, or the package that reads it is not installed.
    """
    if not is_file(source, "source"):
        raise FileNotFoundError(
            f"`source`: expected a file of VGG-16 weights, got {shown(source)}, which is not a file"
        )
    check_output(out, suffixes=(".safetensors",), name="out")
    with open_input(source, "source") as file:
        start = file.read(9)
    if start.startswith(_HDF5):
        tensors, convention = read_keras(source), vgg.CAFFE
    elif start.startswith(_TORCH):
        tensors, convention = from_torchvision(read_torch(source)), vgg.TORCHVISION
    elif start.endswith(b"{"):  # safetensors: the header's length in eight bytes, then the header, JSON
        tensors, convention = vgg_files.read(source, "source")
    else:
        raise InputError(
            f"`source`: expected VGG-16 weights (Keras .h5, torchvision .pth or safetensors), got {shown(source)}, "
            "which is none of these; download it again"
        )
    vgg_files.check_tensors(tensors, source, "source")
    vgg_files.save(out, tensors, convention)


def read_keras(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the convolutions of a VGG-16 that Keras saved as HDF5: the Caffe numbers, HWIO, under our names.

    Keras' names changed over the years (`block1_conv1/block1_conv1_W_1:0`, `block1_conv1/block1_conv1/kernel:0`), so a
    dataset is recognised by the layer that it belongs to and its rank.
    """
    h5py = need("h5py", READING)
    tensors = {}

    def visit(name: str, item: Any) -> None:
        layer = re.search(r"(?:^|/)block(\d_)conv(\d)/", name)
        if layer and isinstance(item, h5py.Dataset) and item.ndim in (1, 4):
            part = "kernel" if item.ndim == 4 else "bias"
            tensors[f"conv{layer[1]}{layer[2]}/{part}"] = np.asarray(item[()], np.float32)

    try:
        with h5py.File(path) as file:
            # A whole saved model keeps its weights in this group; the moments of an optimiser, elsewhere in the file,
            # have the same names and shapes.
            file.get("model_weights", file).visititems(visit)
    except Exception as error:  # a damaged file raises half a dozen kinds of errors, none of them documented
        raise InputError(
            f"`source`: {shown(path)} is not a readable HDF5 file ({reason(error)}); download it again"
        ) from None
    if "conv3_4/kernel" in tensors:
        raise InputError(
            f"`source`: expected VGG-16, got {shown(path)}, which is VGG-19; download the weights of VGG-16"
        )
    return tensors


def read_torch(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads a state dict saved by PyTorch, as numpy arrays; unpickles nothing but tensors."""
    torch = need("torch", READING)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {key: tensor.detach().float().numpy() for key, tensor in state.items()}
    except Exception:  # of many kinds; PyTorch's text is left out, as it advises to load without `weights_only`
        raise InputError(
            f"`source`: expected a PyTorch state dict, only tensors, got {shown(path)}; "
            "download torchvision's vgg16 again"
        ) from None


def from_torchvision(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames torchvision's `features.N.weight` (OIHW, made HWIO) and `features.N.bias`; drops all other tensors."""
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
