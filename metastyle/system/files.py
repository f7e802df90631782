"""Writes files whole or not at all, finds the files that names and patterns stand for, and checks output files."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import glob
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from metastyle.errors import InputError, reason
from metastyle.system import signals
from metastyle.system.walk import once, walk


def stat_mode(path: str, name: str) -> int | None:
    """The `st_mode` of the file or folder at `path`; None if nothing is there.

    Raises InputError, which names the argument `name`, if the path can't be used.
    """
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # a folder without permission, a name that is too long, a null byte
        raise InputError(f"`{name}`: cannot use {path!r}: {reason(error)}") from None


def expand(
    spec: str | os.PathLike | Sequence[str | os.PathLike],
    suffixes: Collection[str],
    name: str,
    left_out: list[str] | None = None,
) -> list[str]:
    """Lists the files that names stand for, in the order of the names, each file once.

    The name of an existing file stands for that file, whatever characters it has. A folder stands for the files in it,
    and a pattern, such as `photos/*.jpg` or `photos/**`, for the files that it matches, at any depth with `**`; both
    are sorted, and only files that end in one of `suffixes` (in either case) and are not hidden count. The part of a
    pattern that exists is taken literally: `a[1]/*` looks into the folder `a[1]` if there is one. "-", the standard
    input, stays as it is.

    left_out: gets the files that are not hidden and have other suffixes, and the folders, with a slash at their end,
      that are in a folder which is named.

    Raises:
      FileNotFoundError: a name that is no pattern stands for no file or folder.
      InputError: a folder or a pattern stands for no file.
    """
    found: dict[str, str] = {}  # by absolute path
    for item in [spec] if isinstance(spec, (str, os.PathLike)) else spec:
        item = os.fspath(item)
        for file in [item] if item == "-" else _matches(item, suffixes, name, left_out):
            found.setdefault("-" if file == "-" else os.path.abspath(file), file)
    return list(found.values())


def _matches(item: str, suffixes: Collection[str], name: str, left_out: list[str] | None) -> list[str]:
    mode = stat_mode(item, name)
    if mode is not None and not stat.S_ISDIR(mode):
        return [item]
    if mode is not None:
        matches, lacks = [os.path.join(item, file) for file in os.listdir(item)], f"the folder {item!r} has no file"
    elif glob.has_magic(item):
        head = item
        while head and not os.path.lexists(head):
            head = os.path.dirname(head)
        matches, lacks = list(_glob(head, item[len(head) :], name)), f"{item!r} matches no file"
    else:
        raise FileNotFoundError(f"`{name}`: no such file: {item!r}")
    shown = sorted(x for x in matches if not os.path.basename(x).startswith("."))
    files = [x for x in shown if os.path.splitext(x)[1].lower() in suffixes and os.path.isfile(x)]
    if left_out is not None:
        left_out += [x for x in shown if os.path.splitext(x)[1].lower() not in suffixes and os.path.isfile(x)]
        left_out += [f"{x}/" for x in shown if mode is not None and os.path.isdir(x)]
    if not files:
        raise InputError(f"`{name}`: {lacks} that ends in {' '.join(sorted(suffixes))}")
    return once(files, name)


def _glob(head: str, pattern: str, name: str) -> Iterator[str]:
    """The paths that `head`, taken literally, and a pattern match; after ** only files."""
    before, *after = re.split(r"(?<![^/])\*\*(?![^/])", pattern, maxsplit=1)
    start = glob.escape(head) + before
    if not after:
        yield from glob.glob(start)
        return
    for folder in glob.glob(start) if start else [""]:
        for inside in walk(folder or ".", lambda file: True, name):
            if _fits(inside.split("/"), ["**", *after[0].split("/")[1:]]):
                yield os.path.join(folder, inside)


def _fits(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path match those of a pattern, where ** stands for any number of parts."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_fits(path[k:], pattern[1:]) for k in range(len(path) + 1))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and _fits(path[1:], pattern[1:])


def check_output(
    path: str | os.PathLike,
    *,
    suffixes: Collection[str],
    name: str = "output",
    inputs: Collection[object] = (),
) -> None:
    """Checks before the work that a file can be written to `path` after it, and replaces none of `inputs`.

    Args:
      suffixes: those that the file may have, in either case.
      name: the argument that errors name.
      inputs: what the work reads; only those that are paths count.

    Raises:
      FileNotFoundError: the folder of `path` does not exist.
      InputError: `path` is a folder or one of `inputs`, has another suffix, or its folder is read-only.
    """
    path = os.fspath(path)
    if any(isinstance(x, (str, os.PathLike)) and same_file(x, path) for x in inputs):
        raise InputError(f"`{name}`: {path!r} is a picture to work from, which would be lost; choose another name")
    mode = stat_mode(path, name)
    if mode is not None and stat.S_ISDIR(mode):
        raise InputError(f"`{name}`: expected a file to write, got the folder {path!r}; add a file name")
    if Path(path).suffix.lower() not in suffixes:
        raise InputError(f"`{name}`: expected a name that ends in {' '.join(sorted(suffixes))}, got {path!r}")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"`{name}`: no such folder: {folder!r}, to write {path!r} in; create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"`{name}`: cannot write in the folder {folder!r}; choose another or change its permissions")


def same_file(a: str | os.PathLike, b: str | os.PathLike) -> bool:
    """Whether two names stand for one file. The file need not exist."""
    return os.path.realpath(a) == os.path.realpath(b)


def write(path: str | os.PathLike, data: bytes, *, name: str = "out") -> None:
    """Writes a file whole or not at all; InputError, which names the argument `name`, if it can't be written."""
    try:
        with atomic(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        what = repr(os.fspath(path))
        raise InputError(f"`{name}`: cannot write {what} ({reason(error)}); the disk may be full") from error


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Lets the block of a `with` write a file that replaces `path` at once, at the end of the block.

        with atomic(path) as temporary:
            temporary.write_bytes(data)

    `temporary` is in the same folder and has the same suffix. If `path` is a symbolic link, the file that it leads to
    is replaced. If the block raises, or a signal ends the process in it, `path` stays as it was and `temporary` is
    removed.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{secrets.token_hex(8)}{Path(path).suffix}")
    remove = functools.partial(temporary.unlink, missing_ok=True)
    with signals.at_end(remove):
        try:
            yield temporary
            os.replace(temporary, target)
        finally:
            remove()


@contextlib.contextmanager
def temporary_folder(inside: str | os.PathLike | None = None) -> Iterator[Path]:
    """Makes a folder for the block of a `with`, hidden in the folder `inside` or where temporary files go.

    It is removed after the block, and if a signal ends the process in it.
    """
    folder = Path(inside or tempfile.gettempdir(), f".metastyle-{secrets.token_hex(8)}")
    remove = functools.partial(shutil.rmtree, folder, ignore_errors=True)
    with signals.at_end(remove):
        try:
            folder.mkdir(0o777 if inside else 0o700)
            yield folder
        finally:
            remove()
