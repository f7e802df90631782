"""How long work is asked to stop: it saves, ends, and the same line continues it."""

import os
import signal
from typing import Any


class StopSignal:
    """Notes SIGTERM and SIGINT in `requested`: the loop saves and ends. A second SIGINT interrupts at once."""

    def __init__(self, passed_on: bool = False):
        """passed_on: SIGTERM is left to whoever handles it (of several processes, JAX), and SIGINT becomes one."""
        self._passed_on = passed_on

    def __enter__(self) -> "StopSignal":
        self.requested = False
        noted = (signal.SIGINT,) if self._passed_on else (signal.SIGTERM, signal.SIGINT)
        self._before = {s: signal.signal(s, self._note) for s in noted}
        return self

    def __exit__(self, *exception: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.requested = True
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])
            if self._passed_on:
                os.kill(os.getpid(), signal.SIGTERM)
