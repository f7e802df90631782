"""Finds, reads, checks and writes loss networks on disk.

A loss network is a safetensors file with the keys `convB_I/kernel`, `convB_I/bias` and, if the kernel has a low rank,
`convB_I/mix`, in the channel order in which the weights were trained. Its metadata are `format_version`, `mean` and
`std` (per stored channel, for pictures in [0, 1]) and `channels` ("rgb" or "bgr").
"""

import json
import os
from pathlib import Path

import jax
import numpy as np

from metastyle.errors import InputError, shown
from metastyle.nets.vgg import CAFFE, LAYERS, Convention, Params, random_params
from metastyle.system.files import is_file, write
from metastyle.system.paths import ASSETS, cache_dir, sample_data
from metastyle.system.tensor_file import read as read_tensors
from metastyle.system.tensor_file import to_bytes

FORMAT_VERSION = 1
NAMES = ("slim", "half", "vgg16", "random")  # the first two come with the package; they were distilled from VGG-16
SLIM = ASSETS / "slim_vgg.safetensors"
HALF = ASSETS / "half_vgg.safetensors"
PACKAGED = "half"  # the best packaged one for the optimisation of pixels
VGG16_FILE_NAME = "vgg16.safetensors"
Shape = tuple[int, ...]

_SAMPLE_FILE = "weights/vgg16_imagenet_conv1-conv4.safetensors"


def load(weights: str | os.PathLike = "slim", name: str = "vgg") -> Params:
    """Loads the params tree of `weights`, one of NAMES or the path of a file.

    name: the argument that errors name. Raises FileNotFoundError if the weights are not there, InputError if the file
    is no loss network.
    """
    if weights == "random":
        return random_params()
    path = locate(weights, name)
    return from_tensors(*read(path, name), path, name)


def locate(weights: str | os.PathLike, name: str = "vgg") -> Path:
    """Finds the file of weights. Those of VGG-16 may be in METASTYLE_VGG16, the user's cache or the sample data."""
    if weights in ("slim", "half"):
        return SLIM if weights == "slim" else HALF
    if weights != "vgg16":
        return _existing(weights, name)
    if named := os.environ.get("METASTYLE_VGG16"):
        return _existing(named, "METASTYLE_VGG16")
    for folder, file in ((cache_dir(), VGG16_FILE_NAME), (sample_data(), _SAMPLE_FILE)):
        if folder and (folder / file).is_file():
            return folder / file
    raise FileNotFoundError("VGG-16 weights not found; type `metastyle fetch vgg16`, or set METASTYLE_VGG16 to a file")


def at_hand() -> str:
    """The best loss network for the optimisation of pixels that is on this machine: "vgg16", else the packaged one."""
    try:
        locate("vgg16")
    except FileNotFoundError:
        return PACKAGED
    return "vgg16"


def _existing(path: str | os.PathLike, name: str) -> Path:
    if not is_file(path, name):
        raise FileNotFoundError(f"`{name}`: expected {', '.join(NAMES)} or a safetensors file, got {str(path)!r}")
    return Path(path)


def resolve_recorded(weights: str) -> str:
    """Replaces weights that a run recorded by "vgg16" if they are a file that is gone."""
    return weights if weights in NAMES or Path(weights).is_file() else "vgg16"


def read(path: str | os.PathLike, name: str = "vgg") -> tuple[dict[str, np.ndarray], Convention]:
    """Reads the tensors of a safetensors file, as float32, and their input convention.

    A file without our metadata is assumed to hold the Caffe numbers. name: the argument that errors name. Raises
    InputError if the file or its metadata can't be read.
    """
    what = f"`{name}`: {shown(path)} is not a readable safetensors file"
    tensors, metadata = read_tensors(path, what, "fetch or convert the weights again")
    return tensors, _convention(metadata, path, name)


def _convention(metadata: dict[str, str], path: str | os.PathLike, name: str) -> Convention:
    if not metadata.keys() & {"format_version", "channels", "mean", "std"}:
        return CAFFE  # the file of the sample data has no metadata
    mean, std = (_three_numbers(metadata.get(key, "")) for key in ("mean", "std"))
    rules = (
        ("format_version", str(FORMAT_VERSION), metadata.get("format_version") == str(FORMAT_VERSION)),
        ("channels", "rgb or bgr", metadata.get("channels") in ("rgb", "bgr")),
        ("mean", "three numbers", mean),
        ("std", "three positive numbers", std and min(std) > 0),
    )
    for key, expected, holds in rules:
        if not holds:
            raise InputError(
                f"`{name}`: expected {expected} as {key} in the metadata of {shown(path)}, got {metadata.get(key)!r}; "
                "fetch or convert the weights again"
            )
    return Convention(metadata["channels"], mean, std)


