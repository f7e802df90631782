"""The state of the work on one output file, in a file beside it, from which the same command line continues."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from metastyle.errors import InputError
from metastyle.system import files
from metastyle.system.tensor_file import to_bytes

Tensors = dict[str, np.ndarray]


def beside(out: str | os.PathLike) -> Path:
    """The path of the state file for the output `out`."""
    return Path(out).with_name(f"{Path(out).name}.state")


def digest(*arrays: np.ndarray) -> str:
    """Twelve hexadecimal digits of the SHA-256 of the arrays."""
    found = hashlib.sha256()
    for x in arrays:
        found.update(np.ascontiguousarray(x).data)
    return found.hexdigest()[:12]


def write(path: Path, identity: dict[str, Any], tensors: Tensors) -> None:
    """Writes the state file, whole or not at all.

    identity: what tells this work from other work, by the names of the flags.
    """
    files.write(path, to_bytes(tensors, {"run": json.dumps(identity)}))


def read(path: Path, identity: dict[str, Any], build: Callable[[Tensors], Any]) -> Any:
    """`build(tensors)` from the state file; None if there is no file.

    build: makes the state from the tensors; it raises ValueError or KeyError if they don't fit.

    Raises InputError if the file is damaged, or belongs to work of another `identity`.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, "numpy") as file:
            before = json.loads(file.metadata()["run"])
            tensors = {name: file.get_tensor(name) for name in file.offset_keys()}
        different = [name for name in identity if before[name] != identity[name]]
        built = None if different else build(tensors)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"`out`: cannot continue {path}, which is damaged or no state of a run; delete it to start afresh"
        ) from error
    if different:
        name = different[0]
        raise InputError(
            f"`{name}`: the run that {path} continues has {before[name]}, got {identity[name]}; "
            "set it back, use another --out, or delete that file to start afresh"
        )
    return built
