"""Free memory of the machine, the container and the accelerator; and arrays that spill to disk."""

import contextlib
import math
import mmap
import os
import resource
import sys
import tempfile
import weakref
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import DTypeLike

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_NAMES = {  # files of a control group, by version: its limit, its use, and in memory.stat the reclaimable part of that
    "v2": ("memory.max", "memory.current", "inactive_file"),
    "v1": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free() -> int:
    """Returns the bytes of main memory that this process can still take without swapping or being killed.

    That is the kernel's MemAvailable, or what the control groups of the process leave, if that is less. Where the
    system tells neither, as on macOS, it is half of the machine's memory.
    """
    known = [x for x in (_available(), *_left_by_groups()) if x is not None]
    return max(min(known), 0) if known else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def free_on_device() -> int | None:
    """Returns the bytes that the accelerator's allocator can still give; None without an accelerator, or if unknown."""
    found = jax.local_devices()[0].memory_stats()
    return found["bytes_limit"] - found["bytes_in_use"] if found and "bytes_limit" in found else None


def peak() -> int:
    """Returns the largest number of bytes of main memory that this process has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def resident() -> int:
    """Returns the bytes of main memory that this process holds now; 0 where the system does not tell, as on macOS."""
    with contextlib.suppress(OSError):
        return int((_PROC / "self/statm").read_text().split()[1]) * resource.getpagesize()
    return 0


def _available() -> int | None:
    with contextlib.suppress(OSError):
        kilobytes = _entry((_PROC / "meminfo").read_text(), "MemAvailable:")
        return None if kilobytes is None else 1024 * kilobytes
    return None


def _left_by_groups() -> list[int]:
    """Returns the bytes left by each control group with a limit: the process's own group and all its parents."""
    try:
        lines = (_PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        return []
    left = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        version, root = ("v1", _CGROUPS / "memory") if controllers else ("v2", _CGROUPS)
        inner = Path(path.lstrip("/"))
        # Inside a container the inner groups are often missing, and the root is the container's own.
        left += [_left(root / part, *_NAMES[version]) for part in (inner, *inner.parents)]
    return [x for x in left if x is not None]


def _left(group: Path, limit: str, used: str, reclaimable: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):  # the file is missing, or says "max" for no limit
        cached = _entry((group / "memory.stat").read_text(), reclaimable) or 0
        return int((group / limit).read_text()) - int((group / used).read_text()) + cached
    return None


def _entry(text: str, name: str) -> int | None:
    """Finds the number behind `name` in lines of names and numbers."""
    fields = [line.split() for line in text.splitlines()]
    return next((int(value) for key, value, *_ in fields if key == name), None)


class Arrays:
    """Makes arrays in memory as long as they fit into `budget` bytes, else in files, and counts the bytes of both.

    The room of an array is free again once nothing refers to it. imagined: arrays have a shape and a dtype but no
    contents, so that only the bytes are counted. most: the largest number of bytes held so far, by place.
    """

    def __init__(self, budget: float = math.inf, imagined: bool = False):
        self.budget, self._imagined = budget, imagined
        self._held = {"memory": 0, "disk": 0}
        self.most = dict(self._held)
        self._spare: dict[tuple[str, int], list[Any]] = {}
        self._files: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()

    def new(self, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> np.ndarray:
        """Makes an array with arbitrary contents. Raises MemoryError or OSError if there is no room."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        key = "memory" if self._held["memory"] + size <= self.budget else "disk", size
        if self._imagined:
            block = np.zeros((), dtype)
            array = owner = np.broadcast_to(block, shape)
        else:
            block = self._block(*key)
            owner = np.frombuffer(
                memoryview(block), dtype
            )  # views refer to it; without memoryview they would refer to `block`
            array = owner.reshape(shape)
        self._count(*key)
        weakref.finalize(owner, self._release, key, block)
        return array

    def _block(self, place: str, size: int) -> Any:
        """Reuses a spare block, since new pages take the system time, or drops all spare ones and makes a block."""
        spare = self._spare.get((place, size))
        if spare:
            return spare.pop()
        self._spare.clear()
        if place == "memory":
            return np.empty(size, np.uint8)
        file = _mapped(size)
        self._files.add(file)
        return file

    def ease(self) -> None:
        """Releases the memory behind the files; the system decides how much of them it still caches."""
        for file in self._files:
            file.madvise(mmap.MADV_DONTNEED)  # loses nothing, since the file is mapped as shared

    def _release(self, key: tuple[str, int], block: Any) -> None:
        self._count(key[0], -key[1])
        self._spare.setdefault(key, []).append(block)

    def _count(self, place: str, size: int) -> None:
        self._held[place] += size
        self.most[place] = max(self.most[place], self._held[place])


def folder() -> str:
    """Returns the folder for large temporary files: TMPDIR, or /var/tmp rather than /tmp, which is often in memory."""
    chosen = tempfile.gettempdir()
    return "/var/tmp" if chosen == "/tmp" and os.access("/var/tmp", os.W_OK) else chosen


def _mapped(size: int) -> mmap.mmap:
    """Maps a file without a name, which disappears with the mapping. The system keeps it in memory as it sees fit."""
    with tempfile.TemporaryFile(dir=folder()) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(
                file.fileno(), 0, size
            )  # otherwise a full disk is only noticed when it kills the process
        else:
            file.truncate(size)
        return mmap.mmap(file.fileno(), size)
