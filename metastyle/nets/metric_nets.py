"""LPIPS (Zhang et al. 2018), FID (Heusel et al. 2017), and ArtFID (Wright and Ommer 2022), which is made of both.

Both networks are pure functions of flat params dicts such as `{"conv1/kernel": f32[11, 11, 3, 64], ...}`: AlexNet as
trained on ImageNet with the linear weights of LPIPS 0.1, and Inception v3 as trained on art for ArtFID. None of these
weights come with the package: `convert` makes them of the public PyTorch files.

On disk there is one form: safetensors with the keys of the params dict, kernels HWIO, batch norm folded in, and the
metadata `format_version`, `kind` ("lpips" or "art_inception") and `source`. Any width per layer is allowed.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jax import lax

from metastyle.errors import InputError
from metastyle.system.files import check_output, write
from metastyle.system.optional import need
from metastyle.system.tensor_file import read
from metastyle.weights.convert import READING, read_torch

Params = dict[str, jax.Array]

FORMAT_VERSION = 1
LPIPS, INCEPTION = "lpips", "art_inception"  # kinds of files
MIN_SIDE = 75  # px, of what the Inception takes

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pictures in [-1, 1]; the authors' digits
_ALEXNET = {"conv1": 11, "conv2": 5, "conv3": 3, "conv4": 3, "conv5": 3}  # kernel sizes
_ALEXNET_INDEXES = (0, 3, 6, 8, 10)  # of these convolutions in torchvision's `features`

# Blocks of Inception v3 (Szegedy et al. 2016) in torchvision's names. The outputs of a block's branches are
# concatenated; a branch is a sequence of poolings and convolutions. `name:1x7` keeps the size; `name:3x3/2` has
# stride 2 and no padding. Branches that begin with the same convolution share it.
_STEM = ("Conv2d_1a_3x3:3x3/2 Conv2d_2a_3x3:3x3/1 Conv2d_2b_3x3:3x3 max Conv2d_3b_1x1:1x1 Conv2d_4a_3x3:3x3/1 max",)
_A = (
    "branch1x1:1x1",
    "branch5x5_1:1x1 branch5x5_2:5x5",
    "branch3x3dbl_1:1x1 branch3x3dbl_2:3x3 branch3x3dbl_3:3x3",
    "mean branch_pool:1x1",
)
_B = ("branch3x3:3x3/2", "branch3x3dbl_1:1x1 branch3x3dbl_2:3x3 branch3x3dbl_3:3x3/2", "max")
_C = (
    "branch1x1:1x1",
    "branch7x7_1:1x1 branch7x7_2:1x7 branch7x7_3:7x1",
    "branch7x7dbl_1:1x1 branch7x7dbl_2:7x1 branch7x7dbl_3:1x7 branch7x7dbl_4:7x1 branch7x7dbl_5:1x7",
    "mean branch_pool:1x1",
)
_D = (
    "branch3x3_1:1x1 branch3x3_2:3x3/2",
    "branch7x7x3_1:1x1 branch7x7x3_2:1x7 branch7x7x3_3:7x1 branch7x7x3_4:3x3/2",
    "max",
)
_E = (
    "branch1x1:1x1",
    "branch3x3_1:1x1 branch3x3_2a:1x3",
    "branch3x3_1:1x1 branch3x3_2b:3x1",
    "branch3x3dbl_1:1x1 branch3x3dbl_2:3x3 branch3x3dbl_3a:1x3",
    "branch3x3dbl_1:1x1 branch3x3dbl_2:3x3 branch3x3dbl_3b:3x1",
    "mean branch_pool:1x1",
)
_BLOCKS = {
    "": _STEM,
    **{f"Mixed_5{letter}/": _A for letter in "bcd"},
    "Mixed_6a/": _B,
    **{f"Mixed_6{letter}/": _C for letter in "bcde"},
    "Mixed_7a/": _D,
    **{f"Mixed_7{letter}/": _E for letter in "bc"},
}
_BATCH_NORM_EPS = 1e-3  # of torchvision's Inception v3

_CONVERT = "convert the weights with experiments.convert_metrics"
_DOWNLOAD = (
    "give torchvision's alexnet-owt-7be5be79.pth and the lpips package's weights/v0.1/alex.pth, "
    "or ArtFID's art_inception.pth"
)


@jax.jit
def lpips(params: Params, a: jax.Array, b: jax.Array) -> jax.Array:
    """Learned perceptual distance, 0 for equal pictures: two f32[N, H, W, 3] in [0, 1] -> f32[N], mostly below 1.

    The squared difference of AlexNet's features after each of its five ReLUs, scaled to unit length at every position,
    weighted per channel, averaged over positions and summed over layers: `lpips.LPIPS(net="alex", version="0.1")` of
    the authors' package, which ArtFID uses. `params`: as from `load_lpips`. Raises InputError for pictures of
    different sizes, or sides under 31 px.
    """
    if a.shape != b.shape:
        raise InputError(f"`b`: expected the shape of `a`, {a.shape}, got {b.shape}; resize")
    _check_sides(a, 31, "a")
    layers = enumerate(zip(_alexnet(params, a), _alexnet(params, b), strict=True), 1)
    return sum((jnp.square(x - y) * params[f"linear{i}"]).sum(-1).mean((1, 2)) for i, (x, y) in layers)


def _alexnet(params: Params, images: jax.Array) -> Iterator[jax.Array]:
    """Features after each ReLU, of unit length at each position."""
    x = (2 * images - 1 - jnp.array(_SHIFT)) / jnp.array(_SCALE)
    for name in _ALEXNET:
        if name in ("conv2", "conv3"):
            x = _pool(x, lax.max, -jnp.inf, 2, "VALID")
        stride, padding = (4, [(2, 2)] * 2) if name == "conv1" else (1, "SAME")
        x = _conv(params, name, x, stride, padding)
        yield x / (jnp.sqrt(jnp.square(x).sum(-1, keepdims=True)) + 1e-10)


@jax.jit
def inception(params: Params, images: jax.Array) -> jax.Array:
    """The features that FID compares, Inception v3's before its classifiers: f32[N, H, W, 3] in [0, 1] -> f32[N, 2048].

    As in ArtFID's code, pictures enter as they are: not normalised, and not resized, so compare pictures of one size
    (papers: the shorter side at 512 px). `params`: as from `load_inception`. Raises InputError for sides under 75 px,
    MIN_SIDE.
    """
    _check_sides(images, MIN_SIDE, "images")
    x = images
    for prefix, branches in _BLOCKS.items():
        x = jnp.concatenate([_branch(params, prefix, branch, x) for branch in branches], -1)
    return x.mean((1, 2))


def _branch(params: Params, prefix: str, branch: str, x: jax.Array) -> jax.Array:
    for step in branch.split():
        if step == "max":
            x = _pool(x, lax.max, -jnp.inf, 2, "VALID")
        elif step == "mean":
            x = _pool(x, lax.add, 0.0, 1, "SAME") / 9  # padding counts
        else:
            name, _, stride = _parse(step)
            x = _conv(params, prefix + name, x, stride or 1, "VALID" if stride else "SAME")
    return x


def _parse(step: str) -> tuple[str, tuple[int, int], int]:
    """Name, kernel size and stride of a convolution; stride 0: it keeps the size."""
    name, size, stride = re.fullmatch(r"(\w+):(\w+)/?(\d?)", step).groups()
    height, width = map(int, size.split("x"))
    return name, (height, width), int(stride or 0)


def _conv(params: Params, name: str, x: jax.Array, stride: int, padding) -> jax.Array:
    y = lax.conv_general_dilated(
        x,
        params[f"{name}/kernel"],
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )
    return jax.nn.relu(y + params[f"{name}/bias"])


def _pool(x: jax.Array, reduce, initial: float, stride: int, padding: str) -> jax.Array:
    return lax.reduce_window(x, initial, reduce, (1, 3, 3, 1), (1, stride, stride, 1), padding)


def _check_sides(images: jax.Array, least: int, name: str) -> None:
    """Below `least` px, nothing is left for the last pooling."""
    height, width = images.shape[1:3]
    if min(height, width) < least:
        raise InputError(f"`{name}`: expected sides of at least {least} px, got {width} x {height}; use larger ones")


def fid(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of the Gaussians that fit two sets of features, [n, C] and [m, C]; 0 for equal sets.

        |mean_a - mean_b|^2 + tr(cov_a + cov_b - 2 (cov_a cov_b)^(1/2)),   covariances over n - 1 and m - 1

    With few pictures it is biased upwards: the distance of two samples of one distribution is above 0, far above with
    fewer pictures than the 2048 channels. So compare values of sets of the same sizes only. Raises InputError for fewer
    than 2 pictures, or different C.
    """
    if a.ndim != 2 or b.ndim != 2 or min(len(a), len(b)) < 2 or a.shape[1] != b.shape[1]:
        raise InputError(
            f"`b`: expected features [m, C] to compare with `a`, [n, C], n and m at least 2, got {b.shape} and "
            f"{a.shape}; add pictures"
        )
    (mean_a, root_a), (mean_b, root_b) = (_gaussian(np.asarray(x, np.float64)) for x in (a, b))
    # With cov = root^T root, the eigenvalues of cov_a cov_b are the squared singular values of root_a root_b^T. The
    # usual square root of the product fails where covariances are singular, as they are with fewer pictures than C.
    common = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = np.square(mean_a - mean_b).sum() + np.square(root_a).sum() + np.square(root_b).sum() - 2 * common
    return max(float(distance), 0.0)


