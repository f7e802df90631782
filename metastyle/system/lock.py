"""One process at a time works on an output: the second is told who does, and the end of the first frees it."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from metastyle.errors import Adjusted, InUse, reason
from metastyle.system import signals

_TAKEN = (errno.EACCES, errno.EAGAIN)


def of_folder(folder: str | os.PathLike, name: str, part: str = "") -> contextlib.AbstractContextManager[None]:
    """`only_one` for what is written into a folder, or for a part of it that one process writes."""
    return only_one(Path(folder, f".lock{part}"), folder, name)


def beside(output: str | os.PathLike, name: str = "out") -> contextlib.AbstractContextManager[None]:
    """`only_one` for a file, or for a folder that is replaced as a whole."""
    path = Path(os.path.realpath(output))
    return only_one(path.with_name(f".{path.name}.lock"), output, name)


@contextlib.contextmanager
def only_one(path: Path, output: str | os.PathLike, name: str) -> Iterator[None]:
    """Holds the lock of an output, the file `path`, for the block of a `with`.

    The system frees the lock when the process ends in whatever way, on this host or, on a network file system, on
    another one. The file is removed after the block; one that a killed process has left is no obstacle. Where the file
    system has no locks, a warning (errors.Adjusted) says so; where the file can't be made, the work itself will fail.

    name: the argument that errors name.

    Raises InUse, with the owner's host and process, if another process holds the lock.
    """
    try:
        file = _take(path)
    except BlockingIOError:
        raise InUse(
            f"`{name}`: {os.fspath(output)} is being written by {_owner(path)}; wait for its end, or use another"
        ) from None
    except OSError as error:
        warnings.warn(f"`{name}`: cannot lock {path} ({reason(error)}); start only one process", Adjusted, stacklevel=3)
        file = None
    if file is None:
        yield
        return
    with file, signals.at_end(path.unlink):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # before the lock is free: whoever comes next makes a new file


def _take(path: Path) -> IO[str] | None:
    """The locked file at `path`, with this process's name in it; None if it can't be made.

    Raises BlockingIOError if another process holds the lock, and OSError if the file system has no locks.
    """
    while True:
        try:
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if error.errno in _TAKEN:
                raise BlockingIOError from None
            raise
        if _is_at(file, path):  # else its owner has removed the file since it was opened here
            file.truncate()
            json.dump({"host": socket.gethostname(), "process": os.getpid(), "since": time.time()}, file)
            file.flush()
            return file
        file.close()


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _owner(path: Path) -> str:
    try:
        found = json.loads(path.read_text())
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(found["since"]))
        return f"process {found['process']} on {found['host']} since {since}"
    except (OSError, ValueError, KeyError, TypeError):  # its owner is just writing it
        return "another process"
