"""What leaves a run: bundles (a meta-trained start) and style files (what an adaptation changed), as safetensors.

A bundle is a folder {config.json, params.safetensors} with tensors `fast/PATH`, `slow/PATH`, `log_lr/PATH`, and
`encoder/PATH` and `plain/PATH` (plain.py) where there are such. A style file holds `fast/PATH` alone, and in its
metadata which slow tensors it belongs to; a self-contained one holds `slow/PATH`, `plain/PATH` and the config as well.
Tensors may be stored as float16 (a style's are where that loses nothing); in memory they are float32, and hashes are of
float32. Both forms record the hash of all their tensors: damage, or a bundle's two files from two runs, is found out.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save

from metastyle.config import DEFAULT_BUNDLE, Config, from_dict
from metastyle.errors import InputError, one_line
from metastyle.meta.outer_loop import initial_meta
from metastyle.nets import style_encoder, vgg
from metastyle.nets.params import Flat, count_parameters
from metastyle.system.files import atomic, write
from metastyle.system.paths import ASSETS
from metastyle.system.tensor_file import read
from metastyle.weights import vgg_files

FORMAT_VERSION = 1
_KIND = "metastyle style"


@dataclass(frozen=True)
class Bundle:
    """A meta-trained start: `meta` as meta.initial_meta makes it; `adam_lr` is for steps beyond `inner.steps`.

    seen_before: photographs in the tasks of the runs whose bundle its own run started from. plain: the fast parameters
    that give the photograph back (plain.py), where they were made. network: `network_digest` of the loss network that
    its encoder reads styles by, "" where nobody knows.
    """

    config: Config
    meta: dict[str, Flat]
    adam_lr: float
    seen_before: int = 0
    path: Path | None = None
    plain: Flat | None = None
    network: str = ""

    @property
    def pictures_seen(self) -> int:
        """Photographs in the tasks of all of its meta-training."""
        run, inner, outer = self.config.run, self.config.inner, self.config.outer
        return self.seen_before + run.steps * outer.tasks * (inner.steps * inner.support + outer.query)

    @property
    def name(self) -> str:
        """What `load_bundle` finds it by; "" where it has no folder."""
        return DEFAULT_BUNDLE if self.path == locate(DEFAULT_BUNDLE) else str(self.path or "")

    @functools.cached_property
    def slow_sha256(self) -> str:
        """Identifies the slow tensors that a style file needs."""
        return sha256(self.meta["slow"])


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


def sha256(tensors: Flat) -> str:
    """Hex digest over sorted names, shapes and float32 values."""
    digest = hashlib.sha256()
    for name, x in sorted(tensors.items()):
        digest.update(f"{name}{tuple(x.shape)}".encode())
        digest.update(np.ascontiguousarray(x, "<f4").tobytes())
    return digest.hexdigest()


def save_bundle(folder: str | os.PathLike, bundle: Bundle, dtype: str = "float32") -> None:
    """Writes a bundle; each of its two files appears whole or not at all.

    dtype: "float16" rounds; "float32" keeps all tensors as they are, in float16 where nothing is lost by it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts = bundle.meta | ({"plain": bundle.plain} if bundle.plain else {})
    stored = {part: {path: np.asarray(x, dtype) for path, x in flat.items()} for part, flat in parts.items()}
    tensors = join(stored)
    text = {
        "format_version": FORMAT_VERSION,
        "adam_lr": bundle.adam_lr,
        "seen_before": bundle.seen_before,
        "network": bundle.network,
        "sha256": sha256(tensors),
        "slow_sha256": sha256(stored["slow"]),
        "config": dataclasses.asdict(bundle.config),
    }
    # Both are written before either is moved, and config.json is moved last: only a crash between the moves, over an
    # older bundle, leaves two files that don't belong together, and then the hash tells.
    with atomic(folder / "config.json") as config, atomic(folder / "params.safetensors") as params:
        config.write_text(json.dumps(text, indent=2) + "\n")
        params.write_bytes(save({n: _compact(x) for n, x in tensors.items()}, {"format_version": str(FORMAT_VERSION)}))


def locate(folder: str | os.PathLike) -> Path:
    """The folder of a bundle: itself, or for "default" that of the bundle in the package."""
    return ASSETS / "bundle" if folder == DEFAULT_BUNDLE else Path(folder)


def there(folder: str | os.PathLike) -> bool:
    """Whether a bundle is where `load_bundle` looks for it."""
    return (locate(folder) / "config.json").is_file()


