"""The files under a folder, through links too: each real file once, however many ways lead to it."""

import os
import posixpath
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

from metastyle.errors import Adjusted, reason


class _Place(NamedTuple):
    inside: str  # a path inside the root, with slashes; "" is the root
    real: str  # the same place, by a path without links


def walk(root: str | os.PathLike, wanted: Callable[[str], bool], name: str) -> list[str]:
    """The paths inside `root`, with slashes, of the files under it whose names are `wanted`; sorted.

    Hidden files and folders (.name) are left out. Links are followed after all else, in the order of their paths, so a
    file that can be reached without a link has that path, and one behind several links the first of theirs. Links to
    what is there already, such as one that leads back to a folder above it, are left out; a warning (errors.Adjusted)
    counts them and names the first. So does one for each folder that can't be listed. A link to nothing is kept: it is
    for whoever reads the files to name it.

    name: the argument that warnings name.
    """
    walked = _Walk(root, wanted, name)
    links = [_Place("", os.path.realpath(root))]
    while links:
        links.sort()
        first, *links = links
        links += walked.read(first)
    return walked.files()


def once(paths: Sequence[str], name: str) -> list[str]:
    """Those of the sorted paths that lead to different files; of several to one file, one without links if there is."""
    kept = dict[str, str]()
    for path in sorted(paths, key=lambda path: os.path.realpath(path) != os.path.abspath(path)):
        kept.setdefault(os.path.realpath(path), path)
    left_out = sorted(set(paths) - set(kept.values()))
    if left_out:
        _warn_of_links(left_out, name)
    return sorted(kept.values())


def _warn_of_links(left_out: Sequence[str], name: str) -> None:
    message = f"`{name}`: links to what is there already are left out: {len(left_out)}, such as {left_out[0]}"
    warnings.warn(message, Adjusted, stacklevel=4)


class _Walk:
    """What a walk has found so far."""

    def __init__(self, root: str | os.PathLike, wanted: Callable[[str], bool], name: str):
        self._root, self._wanted, self._name = os.fspath(root), wanted, name
        self._seen = set[str]()  # the real paths of folders
        self._files: list[str] = []
        self._linked: list[_Place] = []  # files that are links
        self._left_out: list[str] = []  # links

    def read(self, start: _Place) -> list[_Place]:
        """Reads a folder, and those in it that are no links; returns the links to folders."""
        if start.real in self._seen:
            self._left_out.append(start.inside)
            return []
        links, waiting = list[_Place](), [start]
        while waiting:
            folder = waiting.pop()
            if folder.real in self._seen:  # a link has led to a folder above one that was read before
                continue
            self._seen.add(folder.real)
            for entry in self._entries(folder):
                place = _Place(posixpath.join(folder.inside, entry.name), os.path.join(folder.real, entry.name))
                if entry.is_symlink():
                    place = place._replace(real=os.path.realpath(place.real))
                if _is_folder(entry):
                    (links if entry.is_symlink() else waiting).append(place)
                elif not self._wanted(entry.name):
                    continue
                elif entry.is_symlink():
                    self._linked.append(place)
                elif entry.is_file():
                    self._files.append(place.inside)
        return links

    def _entries(self, folder: _Place) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder.real) as entries:
                return [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            shown = os.path.join(self._root, folder.inside)
            message = f"`{self._name}`: left out the folder {shown} ({reason(error)})"
            warnings.warn(message, Adjusted, stacklevel=4)
            return []

    def files(self) -> list[str]:
        """All files; a link only if its file has not been found otherwise."""
        kept = dict[str, str]()
        for place in sorted(self._linked):
            if place.real in kept or self._has(place.real):
                self._left_out.append(place.inside)
            else:
                kept[place.real] = place.inside
        if self._left_out:
            _warn_of_links([os.path.join(self._root, inside) for inside in sorted(self._left_out)], self._name)
        return sorted([*self._files, *kept.values()])

    def _has(self, real: str) -> bool:
        folder, file = os.path.split(real)
        return folder in self._seen and not file.startswith(".") and self._wanted(file) and os.path.isfile(real)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
