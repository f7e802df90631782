"""The sessions of onnxruntime that a process keeps: the latest ones, within a bound of memory.

A session belongs to one style at one strength. It takes a twentieth of a second to make. Quantising its graph to int8
takes two seconds, so that such graphs, which are small, are kept longer than their sessions.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from metastyle.stylize import onnx_export

MOST = 32 * 2**20  # bytes of the sessions of a process, and as many of graphs in int8
_SESSION = 6 * 2**20  # bytes of a session beside its weights, which it holds twice

Run = Callable[[np.ndarray], np.ndarray]


def session(key: Hashable, build: Callable[[], Any], *, int8: bool) -> Run:
    """The session of the graph that `build` makes (`onnx_export.model`).

    key: the same for the same graph. int8: whether the graph is quantised.
    """

    def load() -> tuple[Run, int]:
        model = _graphs.get(key, lambda: _sized(build())) if int8 else build()
        return onnx_export.session(model), _SESSION + 2 * model.ByteSize()

    return _sessions.get(key, load)


def _sized(model: Any) -> tuple[Any, int]:
    return model, model.ByteSize()


class _Latest:
    """What was used last, up to `MOST` bytes; the very last is kept in any case."""

    def __init__(self):
        self.lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()  # with its bytes, the latest at the end

    def get(self, key: Hashable, make: Callable[[], tuple[Any, int]]) -> Any:
        """What is kept under the key, or else what `make` returns with its bytes."""
        with self.lock:
            if key not in self._kept:
                self._kept[key] = make()
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and sum(size for _, size in self._kept.values()) > MOST:
                self._kept.popitem(last=False)
            return self._kept[key][0]

    def clear(self) -> None:
        self._kept.clear()


_sessions, _graphs = _Latest(), _Latest()


def _before_fork() -> None:
    """A child can't use its parent's sessions, nor end with them: their threads are not there. So both begin anew."""
    _sessions.lock.acquire()
    _graphs.lock.acquire()
    _sessions.clear()


def _after_fork() -> None:
    _graphs.lock.release()
    _sessions.lock.release()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
