"""Sums whose bits do not depend on how the parts are spread over devices and processes (docs/scaling.md)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree


def separately_rounded(x: jax.Array) -> jax.Array:
    """`x` without the last bit of its mantissa, so that the sum that it is added to does not depend on the program.

    XLA:CPU contracts a product and the sum that follows it to a fused multiply-add, which rounds once. Whether it does
    so for a task's gradient or for an update depends on how many tasks the program has. The dropped bit is what keeps
    XLA from removing this operation, as it does with one that changes nothing and with optimisation barriers.
    """
    kind = jnp.finfo(x.dtype)
    return jax.lax.reduce_precision(x, kind.nexp, kind.nmant - 1)


def sum_in_halves(trees: Sequence[Any]) -> Any:
    """The sum of the first half plus that of the second half, and so on: devices with equal parts can share it."""
    if len(trees) == 1:
        return trees[0]
    half = len(trees) // 2
    return jax.tree.map(jnp.add, sum_in_halves(trees[:half]), sum_in_halves(trees[half:]))


def mean_over_devices(tree: Any, axis: str) -> Any:
    """The mean of a tree of float arrays over the devices of `axis`; every device gets it.

    An all-reduce adds in an order that depends on the number of processes, and the smallest difference grows tenfold
    with each inner step (docs/scaling.md). Here each device adds one part of all numbers, in a fixed order: an
    all-to-all brings it that part from every device, and an all-gather takes the means to all. That sends as many bytes
    as a ring that reduces.
    """
    devices = jax.lax.axis_size(axis)
    flat, restore = ravel_pytree(tree)
    parts = jnp.pad(flat, (0, -flat.size % devices)).reshape(devices, -1)
    mean = sum_in_halves(list(jax.lax.all_to_all(parts, axis, 0, 0))) / devices
    return restore(jax.lax.all_gather(mean, axis, tiled=True, to="invarying")[: flat.size])
