"""Parameters as flat dicts {"block1/conv1/kernel": array}: flattening, counting, splitting by scope."""

from typing import Any, TypeVar

import jax
import numpy as np
from flax import traverse_util

from metastyle.errors import InputError

Array = jax.Array | np.ndarray
Flat = dict[str, Array]
Leaf = TypeVar("Leaf")


def split_by_scope(
    params: dict[str, Leaf], scope: str, name: str = "inner.scope"
) -> tuple[dict[str, Leaf], dict[str, Leaf]]:
    """Splits parameters into (fast, slow): those that the inner loop adapts, and the others.

    scope: "norm" (every instance norm), "adapter" (every adapter), "noise" (every matrix of noise maps), "all", or a
    comma-separated list of these and of path prefixes ("block5,out"). Raises InputError, naming the setting `name`, for
    a part that picks nothing.
    """
    parts = [part.strip() for part in scope.split(",")]
    for part in parts:
        if not any(in_scope(path, part) for path in params):
            top = sorted({path.split("/")[0] for path in params})
            raise InputError(
                f'`{name}`: expected norm, adapter, noise, all or prefixes of {", ".join(top)}, got "{part}"'
            )
    fast = {path: x for path, x in params.items() if any(in_scope(path, part) for part in parts)}
    return fast, {path: x for path, x in params.items() if path not in fast}


def in_scope(path: str, part: str) -> bool:
    """Whether a part of a scope, as in `split_by_scope`, picks the parameter at this path."""
    if part in ("norm", "adapter"):
        return any(name.startswith(part) for name in path.split("/"))
    if part == "noise":
        return path.startswith(part) and path.endswith("/kernel")
    return part == "all" or f"{path}/".startswith(f"{part}/")


def flatten(tree: dict[str, Any]) -> dict[str, Any]:
    """Nested params -> {"a/b/c": array}, sorted by path."""
    return dict(sorted(traverse_util.flatten_dict(tree, sep="/").items()))


def unflatten(flat: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    return traverse_util.unflatten_dict(flat, sep="/")


def count_parameters(params: dict[str, Any]) -> int:
    """Counts the parameters, that is, all numbers of all arrays."""
    return sum(int(np.prod(x.shape)) for x in params.values())
