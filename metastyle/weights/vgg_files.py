"""Loss networks on disk: where they are found, how they are read, checked and written.

The one form is safetensors with keys `convB_I/kernel`, `convB_I/bias` and, where there is one, `convB_I/mix` in the
channel order in which the weights were trained, and the metadata `format_version`, `mean` and `std` (per stored
channel, for pictures in [0, 1]) and `channels` ("rgb" or "bgr").
"""

import json
import os
from pathlib import Path

import jax
import numpy as np
import safetensors.numpy

from metastyle.errors import InputError
from metastyle.nets.vgg import CAFFE, LAYERS, Params, random_params
from metastyle.system.files import write
from metastyle.system.paths import ASSETS, cache_dir, sample_data
from metastyle.system.tensor_file import read as read_tensors

FORMAT_VERSION = 1
NAMES = ("slim", "vgg16", "random")  # slim: ours, in the package, distilled from VGG-16 (distill.py)
SLIM = ASSETS / "slim_vgg.safetensors"
FILE_NAME = "vgg16.safetensors"
_SAMPLE_FILE = "weights/vgg16_imagenet_conv1-conv4.safetensors"


def load(weights: str | os.PathLike = "slim", name: str = "vgg") -> Params:
    """The params tree of `weights`: one of NAMES, or the path of a file. `name` is the argument that errors name.

    Raises FileNotFoundError when they are not there, InputError when the file is not one of ours.
    """
    if weights == "random":
        return random_params()
    path = locate(weights, name)
    return from_tensors(*read(path, name), path, name)


def locate(weights: str | os.PathLike, name: str = "vgg") -> Path:
    """Where weights are. VGG-16's are looked for in METASTYLE_VGG16, the user's cache, and the sample data."""
    if weights == "slim":
        return SLIM
    if weights != "vgg16":
        return _existing(weights, name)
    if named := os.environ.get("METASTYLE_VGG16"):
        return _existing(named, "METASTYLE_VGG16")
    sample = sample_data()
    for path in [cache_dir() / FILE_NAME, *([sample / _SAMPLE_FILE] if sample else [])]:
        if path.is_file():
            return path
    raise FileNotFoundError("VGG-16 weights not found; type `metastyle fetch vgg16`, or set METASTYLE_VGG16 to a file")


def _existing(path: str | os.PathLike, name: str) -> Path:
    if not Path(path).is_file():
        raise FileNotFoundError(f"`{name}`: expected {', '.join(NAMES)} or a safetensors file, got {str(path)!r}")
    return Path(path)


def recorded(weights: str) -> str:
    """What `load` is to be given for the weights that a run recorded: for a file that is gone, VGG-16."""
    return weights if weights in NAMES or Path(weights).is_file() else "vgg16"


def read(path: str | os.PathLike, name: str = "vgg") -> tuple[dict[str, np.ndarray], dict]:
    """The tensors of a safetensors file, in float32, and their input convention, a dict like `CAFFE`.

    A file without our metadata is taken for the Caffe numbers. `name` is the argument that errors name. Raises
    InputError when the file or its metadata can't be read.
    """
    what = f"`{name}`: {path} is not a readable safetensors file"
    tensors, metadata = read_tensors(path, what, "fetch or convert the weights again")
    return tensors, _convention(metadata, path, name)


def _convention(metadata: dict[str, str], path: str | os.PathLike, name: str) -> dict:
    if not metadata.keys() & {"format_version", "channels", "mean", "std"}:
        return CAFFE  # as the sample data's file, which has no metadata
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
                f"`{name}`: expected {expected} as {key} in the metadata of {path}, got {metadata.get(key)!r}; "
                "fetch or convert the weights again"
            )
    return {"channels": metadata["channels"], "mean": mean, "std": std}


def _three_numbers(text: str) -> list[float] | None:
    try:
        values = np.asarray(json.loads(text), np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    return values.tolist() if values.shape == (3,) and np.isfinite(values).all() else None


def from_tensors(
    tensors: dict[str, np.ndarray], convention: dict, source: object = "tensors", name: str = "vgg"
) -> Params:
    """A params tree from on-disk tensors and their input convention; checks names and shapes.

    In errors, `source` says where the tensors are from, `name` by which argument.
    """
    check_tensors(tensors, source, name)
    flip = slice(None, None, -1) if convention["channels"] == "bgr" else slice(None)
    params = {"input": {k: np.float32(convention[k])[flip] for k in ("mean", "std")}}
    for key in keys(tensors):
        layer, part = key.split("/")
        params.setdefault(layer, {})[part] = np.float32(tensors[key])
    params[LAYERS[0]]["kernel"] = params[LAYERS[0]]["kernel"][:, :, flip]
    return jax.device_put(params)


def tensors(params: Params) -> dict[str, np.ndarray]:
    """What `save` takes of a params tree, but for its input, in the tree's own dtypes."""
    return {f"{layer}/{part}": np.asarray(x) for layer in LAYERS for part, x in params[layer].items()}


def keys(tensors: dict[str, np.ndarray]) -> list[str]:
    """Of these tensors those of the network, in order."""
    every = [f"{layer}/{part}" for layer in LAYERS for part in ("kernel", "mix", "bias")]
    return [key for key in every if key in tensors or not key.endswith("/mix")]


def check_tensors(tensors: dict[str, np.ndarray], source: object, name: str = "vgg") -> None:
    """Raises InputError unless `tensors` are the ten convolutions of a (possibly slim) VGG-16 up to conv4_3."""
    fan_in = 3
    for layer in LAYERS:
        parts = (tensors.get(f"{layer}/{part}") for part in ("kernel", "mix", "bias"))
        kernel, mix, bias = (getattr(x, "shape", None) for x in parts)
        width = mix[1:] if mix else kernel and kernel[3:]
        if (
            kernel is None or len(kernel) != 4 or kernel[:3] != (3, 3, fan_in) or bias != width
            or (mix and (len(mix) != 2 or mix[0] != kernel[3]))
        ):  # fmt: skip
            raise InputError(
                f"`{name}`: expected {layer}/kernel of shape (3, 3, {fan_in}, C), {layer}/mix, if any, of shape (C, D) "
                f"and {layer}/bias of shape (C,), or then (D,), got {kernel}, {mix} and {bias} in {source}; use "
                "weights of VGG-16"
            )
        fan_in = bias[0]


def save(path: str | os.PathLike, tensors: dict[str, np.ndarray], convention: dict, *, name: str = "out") -> None:
    """Writes the on-disk form, as `files.write` does. `convention`: `CAFFE`, `TORCHVISION` or a dict like them."""
    check_tensors(tensors, path)
    metadata = {k: json.dumps(convention[k]) for k in ("mean", "std")}
    metadata |= {"channels": convention["channels"], "format_version": str(FORMAT_VERSION)}
    contents = safetensors.numpy.save({key: np.ascontiguousarray(tensors[key]) for key in keys(tensors)}, metadata)
    write(path, contents, name=name)  # save_file would leave it readable to nobody else
