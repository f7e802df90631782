"""Random access to pictures: a folder, a prepared TensorFlow dataset (read without TensorFlow), or `procedural`."""

from __future__ import annotations

import io
import logging
import os
import re
import threading
import warnings
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Literal, Protocol

import numpy as np
from PIL import Image

from metastyle.data.procedural.source import ProceduralSource
from metastyle.errors import InputError
from metastyle.images import codec
from metastyle.images.resize import square
from metastyle.system import paths

MAX_UNREADABLE = 0.05

_log = logging.getLogger(__name__)


class Source(Protocol):
    """Pictures by index, each time the same; safe to read from several threads."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray:
        """uint8[H, W, 3]; InputError or OSError where the picture can't be read."""

    def name(self, index: int) -> str:
        """For people to read."""


def open_source(
    spec: str, kind: Literal["content", "style"], *, size: int, seed: int = 0, name: str | None = None
) -> Source:
    """The source that `spec` describes.

    Args:
      spec: `folder:PATH`; `tfds:NAME[:SPLIT]` or `tfds:PATH[:SPLIT]`, where NAME is looked up in `TFDS_DATA_DIR`, PATH
        is a folder with a `dataset_info.json`, and SPLIT is "train" unless given; or `procedural`. In a PATH, `~` and
        $VARIABLES are expanded, and `$METASTYLE_SAMPLE_DATA` has the default of `paths.sample_data`.
      kind: which pictures `procedural` draws.
      size: side of the pictures that `procedural` draws, px.
      seed: of `procedural`.
      name: the setting that errors name; `data.content` or `data.style` unless given.

    Raises:
      FileNotFoundError: no such folder, or no sample data.
      InputError: a spec of no such form, a folder without pictures, a dataset that can't be opened or that has no
        pictures.
    """
    name = name or f"data.{kind}"
    form, _, rest = spec.partition(":")
    if spec == "procedural":
        return ProceduralSource(kind, size, seed)
    if form == "folder" and rest:
        return FolderSource(_expand(rest, name), name)
    if form == "tfds" and rest:
        dataset, _, split = rest.partition(":")
        return TfdsSource(_expand(dataset, name), split or "train", name)
    raise InputError(f"`{name}`: expected `folder:PATH`, `tfds:NAME[:SPLIT]` or `procedural`, got {spec!r}")


def _expand(path: str, name: str) -> str:
    sample_data = r"\$(METASTYLE_SAMPLE_DATA\b|\{METASTYLE_SAMPLE_DATA\})"
    if re.search(sample_data, path) and not os.environ.get("METASTYLE_SAMPLE_DATA"):
        folder = paths.sample_data()
        if folder is None:
            raise FileNotFoundError(
                f"`{name}`: no sample data for {path!r}; set METASTYLE_SAMPLE_DATA to their folder, or use `procedural`"
            )
        path = re.sub(sample_data, lambda _: str(folder), path)
    return os.path.expanduser(os.path.expandvars(path))


class FolderSource:
    """The picture files under a folder, at any depth, sorted by path; hidden files and folders are left out."""

    def __init__(self, folder: str | os.PathLike, name: str = "folder"):
        """Raises FileNotFoundError if there is no such folder, InputError if there is no picture in it."""
        self._root, self._argument = Path(folder), name
        if not self._root.is_dir():
            raise FileNotFoundError(f"`{name}`: no such folder: {str(folder)!r}")
        self._names = sorted(_pictures(self._root))  # strings: a Path for each of a million would take hundreds of MB
        if not self._names:
            suffixes = " ".join(sorted(codec.IMAGE_SUFFIXES))
            raise InputError(f"`{name}`: expected pictures ({suffixes}) in the folder {str(folder)!r}, got none")

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> np.ndarray:
        return codec.to_uint8(codec.load(self.file(index), name=self._argument)[0])

    def file(self, index: int) -> Path:
        return self._root / self._names[index]

    def name(self, index: int) -> str:
        """The path inside the folder."""
        return self._names[index]


def _pictures(root: Path) -> Iterator[str]:
    """Paths inside `root`, with slashes."""
    for folder, inside, files in os.walk(root, followlinks=True):
        inside[:] = [name for name in inside if not name.startswith(".")]
        prefix = Path(folder).relative_to(root).as_posix()
        for file in files:
            if not file.startswith(".") and os.path.splitext(file)[1].lower() in codec.IMAGE_SUFFIXES:
                yield file if prefix == "." else f"{prefix}/{file}"