def ship(folder: str | os.PathLike) -> list[Path]:
    """Makes a bundle the one in the package, in float16, and its loss network `slim`; returns the files.

    Whatever it was trained in, it computes in float32 there: CPUs gain nothing by less.

    Raises InputError or FileNotFoundError, before anything is written, for what is no bundle, or one whose encoder does
    not read its loss network.
    """
    out, bundle = locate(DEFAULT_BUNDLE), load_bundle(folder)
    network = bundle.config.vgg
    params = vgg_files.load(network)
    check_reads(bundle, params)
    computing = dataclasses.replace(bundle.config.generator, dtype="float32")
    settings = dataclasses.replace(bundle.config, generator=computing)
    bundle = dataclasses.replace(bundle, config=settings, network=network_digest(params))
    if network not in vgg_files.NAMES:
        with atomic(vgg_files.SLIM) as temporary:  # not straight: it may be that very file
            shutil.copyfile(network, temporary)
        bundle = dataclasses.replace(bundle, config=dataclasses.replace(bundle.config, vgg="slim"))
    save_bundle(out, bundle, "float16")
    return [*sorted(out.iterdir()), vgg_files.SLIM]


def load_bundle(folder: str | os.PathLike, name: str = "bundle") -> Bundle:
    """Reads and checks a bundle: a folder, or "default" for the one in the package.

    name: the argument that errors name. Raises FileNotFoundError or InputError, in one line, for what is not one.
    """
    folder = locate(folder)
    path = folder / "config.json"
    if not folder.is_dir():
        raise FileNotFoundError(f"`{name}`: expected a folder with config.json and params.safetensors, got {folder}")
    if not path.is_file():
        raise FileNotFoundError(f"`{name}`: {folder} has no config.json; expected the `bundle` folder of a run")
    with _parsing(name, path):
        text = json.loads(path.read_text())
        version = text["format_version"]
    _check_version(name, folder, version)
    with _parsing(name, path):
        settings, adam_lr, digest = from_dict(text["config"]), float(text["adam_lr"]), text["sha256"]
        seen_before, network = int(text.get("seen_before", 0)), str(text.get("network", ""))
    tensors, _ = _read(name, folder / "params.safetensors")
    _check_shapes(name, folder, settings, tensors)
    if sha256(tensors) != digest:
        raise InputError(
            f"`{name}`: the tensors in {folder} are not those that its config.json was written with; "
            "copy both files again, or delete the folder and train again"
        )
    parts = _split(tensors)
    plain = parts.pop("plain", None)
    return Bundle(settings, parts, adam_lr, seen_before, folder.resolve(), plain, network)


def started_from(workdir: str | os.PathLike, settings: Config) -> Bundle | None:
    """The bundle that a run starts from: the copy `start` in its folder, else `settings.start`; None for none.

    So a run that has begun goes on when that bundle is moved or made anew. Raises as `load_bundle`.
    """
    copy = Path(workdir) / "start"
    return load_bundle(copy if there(copy) else settings.start, "start") if settings.start else None


def check_reads(bundle: Bundle, params: vgg.Params, name: str = "vgg") -> None:
    """Raises InputError, naming that argument, when the encoder of a bundle doesn't read this loss network."""
    style_encoder.check(bundle.config, params, name)
    if "encoder" not in bundle.meta or not bundle.network:
        return
    found = network_digest(params)
    if found != bundle.network:
        raise InputError(
            f"`{name}`: expected the loss network that the encoder was trained with (sha256 {bundle.network[:12]}), "
            f"got another ({found[:12]}); `experiments.carry_over` fits a bundle to another"
        )


def own_network(bundle: Bundle) -> vgg.Params:
    """The loss network that a bundle was trained with, VGG-16 where its file is gone.

    Raises InputError or FileNotFoundError where that is not there, or the bundle's encoder does not read it.
    """
    params = vgg_files.load(vgg_files.recorded(bundle.config.vgg), "bundle")
    check_reads(bundle, params, "bundle")
    return params


def network_digest(params: vgg.Params) -> str:
    """Identifies a loss network by its numbers."""
    return sha256(join(params))


def save_style(path: str | os.PathLike, style: StyleFile) -> None:
    """Writes a style file, atomically. Raises InputError where it can't be written."""
    tensors = join({"fast": style.fast, "slow": style.slow or {}, "plain": style.plain or {}})
    facts = {name: getattr(style, name) for name in _FACTS} | {"sha256": sha256(tensors)}
    if style.config:
        facts["config"] = dataclasses.asdict(style.config)
    metadata = {"format_version": str(FORMAT_VERSION), "kind": _KIND}
    metadata |= {name: json.dumps(value) for name, value in facts.items()}
    write(path, save({name: _compact(x) for name, x in tensors.items()}, metadata))


def _compact(x: np.ndarray) -> np.ndarray:
    """In float16 where nothing is lost by it."""
    with np.errstate(over="ignore"):
        half = np.asarray(x, np.float16)
    return half if np.array_equal(half, x) else np.asarray(x)


