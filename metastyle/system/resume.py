"""The state of work on one output, in a file beside it: stopped work is continued by the same line."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from metastyle.errors import InputError
from metastyle.system import files

Tensors = dict[str, np.ndarray]


def beside(out: str | os.PathLike) -> Path:
    """The state file of the work on `out`."""
    return Path(out).with_name(f"{Path(out).name}.state")


def digest(*arrays: np.ndarray) -> str:
    """Twelve hexadecimal digits that tell arrays apart."""
    found = hashlib.sha256()
    for x in arrays:
        found.update(np.ascontiguousarray(x))
    return found.hexdigest()[:12]


def write(path: Path, identity: dict[str, Any], tensors: Tensors) -> None:
    """Writes the file whole or not at all; `identity`: what tells this work from others, by the names of the flags."""
    files.write(path, to_bytes(tensors, {"run": json.dumps(identity)}))


def read(path: Path, identity: dict[str, Any], build: Callable[[Tensors], Any]) -> Any:
    """`build(tensors)` of the same work's file; None where there is no file.

    Raises InputError where it is of other work, or damaged: `build` raises ValueError or KeyError for what doesn't fit.
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
