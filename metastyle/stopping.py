"""How long work is asked to stop: it saves, ends, and the same line continues it."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any, NoReturn

from metastyle.errors import Stopped


class StopSignal:
    """Notes SIGTERM and SIGINT in `requested`: the loop saves and ends. A second SIGINT interrupts at once."""

    def __enter__(self) -> "StopSignal":
        self.requested = False
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
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
