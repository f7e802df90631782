"""How long-running work is asked to stop: it saves what it has done and ends, and the same line continues it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

from metastyle.errors import Stopped


class StopSignal:
    """Notes SIGTERM and SIGINT in `requested`: for a loop that saves its state and then raises Stopped.

    A second SIGINT interrupts at once. Outside the main thread, which alone may handle signals, nothing is noted.

    listen: whether it notes them. Work that keeps no state passes False, and signals end it at once.
    """

    def __init__(self, *, listen: bool = True):
        self._handled = (signal.SIGTERM, signal.SIGINT) if listen else ()
        self.requested = False

    def __enter__(self) -> "StopSignal":
        handled = self._handled if threading.current_thread() is threading.main_thread() else ()
        self._before = {s: signal.signal(s, self._note) for s in handled}
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if number == signal.SIGINT:
            signal.signal(number, self._before[signal.SIGINT])


@contextlib.contextmanager
def stop_at_once() -> Iterator[None]:
    """Lets SIGTERM raise Stopped: for work that keeps what it has done, piece by piece."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Stopped("stopped; the same line continues")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
