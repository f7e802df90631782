"""Outputs that other programs made: the pairs of an evaluation are written for them, and their pictures are judged.

Pair 7 is content/007.png in style/007.png, and its output is 007.png in a folder of the method's own.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from metastyle.config import Evaluation
from metastyle.errors import InputError
from metastyle.evaluate.methods import Method, View
from metastyle.evaluate.pairs import Pair, pairs_of
from metastyle.images import codec
from metastyle.system import files


def parse(text: str) -> tuple[str, str]:
    """The name and the folder in NAME=DIR, as the flag --outputs has it. Raises InputError for anything else."""
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise InputError(f"`outputs`: expected NAME=DIR, got {text!r}; name the method and the folder of its pictures")
    return name, folder


def write_pairs(settings: Evaluation, folder: str | Path) -> int:
    """Writes the pictures of every pair as PNG, content/NNN.png and style/NNN.png; returns the number of pairs.

    Raises InputError or FileNotFoundError for settings or a folder that can't be used.
    """
    pairs = pairs_of(settings)
    left, _ = pairs.readable()
    for side in ("content", "style"):
        files.make_folder(Path(folder, side), "write_pairs")
    for i in left:
        codec.save(_file(Path(folder, "content"), i), pairs[i].content)
        codec.save(_file(Path(folder, "style"), i), pairs[i].style)
    return len(left)


def judged_as(name: str, folder: str, settings: Evaluation) -> Method:
    """The pictures in a folder as a method, on the pairs that it has pictures of.

    Raises FileNotFoundError where it has none, and InputError for a picture of another size than the pairs.
    """
    files_of_pairs = {i: _file(Path(folder), i) for i in range(settings.pairs)}
    found = {i: path for i, path in files_of_pairs.items() if path.is_file()}
    if not found:
        raise FileNotFoundError(
            f"`outputs.{name}`: expected pictures of the pairs, the first of them {files_of_pairs[0]}, got none; "
            "--write_pairs=DIR writes what they are made from"
        )
    for path in found.values():
        height, width = _read(path).shape[:2]
        if (height, width) != (settings.size, settings.size):
            raise InputError(
                f"`outputs.{name}`: expected pictures of {settings.size} x {settings.size} px as --write_pairs writes "
                f"them, got {width} x {height} in {path}"
            )

    def views(pair: Pair) -> Iterator[View]:
        yield View(0, _read(found[pair.number]))

    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in found.values())).hexdigest()
    return Method(name, "pictures", digest, 0.0, views, f"the pictures in {Path(folder).name}", only=frozenset(found))


def _file(folder: Path, pair: int) -> Path:
    return folder / f"{pair:03d}.png"


def _read(path: Path) -> np.ndarray:
    return codec.load(str(path), name="outputs")[0]