def _three_numbers(text: str) -> tuple[float, ...]:
    try:
        values = np.asarray(json.loads(text), np.float64)
    except (ValueError, TypeError, OverflowError):
        return ()
    return tuple(values.tolist()) if values.shape == (3,) and np.isfinite(values).all() else ()


def from_tensors(
    tensors: dict[str, np.ndarray], convention: Convention, source: object = "tensors", name: str = "vgg"
) -> Params:
    """Makes a params tree from on-disk tensors and their input convention; checks names and shapes.

    In errors, `source` says where the tensors are from, and `name` is the argument that gave them.
    """
    check_tensors(tensors, source, name)
    flip = slice(None, None, -1) if convention.channels == "bgr" else slice(None)
    mean, std = (np.asarray(values, np.float32)[flip] for values in (convention.mean, convention.std))
    params = {"input": {"mean": mean, "std": std}}
    for key in keys(tensors):
        layer, part = key.split("/")
        params.setdefault(layer, {})[part] = np.asarray(tensors[key], np.float32)
    params[LAYERS[0]]["kernel"] = params[LAYERS[0]]["kernel"][:, :, flip]
    return jax.device_put(params)


def tensors(params: Params) -> dict[str, np.ndarray]:
    """Converts a params tree, without its `input`, to the tensors that `save` takes, in the tree's own dtypes."""
    return {f"{layer}/{part}": np.asarray(x) for layer in LAYERS for part, x in params[layer].items()}


def keys(tensors: dict[str, np.ndarray]) -> list[str]:
    """The keys of the network, in order; of the optional `mix` keys, those that are in `tensors`."""
    every = [f"{layer}/{part}" for layer in LAYERS for part in ("kernel", "mix", "bias")]
    return [key for key in every if key in tensors or not key.endswith("/mix")]


def check_tensors(tensors: dict[str, np.ndarray], source: object, name: str = "vgg") -> None:
    """Raises InputError unless `tensors` are the ten convolutions of a (possibly slim) VGG-16 up to conv4_3."""
    fan_in = 3
    for layer in LAYERS:
        parts = (tensors.get(f"{layer}/{part}") for part in ("kernel", "mix", "bias"))
        kernel, mix, bias = (None if x is None else x.shape for x in parts)
        width = _output_width(kernel, mix, bias, fan_in)
        if width is None:
            raise InputError(
                f"`{name}`: expected {layer}/kernel of shape (3, 3, {fan_in}, C), {layer}/mix, if any, of shape (C, D) "
                f"and {layer}/bias of shape (C,), or then (D,), got {kernel}, {mix} and {bias} in {shown(source)}; use "
                "weights of VGG-16"
            )
        fan_in = width


def _output_width(kernel: Shape | None, mix: Shape | None, bias: Shape | None, fan_in: int) -> int | None:
    """The output channels of a layer whose tensors have these shapes; None if they don't fit `fan_in` channels."""
    if kernel is None or len(kernel) != 4 or kernel[:3] != (3, 3, fan_in):
        return None
    if mix and (len(mix) != 2 or mix[0] != kernel[3]):
        return None
    width = mix[1] if mix else kernel[3]
    return width if bias == (width,) else None


def save(path: str | os.PathLike, tensors: dict[str, np.ndarray], convention: Convention, *, name: str = "out") -> None:
    """Writes a loss network, whole or not at all; errors name the argument `name`.

    convention: such as `vgg.CAFFE`. Raises InputError as `check_tensors`, or if the file can't be written.
    """
    check_tensors(tensors, path, name)
    metadata = {
        "mean": json.dumps(convention.mean),
        "std": json.dumps(convention.std),
        "channels": convention.channels,
        "format_version": str(FORMAT_VERSION),
    }
    write(path, to_bytes({key: tensors[key] for key in keys(tensors)}, metadata), name=name)
