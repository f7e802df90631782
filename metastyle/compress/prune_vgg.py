"""Where distillation of VGG-16 starts: the same ten convolutions with fewer channels and kernels of lower rank."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metastyle.compress import least_squares
from metastyle.config import Distillation
from metastyle.errors import InputError
from metastyle.nets import vgg

_INPUT_STD = 0.25
_TOGETHER = 8  # pictures that are worked on at once

Scale = dict[str, jax.Array]  # f32[] by tap: 1 / rms of the teacher's features


class Slim(NamedTuple):
    """A slim network in training.

    The fields stand in the alphabetical order of their names: clipping sums over the gradients in this order.
    """

    maps: dict[str, jax.Array]  # f32[C, C'] by tap: from its features to the teacher's, times their `Scale`
    vgg: vgg.Params  # its layers; the entry "input" is missing


def prune(teacher: vgg.Params, pictures: np.ndarray, widths: Sequence[int], ranks: Sequence[int]) -> tuple[Slim, Scale]:
    """Prunes the teacher to these widths and ranks.

    Layer by layer, the teacher's channels that explain most of the energy are kept (pivoted Cholesky factorisation of
    their Gram matrix on `pictures`). The responses of these channels before the ReLU are fitted by least squares to
    what the pruned layer now sees (channel pruning, He et al. 2017), with a kernel of the given rank unless that is 0
    (reduced-rank regression, as in Zhang et al. 2016). Every layer is scaled to rms 1, so that one learning rate fits
    all layers.

    pictures: f32[N, S, S, 3], photographs and paintings.
    """
    weights, maps, scale = {"input": _convention(teacher)}, {}, {}
    ours, theirs = (np.asarray((pictures - p["input"]["mean"]) / p["input"]["std"]) for p in (weights, teacher))
    guess = np.diag(np.asarray(weights["input"]["std"] / teacher["input"]["std"], np.float64))
    for layer, width, rank in zip(vgg.LAYERS, widths, ranks, strict=True):
        relu = f"relu{layer[4:]}"
        if layer in vgg.POOLED:
            ours, theirs = (_batched(vgg.max_pool, x) for x in (ours, theirs))
        goal = _batched(functools.partial(vgg.response, teacher[layer]), theirs)
        theirs = np.maximum(goal, 0)
        kept = _pivots(_products(theirs, theirs), min(width, theirs.shape[-1]))
        kernel = np.einsum("hwCo,cC->hwco", np.asarray(teacher[layer]["kernel"], np.float64)[..., kept], guess)
        fitted = _regression(ours, goal[..., kept], kernel, np.asarray(teacher[layer]["bias"])[kept], rank)
        ours = np.maximum(_batched(functools.partial(vgg.response, fitted), ours), 0)
        rms = float(np.sqrt(np.square(ours, dtype=np.float64).mean()))
        scaled = ("mix" if rank else "kernel", "bias")
        weights[layer] = {part: x / rms if part in scaled else x for part, x in fitted.items()}
        ours /= rms
        guess = _map(ours, theirs)
        if relu in vgg.TAPS:
            scale[relu] = _scale(theirs)
            maps[relu] = jnp.asarray(guess, jnp.float32) * scale[relu]
    del weights["input"]
    return Slim(maps, weights), scale


def continue_from(
    given: vgg.Params, settings: Distillation, teacher: vgg.Params, pictures: np.ndarray
) -> tuple[Slim, Scale]:
    """Takes the slim network `given`, the one of `settings.start`, and fits its maps as `prune` does.

    Raises InputError if the network has other widths or ranks than `settings`, or expects other pixel values.
    """
    convention = _convention(teacher)
    layers = [given[layer] for layer in vgg.LAYERS]
    widths = tuple(len(layer["bias"]) for layer in layers)
    ranks = tuple(layer["kernel"].shape[-1] if "mix" in layer else 0 for layer in layers)
    if (widths, ranks) != (settings.widths, settings.ranks) or any(
        not np.allclose(given["input"][name], convention[name]) for name in convention
    ):
        raise InputError(
            f"`start`: expected a network that distillation made, of `widths` {settings.widths} and `ranks` "
            f"{settings.ranks}, got {settings.start}, of {widths} and {ranks}"
        )
    maps, scale = {}, {}
    for tap in vgg.TAPS:
        ours, theirs = (
            _batched(lambda x, p=params: vgg.features(p, x, (tap,))[tap], pictures)  # noqa: B023
            for params in (given, teacher)
        )
        scale[tap] = _scale(theirs)
        maps[tap] = jnp.asarray(_map(ours, theirs), jnp.float32) * scale[tap]
    return Slim(maps, {layer: given[layer] for layer in vgg.LAYERS}), scale


def network(slim: Slim, teacher: vgg.Params) -> vgg.Params:
    """The slim network alone, in the form that vgg.features takes."""
    return {"input": _convention(teacher)} | slim.vgg


def _convention(teacher: vgg.Params) -> dict[str, jax.Array]:
    """What the slim network subtracts from pixels and divides them by.

    Its zero is the teacher's, since both networks pad with zeros.
    """
    return {"mean": teacher["input"]["mean"], "std": jnp.full(3, _INPUT_STD)}


def _map(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """The linear map from our features to the teacher's with the smallest squared error: float64[C, C']."""
    return np.linalg.lstsq(_products(ours, ours), _products(ours, theirs), rcond=1e-9)[0]


def _scale(theirs: np.ndarray) -> jax.Array:
    return jnp.float32(1 / np.sqrt(np.square(theirs, dtype=np.float64).mean()))


def _batched(function: Any, pictures: np.ndarray) -> np.ndarray:
    function = jax.jit(function)
    parts = range(0, len(pictures), _TOGETHER)
    return np.concatenate([np.asarray(function(pictures[i : i + _TOGETHER])) for i in parts])


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a^T b, summed over all positions: float64[A, B]."""
    flat = lambda x: x.reshape(-1, x.shape[-1])
    total = np.zeros((a.shape[-1], b.shape[-1]))
    for i in range(0, len(a), _TOGETHER):
        total += np.float64(flat(a[i : i + _TOGETHER]).T @ flat(b[i : i + _TOGETHER]))
    return total


