"""What leaves a run: bundles (a meta-trained start) and style files (what an adaptation changed), as safetensors.

A bundle is a folder {config.json, params.safetensors} with tensors `fast/PATH`, `slow/PATH` and `log_lr/PATH`. A style
file holds `fast/PATH` alone, and in its metadata which slow tensors it belongs to; a self-contained one holds `slow/PATH`
and the config as well. Tensors may be stored as float16; in memory they are float32, and hashes are of float32.
"""

import dataclasses
import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from metastyle import generator
from metastyle.config import Config, from_dict
from metastyle.errors import InputError
from metastyle.images import atomic

FORMAT_VERSION = 1

Flat = dict[str, np.ndarray]


@dataclass(frozen=True)
class Bundle:
    """A meta-trained start: `meta` is {"fast", "slow", "log_lr"}; `adam_lr` is for steps beyond `inner.steps`."""

    config: Config
    meta: dict[str, Flat]
    adam_lr: float
    path: Path | None = None

    @functools.cached_property
    def slow_sha256(self) -> str:
        """Identifies the slow tensors that a style file needs."""
        return sha256(self.meta["slow"])


@dataclass(frozen=True)
class StyleFile:
    """The contents of a style file; `slow` and `config` are there when it is self-contained."""

    fast: Flat
    slow_sha256: str
    bundle: str
    scope: str
    steps: int
    style_size: int
    history: tuple[float, ...]
    slow: Flat | None = None
    config: Config | None = None


def sha256(tensors: Flat) -> str:
    """Hex digest over sorted names, shapes and float32 values."""
    digest = hashlib.sha256()
    for name, x in sorted(tensors.items()):
        digest.update(f"{name}{tuple(x.shape)}".encode())
        digest.update(np.ascontiguousarray(x, "<f4").tobytes())
    return digest.hexdigest()


def save_bundle(folder: str | os.PathLike, bundle: Bundle, dtype: str = "float32") -> None:
    """Writes a bundle; each of its two files appears whole or not at all. dtype: "float32" or "float16"."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"{part}/{path}": x for part, flat in bundle.meta.items() for path, x in flat.items()}
    stored = {name: np.asarray(x, dtype) for name, x in tensors.items()}
    slow = {n.removeprefix("slow/"): x for n, x in stored.items() if n.startswith("slow/")}
    text = {
        "format_version": FORMAT_VERSION,
        "adam_lr": bundle.adam_lr,
        "slow_sha256": sha256(slow),
        "config": dataclasses.asdict(bundle.config),
    }
    _write(folder / "params.safetensors", stored, {"format_version": str(FORMAT_VERSION)})
    with atomic(folder / "config.json") as temporary:
        temporary.write_text(json.dumps(text, indent=2) + "\n")


def load_bundle(folder: str | os.PathLike) -> Bundle:
    """Reads and checks a bundle. Raises FileNotFoundError or InputError, in one line, for what is not one."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"`bundle`: expected a folder with config.json and params.safetensors, got {folder}")
    try:
        text = json.loads((folder / "config.json").read_text())
        version, adam_lr, values = text["format_version"], float(text["adam_lr"]), text["config"]
    except FileNotFoundError:
        raise FileNotFoundError(f"`bundle`: {folder} has no config.json; expected the `bundle` folder of a run") from None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"`bundle`: {folder}/config.json is not a bundle's ({error!r}); train or copy it again") from None
    _check_version("bundle", folder, version)
    settings = from_dict(values)
    meta = _split(_read("bundle", folder / "params.safetensors")[0])
    _check_shapes("bundle", folder, settings, meta)
    missing = sorted(set(meta["fast"]) - set(meta["log_lr"]))
    if missing:
        raise InputError(f"`bundle`: {folder} has no learning rate for {missing[0]}; train or copy it again")
    return Bundle(settings, meta, adam_lr, folder.resolve())


def save_style(path: str | os.PathLike, style: StyleFile) -> None:
    """Writes a style file, atomically."""
    facts = {f.name: getattr(style, f.name) for f in dataclasses.fields(style)}
    tensors = {f"fast/{p}": np.asarray(x, np.float32) for p, x in facts.pop("fast").items()}
    tensors |= {f"slow/{p}": np.asarray(x, np.float32) for p, x in (facts.pop("slow") or {}).items()}
    settings = facts.pop("config")
    if settings:
        facts["config"] = dataclasses.asdict(settings)
    metadata = {name: json.dumps(value) for name, value in facts.items()}
    _write(Path(path), tensors, {"format_version": str(FORMAT_VERSION), "kind": "metastyle style"} | metadata)


