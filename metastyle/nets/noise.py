"""Noise maps, which tell places apart where a photograph is flat.

Where the photograph is constant as far as a convolution sees, a network can only repeat a pattern. Random numbers that
are added to its features give it something to paint shapes from.

A map has cells of 1, 2, 4, ... features, and each cell has a random number: a hash of the seed, the map, and the cell's
row and column in the picture. So a tile has the noise of its place in the picture, and every backend and machine has
the same noise. Cells of more than one feature are enlarged by cubic B-splines.

A seed is a whole number, kept as float32 among a network's parameters (`noise1/seed`): another one gives another
drawing in the same style.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metastyle.nets.architecture import Noise
from metastyle.nets.params import Array

ROW, COLUMN, MAP = 0x0DA6B343, 0x58163841, 0x4B1AB31F  # odd numbers below 2^31, which tell the coordinates apart
ROUNDS = ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 0))  # of the hash lowbias32 (Wellons 2018): shifts and factors
MEAN, STD = 510.0, 147.80  # of the sum of four bytes, which is nearly normal
ENLARGED_VARIANCE = 151 / 315  # of white noise along one axis, after the B-spline: the integral of its square


def times(kernel: Array, seed: Array, rows: jax.Array, columns: jax.Array, op: Noise) -> jax.Array:
    """The maps of `op` at these places, as for `maps`, times its matrix f32[sizes * count, C]: f32[h, w, C]."""
    return maps(rows, columns, op.count, op.sizes, seed) @ jnp.asarray(kernel)


def maps(rows: jax.Array, columns: jax.Array, count: int, sizes: int, seed: Array | int = 0) -> jax.Array:
    """Noise of mean 0 and variance 1: f32[h, w, sizes * count].

    rows, columns: i32[h] and i32[w], consecutive places in the features of the whole picture. count: the maps of each
    size of cells. sizes: how many sizes of cells, from 1 feature on, each twice the one before.
    """
    found = [_normal(rows, columns, jnp.arange(count), seed)]
    for size in range(1, sizes):
        (cells_down, down), (cells_right, right) = (_cells(index, 2**size) for index in (rows, columns))
        noise = _normal(cells_down, cells_right, size * count + jnp.arange(count), seed)
        enlarged = jnp.einsum("hi,ijc,wj->hwc", down, noise, right, precision="highest")
        found.append(enlarged / ENLARGED_VARIANCE)
    return jnp.concatenate(found, -1)


def _cells(index: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """The cells near consecutive features, i32[n], and how much each feature takes of each cell, f32[len(index), n]."""
    cells = index[0] // size - 2 + jnp.arange((len(index) - 1) // size + 6)
    return cells, _spline((index[:, None] + 0.5) / size - (cells + 0.5))


def _spline(x: jax.Array) -> jax.Array:
    """The cubic B-spline with knots at -2, -1, 0, 1, 2."""
    x = jnp.abs(x)
    return (jax.nn.relu(2 - x) ** 3 - 4 * jax.nn.relu(1 - x) ** 3) / 6


def _normal(rows: jax.Array, columns: jax.Array, channels: jax.Array, seed: Array | int) -> jax.Array:
    """Nearly normal numbers, f32[h, w, c], each a hash of its coordinates."""
    rows, columns, channels, seed = (jnp.asarray(x).astype(jnp.uint32) for x in (rows, columns, channels, seed))
    at = mixed(seed) + rows[:, None, None] * ROW + columns[:, None] * COLUMN + channels * MAP
    bits = mixed(at)
    total = sum((bits >> shift) & 255 for shift in (0, 8, 16, 24))
    return (jnp.asarray(total).astype(jnp.float32) - MEAN) / STD


def mixed(x: Any) -> Any:
    """The hash of each whole number of an array u32[...], of NumPy or JAX: u32[...]."""
    for shift, factor in ROUNDS:
        x = x ^ (x >> shift)
        x = x * np.uint32(factor) if factor else x
    return x


def drawn_seed(pictures: Array) -> jax.Array:
    """A seed for each picture f32[N, H, W, 3], f32[N]: whole numbers below 2^16 that depend on every bit of it."""
    bits = jax.lax.bitcast_convert_type(jnp.asarray(pictures, jnp.float32), jnp.uint32)
    folded = jax.lax.reduce(bits, jnp.uint32(0), jax.lax.bitwise_xor, (1, 2, 3))
    return (mixed(folded) >> 16).astype(jnp.float32)
