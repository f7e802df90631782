"""How long work is asked to stop: it saves, ends, and the same line continues it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

from metastyle.errors import Stopped


class StopSignal:
    """Notes SIGTERM and SIGINT in `requested`: the loop saves and ends. A second SIGINT interrupts at once.

    In another thread than the main one, which alone may handle signals, it notes nothing.
    """

    def __enter__(self) -> "StopSignal":
        self.requested = False
        handled = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
        self._before = {s: signal.signal(s, self._note) for s in handled}
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.requested = True
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])


@contextlib.contextmanager
def stopped_at_once() -> Iterator[None]:
    """SIGTERM raises errors.Stopped: for work that keeps what it has done, piece by piece."""

    def stop(number: int, frame: Any) -> NoReturn:
        raise Stopped("stopped; the same line continues")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