def load_style(path: str | os.PathLike) -> StyleFile:
    """Reads a style file. Raises FileNotFoundError or InputError, in one line, for what is not one."""
    tensors, metadata = _read("style_file", Path(path))
    if metadata.get("kind") != "metastyle style":
        raise InputError(f"`style_file`: {path} is a safetensors file but no style; make one with `metastyle adapt`")
    _check_version("style_file", path, metadata["format_version"])
    parts = _split(tensors)
    try:
        facts = {k: json.loads(v) for k, v in metadata.items() if k not in ("kind", "format_version")}
        facts["history"] = tuple(facts["history"])
        facts["config"] = from_dict(facts["config"]) if "config" in facts else None
        style = StyleFile(parts["fast"], slow=parts["slow"] or None, **facts)
    except (TypeError, KeyError, json.JSONDecodeError) as error:
        raise InputError(f"`style_file`: {path} has damaged metadata ({error!r}); adapt again") from None
    if style.config:
        _check_shapes("style_file", path, style.config, parts)
        if style.slow and sha256(style.slow) != style.slow_sha256:
            raise InputError(f"`style_file`: the slow tensors in {path} are not those it was adapted with; adapt again")
    return style


def describe_bundle(folder: str | os.PathLike) -> dict[str, str]:
    """What `metastyle info` prints of a bundle."""
    start = load_bundle(folder)
    inner, rates = start.config.inner, np.exp(np.concatenate([x.ravel() for x in start.meta["log_lr"].values()]))
    return {
        "bundle": str(start.path),
        "architecture": start.config.generator.arch,
        "parameters": f"{generator.count(start.meta['fast'] | start.meta['slow']):,}",
        "adapts": f"{inner.scope} ({generator.count(start.meta['fast']):,} parameters)",
        "inner steps": f"{inner.steps}, {inner.support} support photographs each",
        "learned rates": f"{inner.lrs}: {rates.min():.2g} to {rates.max():.2g}",
        "further steps": f"Adam, lr {start.adam_lr:.2g}",
        "picture size": f"{start.config.data.size} px",
        "loss": f"{start.config.loss.kind} {start.config.loss.statistic}",
        "slow tensors": start.slow_sha256,
        "format version": str(FORMAT_VERSION),
    }


def describe_style(path: str | os.PathLike) -> dict[str, str]:
    """What `metastyle info` prints of a style file."""
    style = load_style(path)
    ends = f", loss {style.history[0]:.4f} to {style.history[-1]:.4f}" if style.history else ""
    return {
        "style file": str(path),
        "adapted": f"{style.scope} ({generator.count(style.fast):,} parameters)",
        "steps": f"{style.steps}{ends}",
        "style size": f"{style.style_size} px",
        "bundle": style.bundle or "none recorded",
        "self-contained": "yes" if style.slow else "no",
        "slow tensors": style.slow_sha256,
        "format version": str(FORMAT_VERSION),
    }


def _check_version(name: str, path: Any, version: Any) -> None:
    if str(version) != str(FORMAT_VERSION):
        raise InputError(f"`{name}`: {path} has format_version {version}, this metastyle reads {FORMAT_VERSION}; update it")


def _check_shapes(name: str, path: Any, settings: Config, meta: dict[str, Flat]) -> None:
    expected = {p: s.shape for p, s in generator.shapes(settings.generator).items()}
    got = {p: x.shape for p, x in (meta["fast"] | meta["slow"]).items()}
    wrong = sorted(p for p in expected.keys() | got.keys() if expected.get(p) != got.get(p))
    if wrong:
        raise InputError(
            f"`{name}`: {path} does not fit its architecture {settings.generator.arch}: "
            f"expected {wrong[0]} of shape {expected.get(wrong[0])}, got {got.get(wrong[0])}; use one that does"
        )


def _split(tensors: Flat) -> dict[str, Flat]:
    parts: dict[str, Flat] = {"fast": {}, "slow": {}, "log_lr": {}}
    for name, x in sorted(tensors.items()):
        part, _, path = name.partition("/")
        parts.setdefault(part, {})[path] = np.asarray(x, np.float32)
    return parts


def _write(path: Path, tensors: Flat, metadata: dict[str, str]) -> None:
    data = save({name: np.ascontiguousarray(x) for name, x in tensors.items()}, metadata)
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def _read(name: str, path: Path) -> tuple[Flat, dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"`{name}`: expected a safetensors file, got {path}, which does not exist")
    try:
        with safe_open(path, "numpy") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"`{name}`: {path} is not a readable safetensors file ({error}); copy or make it again") from None
