"""Weights of LPIPS and of ArtFID's Inception on disk: reading, checking, and conversion of the public PyTorch files.

Both kinds of files are safetensors with the keys of the params dict of nets/metric_nets.py, kernels HWIO, batch norm
folded in, and the metadata `format_version`, `kind` ("lpips" or "art_inception") and `source`. Any width per layer is
allowed.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from metastyle.errors import InputError, shown
from metastyle.nets.metric_nets import ALEXNET, INCEPTION_BLOCKS, Params, parse_convolution
from metastyle.system.files import check_output, is_file, write
from metastyle.system.optional import need
from metastyle.system.tensor_file import read, to_bytes
from metastyle.weights.convert import READING, read_torch

FORMAT_VERSION = 1
LPIPS, INCEPTION = "lpips", "art_inception"  # kinds of files
_ALEXNET_INDEXES = (0, 3, 6, 8, 10)  # of the five convolutions in torchvision's `features`
_BATCH_NORM_EPS = 1e-3  # of torchvision's Inception v3
_CONVERT = "convert the weights with experiments.convert_metrics"
_DOWNLOAD = (
    "give torchvision's alexnet-owt-7be5be79.pth and the lpips package's weights/v0.1/alex.pth, "
    "or ArtFID's art_inception.pth"
)


def load_lpips(path: str | os.PathLike) -> Params:
    """The params of `metric_nets.lpips`. Raises FileNotFoundError, or InputError for a file of another kind."""
    return _load(path, LPIPS, "lpips")


def load_inception(path: str | os.PathLike) -> Params:
    """The params of `metric_nets.inception`. Raises the same errors as `load_lpips`."""
    return _load(path, INCEPTION, "inception")


def _load(path: str | os.PathLike, kind: str, name: str) -> Params:
    if not is_file(path, name):
        raise FileNotFoundError(
            f"`{name}`: expected a safetensors file, got {shown(path)}, which is not a file; {_CONVERT}"
        )
    tensors, metadata = read(path, f"`{name}`: {shown(path)} is not a readable safetensors file", _CONVERT)
    for key, expected in (("kind", kind), ("format_version", str(FORMAT_VERSION))):
        if metadata.get(key) != expected:
            raise InputError(
                f"`{name}`: expected {expected} as {key} in the metadata of {shown(path)}, got {metadata.get(key)!r}; "
                + _CONVERT
            )
    return jax.device_put({key: tensors[key] for key in _names(tensors, kind, name, path)})


def _names(
    tensors: Mapping[str, np.ndarray], kind: str, name: str, source: object, remedy: str = _CONVERT
) -> list[str]:
    """The names of the params of `kind`. Raises InputError unless all are present, in shapes that fit each other.

    Error messages name the argument `name`, the `source` of the tensors and what to do, `remedy`.
    """
    names: list[str] = []

    def check(key: str, *shape: int | None) -> int:
        got = _shape_of(tensors, key)
        if not _fits(got, shape):
            raise InputError(
                f"`{name}`: expected {key} of shape {_text(shape)}, got {_text(got)} in {shown(source)}; {remedy}"
            )
        names.append(key)
        return got[-1]

    def convolution(layer: str, height: int, width: int, channels: int) -> int:
        return check(f"{layer}/bias", check(f"{layer}/kernel", height, width, channels, None))

    channels = 3
    if kind == LPIPS:
        for i, (layer, size) in enumerate(ALEXNET.items(), 1):
            channels = convolution(layer, size, size, channels)
            check(f"linear{i}", channels)
        return names
    for prefix, branches in INCEPTION_BLOCKS.items():
        widths = []
        for branch in branches:
            width = channels
            for layer, size, _ in map(parse_convolution, _convolutions(branch)):
                width = convolution(prefix + layer, *size, width)
            widths.append(width)
        channels = sum(widths)
    return names


def _convolutions(branch: str) -> list[str]:
    return [step for step in branch.split() if ":" in step]


def _shape_of(tensors: Mapping[str, np.ndarray], key: str) -> tuple[int, ...]:
    """The shape of a tensor; () where it is missing."""
    return np.shape(tensors[key]) if key in tensors else ()


def _fits(shape: tuple, expected: tuple) -> bool:
    """Whether a shape is the expected one, in which None stands for any number."""
    return len(shape) == len(expected) and all(e in (None, s) for s, e in zip(shape, expected, strict=True))


def _text(shape: tuple) -> str:
    return str(shape).replace("None", "C") if shape else "none"


def convert(sources: Sequence[str | os.PathLike], out: str | os.PathLike) -> None:
    """Writes `out`, the weights of one network in the on-disk form, from public PyTorch files.

    sources: torchvision's AlexNet (alexnet-owt-7be5be79.pth) and the linear weights of the lpips package
    (weights/v0.1/alex.pth), or ArtFID's art_inception.pth. Their tensors tell which network it is.

    Raises FileNotFoundError for a source or a folder of `out` that doesn't exist, and InputError for other files or
    where torch, which reads them, is not installed.
    """
    for source in sources:
        if not is_file(source, "source"):
            raise FileNotFoundError(f"`source`: expected a PyTorch file, got {shown(source)}, which is not a file")
    check_output(out, suffixes=(".safetensors",), name="out")
    state = {}
    for source in sources:
        state |= _read(source)
    kind = INCEPTION if any(key.startswith("Mixed_") for key in state) else LPIPS
    tensors = from_inception(state) if kind == INCEPTION else from_alexnet(state)
    names = _names(tensors, kind, "source", " and ".join(map(str, sources)), _DOWNLOAD)
    digests = (hashlib.sha256(Path(source).read_bytes()).hexdigest() for source in sources)
    origin = [f"{Path(source).name} (sha256 {digest[:8]})" for source, digest in zip(sources, digests, strict=True)]
    metadata = {"format_version": str(FORMAT_VERSION), "kind": kind, "source": ", ".join(origin)}
    write(out, to_bytes({name: np.asarray(tensors[name], np.float32) for name in names}, metadata))


def _read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    need("torch", READING)
    try:
        return read_torch(path)
    except InputError:
        raise InputError(
            f"`source`: expected a PyTorch state dict, only tensors, got {shown(path)}; {_DOWNLOAD}"
        ) from None


def from_alexnet(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The params of `lpips`, from torchvision's `features.N.weight`, OIHW, and `.bias`, and `linN.model.1.weight`."""
    tensors = {}
    for i, (layer, index) in enumerate(zip(ALEXNET, _ALEXNET_INDEXES, strict=True)):
        kernel = _get(state, f"features.{index}.weight", (None, None, None, None))
        tensors[f"{layer}/kernel"] = np.transpose(kernel, (2, 3, 1, 0))
        tensors[f"{layer}/bias"] = _get(state, f"features.{index}.bias", (len(kernel),))
        tensors[f"linear{i + 1}"] = _get(state, f"lin{i}.model.1.weight", (1, len(kernel), 1, 1)).reshape(-1)
    return tensors


def from_inception(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The params of `inception`, from torchvision's `X.conv.weight`, OIHW, and `X.bn`, which is folded in."""
    tensors = {}
    steps = (
        (prefix, step) for prefix, branches in INCEPTION_BLOCKS.items() for b in branches for step in _convolutions(b)
    )
    for prefix, step in steps:
        layer = prefix + parse_convolution(step)[0]
        key = layer.replace("/", ".")
        kernel = _get(state, f"{key}.conv.weight", (None, None, None, None)).astype(np.float64)
        scale, bias, mean, variance = (
            _get(state, f"{key}.bn.{part}", (len(kernel),)).astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = scale / np.sqrt(variance + _BATCH_NORM_EPS)
        tensors[f"{layer}/kernel"] = np.transpose(kernel, (2, 3, 1, 0)) * scale
        tensors[f"{layer}/bias"] = bias - mean * scale
    return tensors


def _get(state: Mapping[str, np.ndarray], key: str, expected: tuple) -> np.ndarray:
    got = _shape_of(state, key)
    if not _fits(got, expected):
        raise InputError(f"`source`: expected {key} of shape {_text(expected)}, got {_text(got)}; {_DOWNLOAD}")
    return state[key]
