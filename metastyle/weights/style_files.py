"""Style files: what an adaptation changed, as one safetensors file.

A style file holds the tensors `fast/PATH` alone, and in its metadata which slow tensors it belongs to; a self-contained
one holds `slow/PATH`, `plain/PATH` and the config of its bundle as well. Tensors are stored as float16 where that loses
nothing; in memory they are float32, and hashes are of float32. The metadata records the hash of all tensors, so that
damage is found out.
"""

import dataclasses
import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.numpy import save

from metastyle.config import Config, from_dict
from metastyle.errors import InputError
from metastyle.nets.params import Flat
from metastyle.system.files import write
from metastyle.system.tensor_file import compact, join, sha256
from metastyle.weights.format import FORMAT_VERSION, check_shapes, check_version, parsing, read_tensors, split

_KIND = "metastyle style"


@dataclass(frozen=True)
class StyleFile:
    """The contents of a style file; `slow`, `config` and perhaps `plain` are there when it is self-contained."""

    fast: Flat
    slow_sha256: str
    arch: str
    bundle: str
    scope: str
    steps: int
    style_size: int
    history: tuple[float, ...]
    slow: Flat | None = None
    config: Config | None = None
    plain: Flat | None = None

    @functools.cached_property
    def sha256(self) -> str:
        """Identifies the style: of its fast parameters and of the slow tensors that they belong to."""
        return hashlib.sha256(f"{self.slow_sha256}{sha256(self.fast)}".encode()).hexdigest()


_FACTS = {  # a style file's metadata, each as JSON
    "slow_sha256": str, "arch": str, "bundle": str, "scope": str, "steps": int, "style_size": int, "history": list,
}  # fmt: skip


def save_style(path: str | os.PathLike, style: StyleFile) -> None:
    """Writes a style file, atomically. Raises InputError where it can't be written."""
    tensors = join({"fast": style.fast, "slow": style.slow or {}, "plain": style.plain or {}})
    facts = {name: getattr(style, name) for name in _FACTS} | {"sha256": sha256(tensors)}
    if style.config:
        facts["config"] = dataclasses.asdict(style.config)
    metadata = {"format_version": str(FORMAT_VERSION), "kind": _KIND}
    metadata |= {name: json.dumps(value) for name, value in facts.items()}
    write(path, save({name: compact(x) for name, x in tensors.items()}, metadata))


def load_style(path: str | os.PathLike) -> StyleFile:
    """Reads and checks a style file. Raises FileNotFoundError or InputError, in one line, for what is not one."""
    tensors, metadata = read_tensors("style_file", Path(path))
    if metadata.get("kind") != _KIND:
        raise InputError(f"`style_file`: {path} is a safetensors file but no style; make one with `metastyle adapt`")
    check_version("style_file", path, metadata.get("format_version"))
    with parsing("style_file", path):
        facts = {name: _fact(name, metadata[name], kind) for name, kind in _FACTS.items()}
        facts["history"] = tuple(map(float, facts["history"]))
        digest = json.loads(metadata["sha256"])
        settings = from_dict(json.loads(metadata["config"])) if "config" in metadata else None
    if settings:
        check_shapes("style_file", path, settings, tensors, ("fast", "slow"))
    if sha256(tensors) != digest:
        raise InputError(f"`style_file`: the tensors in {path} are not those it was written with; copy it again")
    parts = split(tensors)
    kept = {"slow": parts["slow"], "plain": parts.get("plain"), "config": settings} if settings else {}
    return StyleFile(parts["fast"], **kept, **facts)


def _fact(name: str, text: str, kind: type) -> Any:
    value = json.loads(text)
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {text}")
    return value
