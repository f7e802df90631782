"""VGG-16 features (Simonyan and Zisserman 2014) as a pure function of a params tree.

A params tree is `{"input": {"mean", "std"}, "conv1_1": {"kernel", "bias"}, ..., "conv4_3": {...}}`: pictures enter as
RGB in [0, 1] and the network's own normalisation, `(x - mean) / std`, lives in `input`. Kernels are HWIO, and any
width per layer is allowed, and so is a kernel of low rank, which a 1x1 kernel `mix` [rank, C] follows: a slim network
of the same shape is a params tree like any other.

On disk there is one form: safetensors with keys `convB_I/kernel`, `convB_I/bias` and, where there is one, `convB_I/mix`
in the channel order in which the weights were trained, and the metadata `format_version`, `mean` and `std` (per stored
channel, for pictures in [0, 1]) and `channels` ("rgb" or "bgr").
"""

import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jax import lax

from metastyle.errors import InputError
from metastyle.system.files import write
from metastyle.system.paths import ASSETS, cache_dir, sample_data
from metastyle.system.tensor_file import read as read_tensors

Params = dict[str, dict[str, jax.Array]]

TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
LAYERS = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv4_1", "conv4_2", "conv4_3")
POOLED = ("conv2_1", "conv3_1", "conv4_1")  # what these see is pooled first
FORMAT_VERSION = 1
CAFFE = {"channels": "bgr", "mean": [103.939 / 255, 116.779 / 255, 123.68 / 255], "std": [1 / 255] * 3}
TORCHVISION = {"channels": "rgb", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
NAMES = ("slim", "vgg16", "random")  # slim: ours, in the package, distilled from VGG-16 (distill.py)
SLIM = ASSETS / "slim_vgg.safetensors"
FILE_NAME = "vgg16.safetensors"
_SAMPLE_FILE = "weights/vgg16_imagenet_conv1-conv4.safetensors"
_SLIM_WIDTHS = (8, 8, 16, 16, 32, 32, 32, 64, 64, 64)
_FULL_RANK = (0,) * len(LAYERS)


def features(
    params: Params, images: jax.Array, taps: tuple[str, ...] = TAPS, dtype=jnp.float32
) -> dict[str, jax.Array]:
    """Activations after the named ReLUs.

    images: f32[N, H, W, 3] in [0, 1], sides of at least 8 px. Returns f32[N, H / 2^(b-1), W / 2^(b-1), C] for each
    `relub_i` in `taps`. Convolutions compute in `dtype`; what is returned is float32 or wider. Raises InputError for
    unknown taps.
    """
    relus = [f"relu{layer[4:]}" for layer in LAYERS]
    if not taps or len(set(taps)) < len(taps) or not set(taps) <= set(relus):
        raise InputError(f"`taps`: expected some of {', '.join(relus)}, each once, got {', '.join(taps) or 'none'}")
    x = ((images - params["input"]["mean"]) / params["input"]["std"]).astype(dtype)
    out = {}
    for layer, tap in zip(LAYERS, relus, strict=True):
        if layer in POOLED:
            x = max_pool(x)
        x = jax.nn.relu(response(params[layer], x, dtype))
        if tap in taps:
            out[tap] = x.astype(jnp.promote_types(dtype, jnp.float32))
        if len(out) == len(taps):
            break
    return out


def response(layer: dict[str, jax.Array], x: jax.Array, dtype=jnp.float32) -> jax.Array:
    """What one convolution makes of [N, H, W, C], before its ReLU."""
    weights = {part: w.astype(dtype) for part, w in layer.items()}
    x = lax.conv_general_dilated(x, weights["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return (x @ weights["mix"] if "mix" in weights else x) + weights["bias"]


def max_pool(x: jax.Array) -> jax.Array:
    """2x2, stride 2, as the maximum of four slices: its gradient avoids XLA:CPU's slow select-and-scatter."""
    x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def random_params(seed: int = 0, widths: tuple[int, ...] = _SLIM_WIDTHS, ranks: tuple[int, ...] = _FULL_RANK) -> Params:
    """He-initialised weights with torchvision's normalisation: random features, for tests and dry runs.

    ranks: of the kernels; 0 is full.
    """
    rng = np.random.default_rng(seed)
    params = {"input": {k: jnp.asarray(TORCHVISION[k], jnp.float32) for k in ("mean", "std")}}
    for layer, fan_in, width, rank in zip(LAYERS, (3, *widths[:-1]), widths, ranks, strict=True):
        draw = lambda *shape: jnp.asarray(rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1])), jnp.float32)
        params[layer] = {"kernel": draw(3, 3, fan_in, rank or width), "bias": jnp.zeros(width, jnp.float32)}
        if rank:
            params[layer]["mix"] = draw(rank, width)
    return params


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
    """Writes the on-disk form, as `images.write` does. `convention`: `CAFFE`, `TORCHVISION` or a dict like them."""
    check_tensors(tensors, path)
    metadata = {k: json.dumps(convention[k]) for k in ("mean", "std")}
    metadata |= {"channels": convention["channels"], "format_version": str(FORMAT_VERSION)}
    contents = safetensors.numpy.save({key: np.ascontiguousarray(tensors[key]) for key in keys(tensors)}, metadata)
    write(path, contents, name=name)  # save_file would leave it readable to nobody else
