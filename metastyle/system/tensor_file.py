"""Tensors on disk: safetensors files of any writer, names in parts, hashes, and float16 where it loses nothing."""

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from metastyle.errors import InputError, one_line


def read(path: str | os.PathLike, what: str, remedy: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of a safetensors file, in float32, and its metadata.

    Raises InputError, "`what` (the reason); `remedy`", where it can't be read.
    """
    try:
        with safe_open(path, "numpy") as file:
            tensors = {key: np.asarray(file.get_tensor(key), np.float32) for key in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError, TypeError, AttributeError) as error:  # the last two: a type that numpy lacks
        raise InputError(f"{what} ({one_line(error)}); {remedy}") from None


def sha256(tensors: Mapping[str, np.ndarray]) -> str:
    """Hex digest over sorted names, shapes and float32 values."""
    digest = hashlib.sha256()
    for name, x in sorted(tensors.items()):
        digest.update(f"{name}{tuple(x.shape)}".encode())
        digest.update(np.ascontiguousarray(x, "<f4").tobytes())
    return digest.hexdigest()


def compact(x: np.ndarray) -> np.ndarray:
    """In float16 where nothing is lost by it."""
    with np.errstate(over="ignore"):
        half = np.asarray(x, np.float16)
    return half if np.array_equal(half, x) else np.asarray(x)


def join(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Tensors of parts, such as `fast` of a bundle or the layers of a loss network, by "PART/PATH"."""
    return {f"{part}/{path}": x for part, flat in parts.items() for path, x in flat.items()}
