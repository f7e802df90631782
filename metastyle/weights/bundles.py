"""Bundles on disk. A bundle is a meta-trained start: what a run of meta-training produces.

A bundle is a folder {config.json, params.safetensors} with tensors `fast/PATH`, `slow/PATH`, `log_lr/PATH`, and
perhaps `encoder/PATH` and `plain/PATH` (plain_parameters.py). Tensors may be stored as float16; in memory they are
float32, and hashes are of float32. config.json records the hash of all tensors, which reveals damage and files of
different runs.
"""

import functools
import json
import os
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metastyle.config import DEFAULT_BUNDLE, Config, from_dict, to_dict
from metastyle.errors import InputError, shown
from metastyle.meta.parameters import Meta
from metastyle.nets.params import Flat
from metastyle.system.content import ByContent
from metastyle.system.files import atomic, is_file, is_folder, read_input
from metastyle.system.paths import ASSETS
from metastyle.system.tensor_file import compact, join, sha256, to_bytes
from metastyle.weights.format import FORMAT_VERSION, check_shapes, check_version, parsing, read_tensors, split


@dataclass(frozen=True, eq=False, repr=False)
class Bundle(ByContent):
    """A meta-trained start, as numpy arrays with its settings. Two are equal if all but their folders are."""

    config: Config
    meta: Meta
    adam_lr: float  # of steps beyond `inner.steps`
    seen_before: int = 0  # photographs in the tasks of the runs whose bundle its own run started from
    path: Path | None = None
    plain: Flat | None = None  # the fast parameters that give the photograph back (plain_parameters.py), if it has them
    network_sha256: str = ""  # `loss_network.digest` of the network that its encoder reads styles by, "" if unknown

    @property
    def pictures_seen(self) -> int:
        """The number of photographs in the tasks of all its meta-training."""
        run, inner, outer = self.config.run, self.config.inner, self.config.outer
        return self.seen_before + run.steps * outer.tasks * (inner.steps * inner.support + outer.query)

    @property
    def name(self) -> str:
        """The name under which `load_bundle` finds it; "" if it has no folder."""
        return DEFAULT_BUNDLE if self.path == locate(DEFAULT_BUNDLE) else str(self.path or "")

    @functools.cached_property
    def slow_sha256(self) -> str:
        """The hash of the slow tensors, which a style file of this bundle needs."""
        return sha256(self.meta.slow)

    @functools.cached_property
    def content(self) -> Hashable:
        tensors = sha256(join(self.parts()))
        return tensors, self.config, self.adam_lr, self.seen_before, self.network_sha256

    def describe(self) -> str:
        return f"{self.name!r}, {self.config.generator.arch}, {self.config.inner.steps} learned steps"

    def parts(self) -> dict[str, Flat]:
        """Its tensors by part, as its file holds them."""
        return self.meta.parts() | ({"plain": self.plain} if self.plain else {})


def save_bundle(folder: str | os.PathLike, bundle: Bundle, dtype: str = "float32") -> None:
    """Writes a bundle; each of its two files appears whole or not at all.

    dtype: "float16" rounds all tensors; "float32" stores only those as float16 that lose nothing by it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored = {part: {path: np.asarray(x, dtype) for path, x in flat.items()} for part, flat in bundle.parts().items()}
    tensors = join(stored)
    text = {
        "format_version": FORMAT_VERSION,
        "adam_lr": bundle.adam_lr,
        "seen_before": bundle.seen_before,
        "network": bundle.network_sha256,
        "sha256": sha256(tensors),
        "slow_sha256": sha256(stored["slow"]),
        "config": to_dict(bundle.config),
    }
    # Both files are written before either is moved, and config.json is moved last. Only a crash between the moves, over
    # an older bundle, leaves two files that don't belong together, and then the hash reveals it.
    with atomic(folder / "config.json") as config, atomic(folder / "params.safetensors") as params:
        config.write_text(json.dumps(text, indent=2) + "\n")
        contents = {name: compact(x) for name, x in tensors.items()}
        params.write_bytes(to_bytes(contents, {"format_version": str(FORMAT_VERSION)}))


def locate(folder: str | os.PathLike) -> Path:
    """Returns the folder of a bundle; "default" names the bundle in the package."""
    return ASSETS / "bundle" if folder == DEFAULT_BUNDLE else Path(folder)


def exists(folder: str | os.PathLike) -> bool:
    """Whether `load_bundle` would find a bundle in this folder."""
    return os.path.isfile(locate(folder) / "config.json")


def load_bundle(folder: str | os.PathLike, name: str = "bundle") -> Bundle:
    """Reads and checks a bundle: a folder, or "default" for the one in the package.

    name: the argument that errors name. Raises FileNotFoundError or InputError if the folder holds no sound bundle.
    """
    folder = locate(folder)
    path = folder / "config.json"
    if not is_folder(folder, name):
        raise FileNotFoundError(
            f"`{name}`: expected a folder with config.json and params.safetensors, got {shown(folder)}"
        )
    if not is_file(path, name):
        raise FileNotFoundError(f"`{name}`: {shown(folder)} has no config.json; expected the `bundle` folder of a run")
    data = read_input(path, name)
    with parsing(name, path):
        text = json.loads(data.decode())
        version = text["format_version"]
    check_version(name, folder, version)
    with parsing(name, path):
        settings, adam_lr, digest = from_dict(text["config"]), float(text["adam_lr"]), text["sha256"]
        seen_before, network = int(text.get("seen_before", 0)), str(text.get("network", ""))
    tensors, _ = read_tensors(name, folder / "params.safetensors")
    check_shapes(name, folder, settings, tensors)
    if sha256(tensors) != digest:
        raise InputError(
            f"`{name}`: the tensors in {shown(folder)} are not those that its config.json was written with; "
            "copy both files again, or delete the folder and train again"
        )
    parts = split(tensors)
    plain = parts.pop("plain", None)
    return Bundle(settings, Meta(**parts), adam_lr, seen_before, folder.resolve(), plain, network)


def load_start(workdir: str | os.PathLike, settings: Config) -> Bundle | None:
    """Loads the bundle that a run starts from, if its settings name one; else returns None.

    The copy `start` in the folder of the run is preferred to `settings.start`: a run that has begun can then continue
    after that bundle was moved or replaced. Raises as `load_bundle`.
    """
    copy = Path(workdir) / "start"
    return load_bundle(copy if exists(copy) else settings.start, "start") if settings.start else None
