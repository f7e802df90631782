"""Writes files whole or not at all, finds the files that names and patterns stand for, and checks output files."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import functools
import glob
import io
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
from metastyle.system.arguments import check_path
from metastyle.system.standard_streams import STANDARD
from metastyle.system.walk import once as each_once
from metastyle.system.walk import walk


def stat_mode(path: str | os.PathLike, name: str) -> int | None:
    """The `st_mode` of the file or folder at `path`; None if nothing is there.

    Raises InputError, which names the argument `name`, if the path can't be used.
    """
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # a folder without permission, a name that is too long, a null byte
        raise _unusable(name, "use", path, error) from None


def is_file(path: str | os.PathLike, name: str) -> bool:
    """Whether there is a file, not a folder or a pipe, at `path`; InputError as `stat_mode`."""
    return stat.S_ISREG(stat_mode(path, name) or 0)


def is_folder(path: str | os.PathLike, name: str) -> bool:
    """Whether there is a folder at `path`; InputError as `stat_mode`."""
    return stat.S_ISDIR(stat_mode(path, name) or 0)


def open_input(path: str | os.PathLike, name: str, what: str = "file") -> io.BufferedReader:
    """Opens a file to read bytes from it.

    what: the kind of file that is expected.

    Raises:
      FileNotFoundError: nothing is there, which the message says of the argument `name`.
      InputError: it is a folder, a pipe or a device, or it can't be opened.
    """
    path = os.fspath(path)
    mode = stat_mode(path, name)
    if mode is None:
        raise FileNotFoundError(f"`{name}`: no such file: {path!r}{_broken_link(path)}")
    if stat.S_ISDIR(mode):
        raise InputError(f"`{name}`: expected a {what}, got the folder {path!r}; name one file in it")
    if not stat.S_ISREG(mode):
        raise InputError(f"`{name}`: expected a regular file, got {path!r}; save the {what} to a file first")
    try:
        return open(path, "rb")
    except OSError as error:
        raise _unusable(name, "read", path, error) from None


def read_input(path: str | os.PathLike, name: str) -> bytes:
    """The contents of a file; errors as `open_input`."""
    with open_input(path, name) as file, blaming(name):
        return file.read()


@contextlib.contextmanager
def blaming(name: str) -> Iterator[None]:
    """Turns what the system says of a file, in the block of a `with`, into an InputError that names the argument."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a message of our own
            raise
        raise _unusable(name, "use", error.filename2 or error.filename or "its files", error) from error


def _unusable(name: str, verb: str, path: str | os.PathLike, error: Exception) -> InputError:
    denied = isinstance(error, PermissionError)
    remedy = "choose another or change its permissions" if denied else "choose another"
    return InputError(f"`{name}`: cannot {verb} {os.fspath(path)!r}: {reason(error)}; {remedy}")


def check_new_folder(path: str | os.PathLike, name: str) -> None:
    """Raises InputError unless `make_folder` can make this folder after the work; nothing is made."""
    there = os.path.realpath(path)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    make_folder(there, name)


def make_folder(path: str | os.PathLike, name: str) -> None:
    """Makes a folder, and those around it, unless it is there; InputError if files can't be made in it."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        what, why = repr(os.fspath(path)), "it is a file" if isinstance(error, FileExistsError) else reason(error)
        raise InputError(f"`{name}`: cannot make the folder {what} ({why}); choose another") from None
    check_folder(path, name)


def _broken_link(path: str) -> str:
    return f", which is a link to {os.readlink(path)!r}" if os.path.islink(path) else ""


def expand(
    spec: str | os.PathLike | Sequence[str | os.PathLike],
    suffixes: Collection[str],
    name: str,
    left_out: list[str] | None = None,
    *,
    once: bool = True,
) -> list[str]:
    """Lists the files that names stand for, in the order of the names, each file once unless `once` is False.

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
    found: list[str] = []
    for item in [spec] if isinstance(spec, (str, os.PathLike)) else spec:
        item = os.fspath(item)
        found += [item] if item == STANDARD else _matches(item, suffixes, name, left_out)
    if not once:
        return found
    by_path: dict[str, str] = {}
    for file in found:
        by_path.setdefault(file if file == STANDARD else os.path.abspath(file), file)
    return list(by_path.values())


def is_there(name: str) -> bool:
    """Whether a name, as for `expand`, is that of a file, a folder or a broken link, or a pattern that matches any."""
    return os.path.lexists(name) or (glob.has_magic(name) and next(_glob(name, "pattern"), None) is not None)


def _matches(item: str, suffixes: Collection[str], name: str, left_out: list[str] | None) -> list[str]:
    mode = stat_mode(item, name)
    if mode is not None and not stat.S_ISDIR(mode):
        return [item]
    if mode is not None:
        matches, lacks = _listed(item, name), f"the folder {item!r} has no file"
    elif glob.has_magic(item):
        matches, lacks = list(_glob(item, name)), f"{item!r} matches no file"
    else:
        raise FileNotFoundError(f"`{name}`: no such file: {item!r}{_broken_link(item)}")
    visible = sorted(x for x in matches if not os.path.basename(x).startswith("."))
    files = [x for x in visible if os.path.splitext(x)[1].lower() in suffixes and os.path.isfile(x)]
    if left_out is not None:
        left_out += [x for x in visible if os.path.splitext(x)[1].lower() not in suffixes and os.path.isfile(x)]
        left_out += [f"{x}/" for x in visible if mode is not None and os.path.isdir(x)]
    if not files:
        raise InputError(f"`{name}`: {lacks} that ends in {' '.join(sorted(suffixes))}")
    return each_once(files, name)


def _glob(pattern: str, name: str) -> Iterator[str]:
    """The paths that a pattern matches, whose part that exists is taken literally; after ** only files."""
    head = pattern
    while head and not os.path.lexists(head):
        head = os.path.dirname(head)
    pattern = pattern[len(head) :]
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


def _listed(folder: str, name: str) -> list[str]:
    with blaming(name):
        return [os.path.join(folder, file) for file in os.listdir(folder)]


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
    check_path(name, path)
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
        remedy = "it is a file, so choose another" if os.path.exists(folder) else "create it first"
        raise FileNotFoundError(f"`{name}`: no such folder: {folder!r}, to write {path!r} in; {remedy}")
    check_folder(folder, name)


def check_folder(folder: str | os.PathLike, name: str) -> None:
    """Raises InputError unless files can be made in this folder, which exists."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            f"`{name}`: cannot write in the folder {os.fspath(folder)!r}; choose another or change its permissions"
        )


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or what caused it, is that no more can be written to a disk."""
    causes = (error, error.__cause__)
    return any(isinstance(x, OSError) and x.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) for x in causes)


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
