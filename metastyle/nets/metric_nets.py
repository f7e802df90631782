"""The networks of two metrics: AlexNet of LPIPS (Zhang et al. 2018) and Inception of ArtFID (Wright and Ommer 2022).

Both are pure functions of flat params dicts such as `{"conv1/kernel": f32[11, 11, 3, 64], ...}`: AlexNet as trained on
ImageNet with the linear weights of LPIPS 0.1, and Inception v3 as trained on art for ArtFID. The weights do not come
with the package; weights/metric_files.py reads them.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax

from metastyle.errors import InputError

Params = dict[str, jax.Array]

MIN_SIDE = 75  # px, of the pictures that `inception` takes

_SHIFT, _SCALE = (
    (-0.030, -0.088, -0.188),
    (0.458, 0.448, 0.450),
)  # normalisation of pictures in [-1, 1], with the authors' digits
ALEXNET = {"conv1": 11, "conv2": 5, "conv3": 3, "conv4": 3, "conv5": 3}  # kernel sizes

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
INCEPTION_BLOCKS = {
    "": _STEM,
    **{f"Mixed_5{letter}/": _A for letter in "bcd"},
    "Mixed_6a/": _B,
    **{f"Mixed_6{letter}/": _C for letter in "bcde"},
    "Mixed_7a/": _D,
    **{f"Mixed_7{letter}/": _E for letter in "bc"},
}


@jax.jit
def lpips(params: Params, a: jax.Array, b: jax.Array) -> jax.Array:
    """Learned perceptual distance, 0 for equal pictures: two f32[N, H, W, 3] in [0, 1] -> f32[N], mostly below 1.

    The squared difference of AlexNet's features after each of its five ReLUs, scaled to unit length at every position,
    weighted per channel, averaged over positions and summed over layers: `lpips.LPIPS(net="alex", version="0.1")` of
    the authors' package, which ArtFID uses. `params`: as `weights.metric_files.load_lpips` returns
    them. Raises InputError for pictures of different sizes, or sides under 31 px.
    """
    if a.shape != b.shape:
        raise InputError(f"`b`: expected the shape of `a`, {a.shape}, got {b.shape}; resize")
    _check_sides(a, 31, "a")
    layers = enumerate(zip(_alexnet(params, a), _alexnet(params, b), strict=True), 1)
    distances = ((jnp.square(x - y) * params[f"linear{i}"]).sum(-1).mean((1, 2)) for i, (x, y) in layers)
    return sum(distances, start=jnp.zeros(len(a)))


def _alexnet(params: Params, images: jax.Array) -> Iterator[jax.Array]:
    """Features after each ReLU, of unit length at each position."""
    x = (2 * images - 1 - jnp.array(_SHIFT)) / jnp.array(_SCALE)
    for name in ALEXNET:
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
    for prefix, branches in INCEPTION_BLOCKS.items():
        x = jnp.concatenate([_branch(params, prefix, branch, x) for branch in branches], -1)
    return x.mean((1, 2))


def _branch(params: Params, prefix: str, branch: str, x: jax.Array) -> jax.Array:
    for step in branch.split():
        if step == "max":
            x = _pool(x, lax.max, -jnp.inf, 2, "VALID")
        elif step == "mean":
            x = _pool(x, lax.add, 0.0, 1, "SAME") / 9  # padding counts
        else:
            name, _, stride = parse_convolution(step)
            x = _conv(params, prefix + name, x, stride or 1, "VALID" if stride else "SAME")
    return x


def parse_convolution(step: str) -> tuple[str, tuple[int, int], int]:
    """Name, kernel size and stride of a convolution; stride 0 stands for one that keeps the size."""
    name, _, rest = step.partition(":")
    size, _, stride = rest.partition("/")
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
    """Raises InputError below `least` px, where nothing would be left for the last pooling."""
    height, width = images.shape[1:3]
    if min(height, width) < least:
        raise InputError(f"`{name}`: expected sides of at least {least} px, got {width} x {height}; use larger ones")