def _regression(
    seen: np.ndarray, goal: np.ndarray, kernel: np.ndarray, bias: np.ndarray, rank: int
) -> dict[str, jax.Array]:
    """The layer of this rank whose responses to `seen` are closest to `goal`.

    kernel, bias: a first guess; where the data say little, the result stays near it.
    """
    patches = jax.jit(_patches)
    inputs, outputs = 9 * seen.shape[-1] + 1, goal.shape[-1]
    own, missed = np.zeros((inputs, inputs)), np.zeros((inputs, outputs))
    given = np.concatenate([kernel.reshape(-1, kernel.shape[-1]), bias[None]])
    for i in range(0, len(seen), _TOGETHER):
        p = np.asarray(patches(seen[i : i + _TOGETHER]))
        own = own + _products(p, p)
        missed = missed + _products(p, goal[i : i + _TOGETHER])
    found = given + least_squares.ridge(own, missed - own @ given)
    if not rank:
        return {"kernel": jnp.asarray(found[:-1].reshape(kernel.shape), jnp.float32), "bias": jnp.float32(found[-1])}
    mean = own[-1] @ found / own[-1, -1]
    energy, axes = np.linalg.eigh(found.T @ own @ found / own[-1, -1] - np.outer(mean, mean))
    axes = axes[:, ::-1][:, :rank]
    root = np.maximum(energy[::-1][:rank], 1e-12) ** 0.25  # kernel and mix each get the root of an axis's deviation
    return {
        "kernel": jnp.asarray((found[:-1] @ axes / root).reshape(*kernel.shape[:3], -1), jnp.float32),
        "mix": jnp.asarray((axes * root).T, jnp.float32),
        "bias": jnp.float32(mean - (mean - found[-1]) @ axes @ axes.T),
    }


def _patches(x: jax.Array) -> jax.Array:
    """What a 3x3 kernel sees, in the order of its weights, and a 1 for the bias: [N, H, W, C] -> [N, H, W, 9 C + 1]."""
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate([*shifted, jnp.ones((*x.shape[:3], 1))], -1)


def _pivots(products: np.ndarray, count: int) -> list[int]:
    """The first `count` columns that a pivoted Cholesky factorisation of a Gram matrix picks."""
    rest, kept = products.copy(), []
    for _ in range(count):
        kept.append(int(np.argmax(np.diag(rest))))
        column = rest[:, kept[-1]]
        rest = rest - np.outer(column, column) / max(column[kept[-1]], 1e-12)
        rest[kept, kept] = -np.inf
    return kept
