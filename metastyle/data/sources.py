"""Random access to pictures: of a folder, of a prepared TensorFlow dataset (read without TensorFlow), or synthetic."""

from __future__ import annotations

import csv
import fnmatch
import hashlib
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Collection, Iterable
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from metastyle.data.procedural.source import ProceduralSource
from metastyle.errors import InputError
from metastyle.images import codec, formats
from metastyle.images.resize import square
from metastyle.system import paths
from metastyle.system.files import is_folder, read_input
from metastyle.system.walk import walk

_CSV = re.compile(r"(.+?):([^:=]+)=([^:]*)(?::([^:]*))?")
MAX_UNREADABLE = 0.05  # the largest share of pictures that may be unreadable

_log = logging.getLogger(__name__)


Kind = Literal["content", "style"]  # of pictures: photographs, or pictures of styles


class Source(Protocol):
    """Pictures by index. An index always gives the same picture, and several threads may read at once."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray:
        """Reads a picture uint8[H, W, 3]; InputError or OSError if it can't be read."""
        ...

    def name(self, index: int) -> str:
        """Names a picture for people."""
        ...


def open_source(spec: str, kind: Kind, *, size: int, seed: int = 0, name: str | None = None) -> Source:
    """Opens the source that `spec` describes.

    Args:
      spec: `folder:PATH`, `csv:PATH:COLUMN=PATTERN[:PATTERN]`, `tfds:NAME[:SPLIT]`, `tfds:PATH[:SPLIT]` or
        `procedural`. NAME is looked up in `TFDS_DATA_DIR`, PATH of `tfds` is a folder with a `dataset_info.json`, and
        SPLIT is "train" by default. PATH of `csv` is a table (`CsvSource`). In a PATH, `~` and $VARIABLES are expanded;
        `$METASTYLE_SAMPLE_DATA` defaults to the folder of `paths.sample_data`.
      kind: which pictures `procedural` draws.
      size: side of the pictures that `procedural` draws, px.
      seed: that of `procedural`.
      name: the setting that errors name; by default `data.content` or `data.style`.

    Raises:
      FileNotFoundError: the folder, or the sample data, does not exist.
      InputError: `spec` has another form, the folder or the dataset has no pictures, or the dataset can't be opened.
    """
    name = name or f"data.{kind}"
    form, _, rest = spec.partition(":")
    if spec == "procedural":
        return ProceduralSource(kind, size, seed)
    if form == "folder" and rest:
        return FolderSource(_expand(rest, name), name)
    if form == "csv" and rest:
        return CsvSource(_expand(rest, name), name)
    if form == "tfds" and rest:
        dataset, _, split = rest.partition(":")
        return TfdsSource(_expand(dataset, name), split or "train", name)
    raise InputError(
        f"`{name}`: expected `folder:PATH`, `csv:PATH:COLUMN=PATTERN`, `tfds:NAME[:SPLIT]` or `procedural`, "
        f"got {spec!r}"
    )


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


class Listing(NamedTuple):
    """What tells whether the files of a source have changed, without reading them."""

    files: int
    sha256: str  # of their names and sizes


def _listing(files: Iterable[tuple[str, int]]) -> Listing:
    found, count = hashlib.sha256(), 0
    for count, (name, size) in enumerate(files, 1):  # noqa: B007  (the last is their number)
        found.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
    return Listing(count, found.hexdigest())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a link to nothing
        return -1


class FileSource:
    """Picture files with names relative to a folder."""

    _root: Path
    _argument: str
    _names: list[str]

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> np.ndarray:
        return codec.to_uint8(codec.load(self.file(index), name=self._argument)[0])

    def file(self, index: int) -> Path:
        """The path of a picture."""
        return self._root / self._names[index]

    def name(self, index: int) -> str:
        """The path of a picture inside the folder."""
        return self._names[index]

    def listing(self) -> Listing:
        """The names and sizes of the pictures."""
        return _listing((name, _size(self._root / name)) for name in self._names)


class FolderSource(FileSource):
    """The picture files under a folder, at any depth, sorted by path; links are followed (system/walk.py).

    Files that are not read are named in the log, in one line.
    """

    def __init__(self, folder: str | os.PathLike, name: str = "folder"):
        """Raises FileNotFoundError if the folder does not exist, InputError if it has no pictures."""
        self._root, self._argument = Path(folder), name
        if not is_folder(folder, name):
            raise FileNotFoundError(f"`{name}`: no such folder: {str(folder)!r}")
        others: list[str] = []
        self._names = walk(self._root, _chooser(others), name)  # strings: a million Paths would take hundreds of MB
        told = formats.left_out(others)
        if not self._names:
            suffixes = " ".join(sorted(formats.suffixes()))
            rest = f"got none; {told}" if told else "got none"
            raise InputError(f"`{name}`: expected pictures ({suffixes}) in the folder {str(folder)!r}, {rest}")
        if told:
            _log.warning("`%s`: %s", name, told)


