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
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from metastyle.config import Config, from_dict, to_dict
from metastyle.errors import InputError, shown
from metastyle.nets.params import Flat
from metastyle.system.content import ByContent
from metastyle.system.files import write
from metastyle.system.tensor_file import compact, join, sha256, to_bytes
from metastyle.weights.format import FORMAT_VERSION, check_shapes, check_version, parsing, read_tensors, split

_KIND = "metastyle style"
_TENSORS = ("fast", "slow", "plain")  # the fields of `StyleFile` that hold arrays


@dataclass(frozen=True, eq=False, repr=False)
class StyleFile(ByContent):
    """The contents of a style file. Two are equal if all of them are."""

    fast: Flat
    slow_sha256: str  # identifies the slow tensors that `fast` belongs to
    arch: str
    bundle: str  # the name of the bundle, "" if it is unknown
    scope: str
    steps: int
    style_size: int  # px
    history: tuple[float, ...]  # the loss before each step
    phases: int = 1  # see config.Generator
    output_size: int = 0  # px, the shorter side of the photographs that it was learned for; 0 is any
    # A self-contained file holds `slow` and `config` as well, and `plain` if the bundle has it.
    slow: Flat | None = None
    config: Config | None = None
    plain: Flat | None = None

    @functools.cached_property
    def sha256(self) -> str:
        """The hash of the style: of its fast parameters and of the slow tensors that they belong to."""
        return hashlib.sha256(f"{self.slow_sha256}{sha256(self.fast)}".encode()).hexdigest()

    @functools.cached_property
    def content(self) -> Hashable:
        hashed = tuple(flat and sha256(flat) for flat in (self.fast, self.slow, self.plain))
        rest = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in _TENSORS}
        return *hashed, *rest.values()

    def describe(self) -> str:
        return f"{self.sha256[:12]}, {self.steps} steps from the bundle {self.bundle!r}"


def as_stored(fast: Flat) -> Flat:
    """Fast parameters as a style file holds them: rounded to float16, in float32 arrays."""
    with np.errstate(over="ignore"):
        return {path: np.asarray(x, np.float16).astype(np.float32) for path, x in fast.items()}


def save_style(path: str | os.PathLike, style: StyleFile, name: str = "out") -> None:
    """Writes a style file whole or not at all; InputError, which names the argument, if it can't be written."""
    tensors = join({"fast": style.fast, "slow": style.slow or {}, "plain": style.plain or {}})
    facts: dict[str, Any] = {
        "slow_sha256": style.slow_sha256,
        "arch": style.arch,
        "bundle": style.bundle,
        "scope": style.scope,
        "steps": style.steps,
        "style_size": style.style_size,
        "history": style.history,
        "sha256": sha256(tensors),
    }
    facts |= {"phases": style.phases} if style.phases > 1 else {}
    facts |= {"output_size": style.output_size} if style.output_size else {}
    if style.config:
        facts["config"] = to_dict(style.config)
    metadata = {"format_version": str(FORMAT_VERSION), "kind": _KIND}
    metadata |= {name: json.dumps(value) for name, value in facts.items()}
    write(path, to_bytes({name: compact(x) for name, x in tensors.items()}, metadata), name=name)


def load_style(path: str | os.PathLike) -> StyleFile:
    """Reads and checks a style file. Raises FileNotFoundError or InputError if it is no sound style file."""
    tensors, metadata = read_tensors("style_file", Path(path))
    if metadata.get("kind") != _KIND:
        raise InputError(
            f"`style_file`: {shown(path)} is a safetensors file but no style; make one with `metastyle adapt`"
        )
    check_version("style_file", path, metadata.get("format_version"))
    with parsing("style_file", path):
        style = StyleFile(
            fast={},
            slow_sha256=_fact(metadata, "slow_sha256", str),
            arch=_fact(metadata, "arch", str),
            bundle=_fact(metadata, "bundle", str),
            scope=_fact(metadata, "scope", str),
            steps=_fact(metadata, "steps", int),
            style_size=_fact(metadata, "style_size", int),
            history=tuple(map(float, _fact(metadata, "history", list))),
            phases=_fact(metadata, "phases", int) if "phases" in metadata else 1,
            output_size=_fact(metadata, "output_size", int) if "output_size" in metadata else 0,
        )
        digest = json.loads(metadata["sha256"])
        settings = from_dict(json.loads(metadata["config"])) if "config" in metadata else None
    if settings:
        check_shapes("style_file", path, settings, tensors, ("fast", "slow"))
    if sha256(tensors) != digest:
        raise InputError(f"`style_file`: the tensors in {shown(path)} are not those it was written with; copy it again")
    parts = split(tensors)
    style = dataclasses.replace(style, fast=parts["fast"])
    if not settings:
        return style
    return dataclasses.replace(style, slow=parts["slow"], config=settings, plain=parts.get("plain"))


Fact = TypeVar("Fact")


def _fact(metadata: dict[str, str], name: str, kind: type[Fact]) -> Fact:
    value = json.loads(metadata[name])
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {metadata[name]}")
    return value