def _gaussian(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and a root of the covariance: [n, C] -> [C], [min(n, C), C] with root^T root the covariance."""
    mean = features.mean(0)
    return mean, np.linalg.qr(features - mean, "r") / np.sqrt(len(features) - 1)


def artfid(distances: np.ndarray, styles: np.ndarray, outputs: np.ndarray) -> float:
    """ArtFID (Wright and Ommer 2022): (1 + mean LPIPS) * (1 + FID), lower is better.

    Args:
      distances: [N], `lpips` of each photograph and its output.
      styles: [M, 2048], `inception` of the style pictures; in papers M = N, each style once per output in it.
      outputs: [N, 2048], `inception` of the outputs.

    What `fid` says of few pictures holds here. The authors' code by default extrapolates the FID to infinitely many
    pictures, from 5,000 on; of the 800 of StyleID's protocol each of its points takes all, which gives the plain FID.
    The untouched photographs can score well: print them, and the style pictures as outputs, beside every value.
    """
    return (1 + float(np.mean(distances))) * (1 + fid(styles, outputs))


def load_lpips(path: str | os.PathLike) -> Params:
    """The params of `lpips`. Raises FileNotFoundError, or InputError when the file is not one of ours of that kind."""
    return _load(path, LPIPS, "lpips")


def load_inception(path: str | os.PathLike) -> Params:
    """The params of `inception`. Raises as `load_lpips` does."""
    return _load(path, INCEPTION, "inception")


def _load(path: str | os.PathLike, kind: str, name: str) -> Params:
    if not Path(path).is_file():
        raise FileNotFoundError(f"`{name}`: expected a safetensors file, got {path}, which is not a file; {_CONVERT}")
    tensors, metadata = read(path, f"`{name}`: {path} is not a readable safetensors file", _CONVERT)
    for key, expected in (("kind", kind), ("format_version", str(FORMAT_VERSION))):
        if metadata.get(key) != expected:
            raise InputError(
                f"`{name}`: expected {expected} as {key} in the metadata of {path}, got {metadata.get(key)!r}; "
                + _CONVERT
            )
    return jax.device_put({key: tensors[key] for key in _names(tensors, kind, name, path)})


def _names(
    tensors: Mapping[str, np.ndarray], kind: str, name: str, source: object, remedy: str = _CONVERT
) -> list[str]:
    """The names of the params of `kind`. Raises InputError unless all are there, in shapes that fit each other.

    For errors: `name` is the argument, `source` where the tensors are from, `remedy` what to do.
    """
    names = []

    def check(key, *shape):
        got = np.shape(tensors.get(key))
        if not _fits(got, shape):
            raise InputError(
                f"`{name}`: expected {key} of shape {_text(shape)}, got {_text(got)} in {source}; {remedy}"
            )
        names.append(key)
        return got[-1]

    def convolution(layer, height, width, channels):
        return check(f"{layer}/bias", check(f"{layer}/kernel", height, width, channels, None))

    channels = 3
    if kind == LPIPS:
        for i, (layer, size) in enumerate(_ALEXNET.items(), 1):
            channels = convolution(layer, size, size, channels)
            check(f"linear{i}", channels)
        return names
    for prefix, branches in _BLOCKS.items():
        widths = []
        for branch in branches:
            width = channels
            for layer, size, _ in map(_parse, _convolutions(branch)):
                width = convolution(prefix + layer, *size, width)
            widths.append(width)
        channels = sum(widths)
    return names


def _convolutions(branch: str) -> list[str]:
    return [step for step in branch.split() if ":" in step]


def _fits(shape: tuple, expected: tuple) -> bool:
    """Whether a shape is the expected one, in which None stands for any number."""
    return len(shape) == len(expected) and all(e in (None, s) for s, e in zip(shape, expected, strict=True))


def _text(shape: tuple) -> str:
    return str(shape).replace("None", "C") if shape else "none"


def convert(sources: Sequence[str | os.PathLike], out: str | os.PathLike) -> None:
    """Writes `out`, the weights of one network in the on-disk form, from public PyTorch files.

    sources: torchvision's AlexNet (alexnet-owt-7be5be79.pth) and the linear weights of the lpips package
    (weights/v0.1/alex.pth), or ArtFID's art_inception.pth; told apart by what they hold.

    Raises FileNotFoundError when there is no such file or no folder for `out`; InputError when they are none of these,
    or torch, which reads them, is not installed.
    """
    for source in sources:
        if not Path(source).is_file():
            raise FileNotFoundError(f"`source`: expected a PyTorch file, got {source}, which is not a file")
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
    contents = safetensors.numpy.save({k: np.ascontiguousarray(tensors[k], np.float32) for k in names}, metadata)
    write(out, contents)


def _read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    need("torch", READING)
    try:
        return read_torch(path)
    except InputError:
        raise InputError(f"`source`: expected a PyTorch state dict, only tensors, got {path}; {_DOWNLOAD}") from None


def from_alexnet(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The params of `lpips`, from torchvision's `features.N.weight`, OIHW, and `.bias`, and `linN.model.1.weight`."""
    tensors = {}
    for i, (layer, index) in enumerate(zip(_ALEXNET, _ALEXNET_INDEXES, strict=True)):
        kernel = _get(state, f"features.{index}.weight", (None, None, None, None))
        tensors[f"{layer}/kernel"] = np.transpose(kernel, (2, 3, 1, 0))
        tensors[f"{layer}/bias"] = _get(state, f"features.{index}.bias", (len(kernel),))
        tensors[f"linear{i + 1}"] = _get(state, f"lin{i}.model.1.weight", (1, len(kernel), 1, 1)).reshape(-1)
    return tensors


def from_inception(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The params of `inception`, from torchvision's `X.conv.weight`, OIHW, and `X.bn`, which is folded in."""
    tensors = {}
    steps = ((prefix, step) for prefix, branches in _BLOCKS.items() for b in branches for step in _convolutions(b))
    for prefix, step in steps:
        layer = prefix + _parse(step)[0]
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
    got = np.shape(state.get(key))
    if not _fits(got, expected):
        raise InputError(f"`source`: expected {key} of shape {_text(expected)}, got {_text(got)}; {_DOWNLOAD}")
    return state[key]
