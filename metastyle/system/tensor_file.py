"""Tensors on disk: reads and makes safetensors files, joins names, hashes tensors, and compacts them to float16."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from metastyle.errors import InputError, one_line, reason

_ALIGNMENT = 8  # bytes: the header of a safetensors file ends at a multiple of it


def read(path: str | os.PathLike, what: str, remedy: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads the tensors of a safetensors file, as float32, and its metadata.

    Raises InputError with the message "`what` (the reason); `remedy`" if the file can't be read.
    """
    try:
        with open(path, "rb"), safe_open(path, "numpy") as file:  # the second one takes any error for a missing file
            tensors = {key: np.asarray(file.get_tensor(key), np.float32) for key in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except OSError as error:
        raise InputError(f"{what} ({reason(error)}); change its permissions, or use another copy") from None
    except (SafetensorError, TypeError, AttributeError) as error:  # the last two for a type that numpy lacks
        raise InputError(f"{what} ({one_line(error)}); {remedy}") from None


def to_bytes(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The contents of a safetensors file. Same tensors and metadata, same bytes.

    The library writes the metadata in an order that changes from call to call. Here they are sorted by name.
    """
    made = safetensors.numpy.save({name: np.asarray(x, order="C") for name, x in tensors.items()}, dict(metadata))
    start = 8 + int.from_bytes(made[:8], "little")
    header = json.loads(made[8:start])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text + made[start:]


def sha256(tensors: Mapping[str, jax.Array | np.ndarray]) -> str:
    """The hexadecimal SHA-256 over sorted names, shapes and float32 values."""
    digest = hashlib.sha256()
    for name, x in sorted(tensors.items()):
        digest.update(f"{name}{tuple(x.shape)}".encode())
        digest.update(np.ascontiguousarray(x, "<f4").tobytes())
    return digest.hexdigest()


def compact(x: jax.Array | np.ndarray) -> np.ndarray:
    """Converts to float16 if that loses nothing; else returns the array as it is."""
    with np.errstate(over="ignore"):
        half = np.asarray(x, np.float16)
    return half if np.array_equal(half, x) else np.asarray(x)


def join(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Joins parts, such as `fast` of a bundle or the layers of a loss network, to tensors by "PART/PATH"."""
    return {f"{part}/{path}": x for part, flat in parts.items() for path, x in flat.items()}