def load_style(path: str | os.PathLike) -> StyleFile:
    """Reads and checks a style file. Raises FileNotFoundError or InputError, in one line, for what is not one."""
    tensors, metadata = _read("style_file", Path(path))
    if metadata.get("kind") != _KIND:
        raise InputError(f"`style_file`: {path} is a safetensors file but no style; make one with `metastyle adapt`")
    _check_version("style_file", path, metadata.get("format_version"))
    with _parsing("style_file", path):
        facts = {name: _fact(name, metadata[name], kind) for name, kind in _FACTS.items()}
        facts["history"] = tuple(map(float, facts["history"]))
        digest = json.loads(metadata["sha256"])
        settings = from_dict(json.loads(metadata["config"])) if "config" in metadata else None
    if settings:
        _check_shapes("style_file", path, settings, tensors, ("fast", "slow"))
    if sha256(tensors) != digest:
        raise InputError(f"`style_file`: the tensors in {path} are not those it was written with; copy it again")
    parts = _split(tensors)
    kept = {"slow": parts["slow"], "plain": parts.get("plain"), "config": settings} if settings else {}
    return StyleFile(parts["fast"], **kept, **facts)


def describe_bundle(folder: str | os.PathLike) -> dict[str, str]:
    """What `metastyle info` prints of a bundle."""
    start = load_bundle(folder)
    weights = start.meta.get("encoder", {})
    inner, rates = start.config.inner, np.exp(np.concatenate([x.ravel() for x in start.meta["log_lr"].values()]))
    return {
        "bundle": str(start.path),
        "meta-trained": f"{start.config.run.steps:,} steps of {start.config.outer.tasks} tasks",
        "photographs": f"{start.pictures_seen:,} seen",
        "architecture": start.config.generator.arch,
        "parameters": f"{count_parameters(start.meta['fast'] | start.meta['slow']):,}",
        "adapts": f"{inner.scope} ({count_parameters(start.meta['fast']):,} parameters)",
        "warm start": f"an encoder of {count_parameters(weights):,} parameters" if weights else "none",
        "strength": "any" if start.plain else "1 only: it has no plain parameters (experiments.plain makes them)",
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
        "architecture": style.arch,
        "adapted": f"{style.scope} ({count_parameters(style.fast):,} parameters)",
        "steps": f"{style.steps}{ends}",
        "style size": f"{style.style_size} px",
        "bundle": style.bundle or "none recorded",
        "self-contained": "yes" if style.config else "no",
        "style": style.sha256,
        "slow tensors": style.slow_sha256,
        "format version": str(FORMAT_VERSION),
    }


@contextlib.contextmanager
def _parsing(name: str, path: Any) -> Iterator[None]:
    """What a damaged text makes Python raise, as one line that names the file."""
    try:
        yield
    except (ValueError, TypeError, KeyError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else one_line(error)
        raise InputError(f"`{name}`: {path} is damaged or not metastyle's ({reason}); copy or make it again") from None


def _fact(name: str, text: str, kind: type) -> Any:
    value = json.loads(text)
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {text}")
    return value


def _check_version(name: str, path: Any, version: Any) -> None:
    if str(version) != str(FORMAT_VERSION):
        raise InputError(
            f"`{name}`: {path} has format_version {version}, expected {FORMAT_VERSION}; "
            "use the metastyle that wrote it, or a newer one"
        )


def _check_shapes(name: str, path: Any, settings: Config, tensors: Flat, parts: Collection[str] = ()) -> None:
    """InputError unless `tensors` are those of `settings`, or of these parts of them."""
    try:
        meta = jax.eval_shape(lambda: initial_meta(settings))
    except InputError as error:
        raise InputError(f"`{name}`: {path} has settings that make no network: {error}") from None
    wanted = {part: meta[part] for part in parts or meta}
    if any(n.startswith("plain/") for n in tensors):
        wanted["plain"] = meta["fast"]
    expected = {n: x.shape for n, x in join(wanted).items()}
    got = {n: x.shape for n, x in tensors.items()}
    wrong = sorted(n for n in expected.keys() | got.keys() if expected.get(n) != got.get(n))
    if wrong:
        raise InputError(
            f"`{name}`: {path} does not fit its own settings (architecture {settings.generator.arch}, fast parameters "
            f"{settings.inner.scope}): expected {_shape(wrong[0], expected)}, got {_shape(wrong[0], got)}; "
            "use tensors and settings of one run"
        )


def _shape(name: str, shapes: dict[str, tuple[int, ...]]) -> str:
    return f"{name} of shape {shapes[name]}" if name in shapes else f"no {name}"


def join(parts: dict[str, Any]) -> dict[str, Any]:
    """Tensors of parts, such as `fast` of a bundle or the layers of a loss network, by "PART/PATH"."""
    return {f"{part}/{path}": x for part, flat in parts.items() for path, x in flat.items()}


def _split(tensors: Flat) -> dict[str, Flat]:
    parts: dict[str, Flat] = {"fast": {}, "slow": {}, "log_lr": {}}
    for name, x in sorted(tensors.items()):
        part, _, path = name.partition("/")
        parts.setdefault(part, {})[path] = x
    return parts


def _read(name: str, path: Path) -> tuple[Flat, dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"`{name}`: expected a safetensors file, got {path}, which is not a file")
    return read(path, f"`{name}`: {path} is no readable safetensors file", "make it again")
