"""The state of the work on one output file, in a file beside it, from which the same command line continues."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from metastyle.errors import InputError, shown
from metastyle.system import files
from metastyle.system.tensor_file import to_bytes

_DIGEST = "sha256:"

Tensors = dict[str, np.ndarray]


def beside(out: str | os.PathLike) -> Path:
    """The path of the state file for the output `out`."""
    return Path(out).with_name(f"{Path(out).name}.state")


def digest(*arrays: np.ndarray) -> str:
    """Stands for the arrays in an identity: "sha256:" and twelve hexadecimal digits."""
    found = hashlib.sha256()
    for x in arrays:
        found.update(np.ascontiguousarray(x).data)
    return f"{_DIGEST}{found.hexdigest()[:12]}"


def digest_files(paths: Iterable[str | os.PathLike], name: str) -> str:
    """Stands for the contents of files in an identity, as `digest` for arrays; errors as `files.open_input`."""
    found = hashlib.sha256()
    for path in paths:
        with files.open_input(path, name) as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return f"{_DIGEST}{found.hexdigest()[:12]}"


def write(path: Path, identity: dict[str, Any], tensors: Tensors) -> None:
    """Writes the state file, whole or not at all.

    identity: what tells this work from other work, by the names of the flags: plain values, and `digest` of pictures
    and weights. The first that differs is what `read` names, so those that others depend on come first.
    """
    files.write(path, to_bytes(tensors, {"run": json.dumps(identity)}))


def read(path: Path, identity: dict[str, Any], build: Callable[[Tensors], Any]) -> Any:
    """`build(tensors)` from the state file; None if there is no file.

    build: makes the state from the tensors; it raises ValueError or KeyError if they don't fit.

    Raises InputError if the file can't be read, is damaged, or belongs to work of another `identity`.
    """
    if files.stat_mode(path, "out") is None:
        return None
    files.open_input(path, "out").close()
    with reading(path), safe_open(path, "numpy") as file:
        before = json.loads(file.metadata()["run"])
        tensors = {name: file.get_tensor(name) for name in file.offset_keys()}
    check_same(path, before, identity)
    with reading(path):
        return build(tensors)


def check_same(path: Path, before: dict[str, Any], identity: dict[str, Any]) -> None:
    """Raises InputError, which names the first difference, if the file `path` belongs to work of another identity."""
    with reading(path):
        different = [name for name in identity if _differ(before[name], identity[name])]
    if not different:
        return
    name = different[0]
    told = ["none" if values[name] is None else values[name] for values in (before, identity)]
    if _DIGEST in json.dumps(told):
        told = [f"another `{name}`", "this one"]
    raise InputError(
        f"`{name}`: the run that {shown(path)} continues has {told[0]}, got {told[1]}; "
        "set it back, use another --out, or delete that file to start afresh"
    )


def _differ(before: Any, now: Any) -> bool:
    """Whether two values of an identity differ. Of two dicts, only the keys that both have are compared."""
    if isinstance(before, dict) and isinstance(now, dict):
        return any(before[key] != now[key] for key in before.keys() & now.keys())
    return before != now


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns the errors that a damaged state file makes Python raise into an InputError that names the file."""
    try:
        yield
    except InputError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"`out`: cannot continue {shown(path)}, which is damaged, of another version or no state of a run; "
            "delete it to start afresh"
        ) from error