class CsvSource(FileSource):
    """The picture files that a table names in its column `path`, relative to the table's folder, sorted by path.

    spec: PATH:COLUMN=PATTERN takes the rows whose value in a column fits a pattern of `fnmatch`, such as Ukiyo_e/*;
    with :PATTERN behind it, `path` must fit that as well.
    """

    def __init__(self, spec: str, name: str = "csv"):
        """Raises FileNotFoundError if the table does not exist, InputError if it has no such column or no such row."""
        match = _CSV.fullmatch(spec)
        if match is None:
            raise InputError(f"`{name}`: expected `csv:PATH:COLUMN=PATTERN[:PATTERN]`, got 'csv:{spec}'")
        table, column, pattern, where = match.groups()
        self._root, self._argument = Path(table).parent, name
        try:
            rows = list(csv.DictReader(read_input(table, name).decode().splitlines()))
        except UnicodeDecodeError:
            raise InputError(f"`{name}`: expected a table of comma-separated values, got {table!r}") from None
        for needed in ("path", column):
            if rows and needed not in rows[0]:
                raise InputError(f"`{name}`: expected a column {needed!r} in {table!r}, got {', '.join(rows[0])}")
        wanted = ((column, pattern), ("path", where or "*"))
        fits = lambda row: all(fnmatch.fnmatchcase(row[name] or "", glob) for name, glob in wanted)
        self._names = sorted(row["path"] for row in rows if fits(row))
        if not self._names:
            raise InputError(f"`{name}`: expected rows of {table!r} whose {column} fits {pattern!r}, got none")


def _chooser(others: list[str]) -> Callable[[str], bool]:
    """Whether a file with this name is taken for a picture; `others` gets the names of those that are not."""
    suffixes = formats.suffixes()

    def is_picture(file: str) -> bool:
        if os.path.splitext(file)[1].lower() in suffixes:
            return True
        others.append(file)
        return False

    return is_picture


class TfdsSource:
    """The feature `image` of a split of a dataset that TensorFlow Datasets prepared as array_record.

    The stored bytes are decoded as files are, so that a picture is the same in a folder and in a dataset made from it.
    """

    def __init__(self, dataset: str, split: str = "train", name: str = "dataset"):
        """dataset: a name, or a folder with a `dataset_info.json`. Raises InputError if it can't be opened."""
        self._argument, self._label = name, f"{dataset}[{split}]"
        self._records, self._named, self._folder = _open_tfds(dataset, split, name)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> np.ndarray:
        try:
            stored = self._records[index]["image"]
            return codec.to_uint8(codec.load(stored, name=self._argument)[0])
        except (InputError, RuntimeError) as error:  # array_record raises RuntimeError for a damaged record
            raise InputError(f"`{self._argument}`: cannot decode {self.name(index)} ({_first_line(error)})") from error

    def name(self, index: int) -> str:
        """The feature `name`, which `prepare` stores, if there is one; else the dataset and the index."""
        if self._named:
            try:
                return self._records[index]["name"].decode()
            except RuntimeError:  # the record is damaged
                pass
        return f"{self._label} {index}"

    def listing(self) -> Listing:
        """The names and sizes of the dataset's files, and what describes them: files of records have few sizes."""
        files = sorted(path for path in self._folder.iterdir() if path.is_file())
        described = [path.read_text() if path.suffix == ".json" else path.name for path in files]
        return _listing(zip(described, map(_size, files), strict=True))


def _open_tfds(dataset: str, split: str, name: str) -> tuple[Any, bool, Path]:
    """The records of a dataset, with the pictures as bytes; whether they have names; and the folder of its files."""
    try:
        tfds = import_tfds()
        if dataset[:1] in ("/", ".") or Path(dataset, "dataset_info.json").exists():
            builder = tfds.builder_from_directory(dataset)
        else:
            builder = tfds.builder(dataset, data_dir=os.environ.get("TFDS_DATA_DIR"))
        features: Any = builder.info.features
        picture = features["image"] if "image" in features else None  # noqa: SIM401 no dict
        if (
            picture is not None
            and isinstance(picture, tfds.features.Image)
            and picture.np_dtype in (np.uint8, np.uint16)
        ):
            records = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
            named = "name" in features and isinstance(features["name"], tfds.features.Text)
            return records, named, Path(builder.data_dir)
    except Exception as error:  # TFDS raises anything from KeyError to NotImplementedError
        raise InputError(
            f"`{name}`: cannot open {dataset!r}, split {split!r}, with tensorflow-datasets ({_first_line(error)}); "
            'expected a dataset prepared with file_format="array_record"; experiments.prepare_data makes one'
        ) from error
    raise InputError(f"`{name}`: expected a dataset with pictures in the feature `image`, got {dataset!r} without")


def import_tfds() -> ModuleType:
    """Imports tensorflow_datasets without its warnings, which takes 0.5 s the first time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets
    return tensorflow_datasets


def _first_line(error: Exception) -> str:
    """The first line of an error: those of TFDS go on for many."""
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return (str(text).strip().splitlines() or [type(error).__name__])[0]


class Resilient:
    """A source whose unreadable pictures are replaced: each by the next picture that can be read.

    The picture at an index depends on the files alone, never on what was read before. Each unreadable picture is named
    once in the log; `unreadable` maps its index to the reason. Several threads may read at once.
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
        """Reads the picture at `index`, or the next that can be read and is not in `avoid`; returns it and its index.

        Raises InputError if no picture is left, or more than a share `MAX_UNREADABLE` of the source can't be read.
        """
        following = ((index + k) % len(self) for k in range(1, len(self)))
        for i in chain([index], (i for i in following if i not in avoid)):
            if i not in self.unreadable:
                try:
                    return self._source[i], i
                except (InputError, OSError) as error:
                    self._leave_out(i, _first_line(error))
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
    """Reads a picture of a source as a square f32[size, size, 3]: resizes its shorter side and crops its centre."""
    return square(codec.load(source[index])[0], size)