class TfdsSource:
    """The feature `image` of a split of a dataset prepared by TensorFlow Datasets as array_record.

    The stored bytes are decoded here as files are, so that a picture is the same in a folder and in a dataset of it.
    """

    def __init__(self, dataset: str, split: str = "train", name: str = "dataset"):
        """dataset: a name, or a folder with a `dataset_info.json`. Raises InputError if it can't be opened."""
        self._argument, self._label = name, f"{dataset}[{split}]"
        self._records, self._named = _open_tfds(dataset, split, name)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> np.ndarray:
        try:
            image = Image.open(io.BytesIO(self._records[index]["image"]))
            image.load()
        except Exception as error:  # RuntimeError from array_record, and from Pillow nearly anything
            raise InputError(f"`{self._argument}`: cannot decode {self.name(index)} ({_line(error)})") from error
        return codec.to_uint8(codec.load(image, name=self._argument)[0])

    def name(self, index: int) -> str:
        """The feature `name`, which `prepare` stores, where there is one; else the dataset and the index."""
        if self._named:
            try:
                return self._records[index]["name"].decode()
            except RuntimeError:  # the record is damaged
                pass
        return f"{self._label} {index}"


def _open_tfds(dataset: str, split: str, name: str) -> tuple:
    """The records of a dataset, with the pictures as bytes, and whether they have names."""
    try:
        tfds = import_tfds()
        if dataset[:1] in ("/", ".") or Path(dataset, "dataset_info.json").exists():
            builder = tfds.builder_from_directory(dataset)
        else:
            builder = tfds.builder(dataset, data_dir=os.environ.get("TFDS_DATA_DIR"))
        features = builder.info.features
        picture = features["image"] if "image" in features else None  # noqa: SIM401 no dict
        if isinstance(picture, tfds.features.Image) and picture.np_dtype in (np.uint8, np.uint16):
            records = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
            return records, "name" in features and isinstance(features["name"], tfds.features.Text)
    except Exception as error:  # TFDS raises anything from KeyError to NotImplementedError at what it can't open
        raise InputError(
            f"`{name}`: cannot open {dataset!r}, split {split!r}, with tensorflow-datasets ({_line(error)}); expected "
            'a dataset prepared with file_format="array_record", as experiments.prepare_data makes from a folder'
        ) from error
    raise InputError(f"`{name}`: expected a dataset with pictures in the feature `image`, got {dataset!r} without")


def import_tfds() -> ModuleType:
    """tensorflow_datasets, imported without its warnings; 0.5 s the first time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets
    return tensorflow_datasets


def _line(error: Exception) -> str:
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return (str(text).strip().splitlines() or [type(error).__name__])[0]


class Resilient:
    """`source`, where a picture that can't be read is replaced by the next one that can.

    What is at an index depends on the files alone, never on what was read before. Each picture left out is named once
    in the log and kept in `unreadable`, index -> reason. Thread-safe.
    """

    def __init__(self, source: Source, name: str):
        """name: the setting that errors name."""
        self._source, self._argument = source, name
        self._lock = threading.Lock()
        self.unreadable: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.read(index)[0]

    def name(self, index: int) -> str:
        return self._source.name(index)

    def read(self, index: int, avoid: Collection[int] = ()) -> tuple[np.ndarray, int]:
        """The picture at `index`, or the next that can be read and is not in `avoid`; and its index.

        Raises InputError where no picture is left, or more than `MAX_UNREADABLE` of the source can't be read.
        """
        following = ((index + k) % len(self) for k in range(1, len(self)))
        for i in chain([index], (i for i in following if i not in avoid)):
            if i not in self.unreadable:
                try:
                    return self._source[i], i
                except (InputError, OSError) as error:
                    self._leave_out(i, _line(error))
            self._check()
        raise InputError(f"`{self._argument}`: no picture is left to replace {self.name(index)}; add more pictures")

    def _leave_out(self, index: int, reason: str) -> None:
        with self._lock:
            if index not in self.unreadable:
                self.unreadable[index] = reason = reason.removeprefix(f"`{self._argument}`: ")
                _log.warning("left out %s: %s", self.name(index), reason)

    def _check(self) -> None:
        with self._lock:
            bad, total = len(self.unreadable), len(self)
            index, reason = next(iter(self.unreadable.items()))
        if bad > MAX_UNREADABLE * total:
            raise InputError(
                f"`{self._argument}`: more than {MAX_UNREADABLE:.0%} of the pictures can't be read: {bad} of {total}, "
                f"first {self.name(index)}: {reason}"
            )


def load_square(source: Source, index: int, size: int) -> np.ndarray:
    """Picture `index` of a source as a square f32[size, size, 3]: Lanczos to the short side, then the centre."""
    return square(codec.load(source[index])[0], size)
