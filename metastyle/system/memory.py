"""How much memory is free, on the machine, in a container and on an accelerator; and arrays that it has no room for."""

import contextlib
import math
import mmap
import os
import tempfile
import weakref
from pathlib import Path
from typing import Any

import jax
import numpy as np

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_NAMES = {  # of a control group, by version: its limit, what it uses, and the part of that which can be had back
    "v2": ("memory.max", "memory.current", "inactive_file"),
    "v1": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free() -> int:
    """Bytes of main memory that this process can still take without swapping or being killed.

    The kernel's MemAvailable, or what the control groups of the process leave if that is less; half of the machine's
    memory where neither is told, as on macOS.
    """
    known = [x for x in (_available(), *_left_by_groups()) if x is not None]
    return max(min(known), 0) if known else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def free_on_device() -> int | None:
    """Bytes that the accelerator's allocator can still give; None where there is none, or where it doesn't tell."""
    found = jax.local_devices()[0].memory_stats()
    return found["bytes_limit"] - found["bytes_in_use"] if found and "bytes_limit" in found else None


def _available() -> int | None:
    with contextlib.suppress(OSError):
        kilobytes = _entry((_PROC / "meminfo").read_text(), "MemAvailable:")
        return None if kilobytes is None else 1024 * kilobytes
    return None


def _left_by_groups() -> list[int]:
    """What each group with a limit leaves: the process's own and those it is in, up to the root that is mounted."""
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
        left += [_left(root / part, *_NAMES[version]) for part in (inner, *inner.parents)]  # seen from a container,
    return [x for x in left if x is not None]  # the inner ones are often missing, and the root is its own


def _left(group: Path, limit: str, used: str, reclaimable: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):  # no such file; "max", which is no limit
        cached = _entry((group / "memory.stat").read_text(), reclaimable) or 0
        return int((group / limit).read_text()) - int((group / used).read_text()) + cached
    return None


def _entry(text: str, name: str) -> int | None:
    """The number behind `name` in lines of names and numbers."""
    fields = [line.split() for line in text.splitlines()]
    return next((int(value) for key, value, *_ in fields if key == name), None)


class Arrays:
    """Makes arrays in memory as long as they fit into `budget` bytes, else in files, and counts what is held of each.

    An array's room is free again once nothing refers to it. imagined: they have a shape and a dtype, and no contents.
    """

    def __init__(self, budget: float = math.inf, imagined: bool = False):
        self.budget, self._imagined = budget, imagined
        self._held = {"memory": 0, "disk": 0}
        self.most = dict(self._held)
        self._spare: dict[tuple[str, int], list[Any]] = {}
        self._files: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()

    def new(self, shape: tuple[int, ...], dtype: np.dtype = np.float32) -> np.ndarray:
        """One more, of any contents. Raises MemoryError or OSError where there is no room."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        key = "memory" if self._held["memory"] + size <= self.budget else "disk", size
        if self._imagined:
            block = np.zeros((), dtype)
            array = owner = np.broadcast_to(block, shape)
        else:
            block = self._block(*key)
            owner = np.frombuffer(memoryview(block), dtype)  # which views hold on to; without memoryview, to `block`
            array = owner.reshape(shape)
        self._count(*key)
        weakref.finalize(owner, self._release, key, block)
        return array

    def _block(self, place: str, size: int) -> Any:
        """A spare one: the system takes its time to make pages. No others are kept."""
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
        """Takes what is in files off the memory of the process; how much of it to keep there is the system's to say."""
        for file in self._files:
            file.madvise(mmap.MADV_DONTNEED)  # of a file that is mapped as here, nothing is lost by it

    def _release(self, key: tuple[str, int], block: Any) -> None:
        self._count(key[0], -key[1])
        self._spare.setdefault(key, []).append(block)

    def _count(self, place: str, size: int) -> None:
        self._held[place] += size
        self.most[place] = max(self.most[place], self._held[place])


def folder() -> str:
    """Where large temporary files go: TMPDIR if it is set; not /tmp, which is often kept in memory, if need not be."""
    chosen = tempfile.gettempdir()
    return "/var/tmp" if chosen == "/tmp" and os.access("/var/tmp", os.W_OK) else chosen


def _mapped(size: int) -> mmap.mmap:
    """A file without a name, in memory as the system sees fit, which is gone with the mapping."""
    with tempfile.TemporaryFile(dir=folder()) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)  # else a full disk is not told before it ends the process
        else:
            file.truncate(size)
        return mmap.mmap(file.fileno(), size)
