"""How a program is asked to end, by Ctrl-C, a scheduler or a closed terminal, and ends in time, whatever it is doing.

A program calls `watch` first of all, before it imports anything large. From then on a thread of its own answers SIGINT,
SIGTERM and SIGHUP. Python's way, an exception in the main thread, does not do: while the main thread is in C++, as in
compilation and in XLA's computations, it comes late; in a callback or a destructor it is swallowed; and the interpreter
is torn down under the threads of XLA, which then crash.

The thread ends the process at once, with one line and status 128 + the signal's number, after it has removed files that
are half written (`at_end`). Work that keeps a state (`StopSignal`) first has GRACE seconds to save it and to end by
itself, as errors.Stopped.

Nothing here happens in a program that only uses the package: its own handlers stay, and `StopSignal` sets handlers for
the time of its block.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from metastyle.errors import RETRY

GRACE = 1.5  # seconds that work has for saving its state; METASTYLE_GRACE sets another number

_TOLD = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
_TWICE = 0.5  # seconds: a second SIGINT within them is the same one, which a shell or a wrapper has passed on as well
_LEFT = {False: 1.9, True: 0.4}  # seconds for removing files, by whether the work had its time; then it ends anyway

_actions: list[Callable[[], object]] = []
_gate = threading.RLock()  # held while the process ends, and by the main thread where it must not end
_watch: "_Watch | None" = None


def watch(*, quiet: bool = False) -> None:
    """Makes this process end in time when it is asked to; see the module's docstring. A second call does nothing.

    A signal that the process ignores, as under nohup, or that already has a handler, is left as it is. quiet: no line
    is printed.
    """
    global _watch
    if _watch is None and threading.current_thread() is threading.main_thread():
        _watch = _Watch(_grace(), quiet)


def _grace() -> float:
    text = os.environ.get("METASTYLE_GRACE")
    with contextlib.suppress(ValueError):
        if 0 <= (seconds := float(text or GRACE)) < float("inf"):
            return seconds
    sys.exit(f"error: `METASTYLE_GRACE`: expected seconds, such as {GRACE:g}, got {text!r}")


@contextlib.contextmanager
def at_end(action: Callable[[], object]) -> Iterator[None]:
    """Calls `action` if the process ends by a signal before the end of the block, to remove what is half done."""
    with _gate:
        _actions.append(action)
    try:
        yield
    finally:
        with _gate:
            _actions.remove(action)


def held() -> contextlib.AbstractContextManager[Any]:
    """A block of a few quick operations in which no signal ends the process."""
    return _gate


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Marks work that keeps what it has done, piece by piece: SIGTERM ends it with status RETRY."""
    if _watch is None:
        yield
        return
    before, _watch.resumable = _watch.resumable, True
    try:
        yield
    finally:
        _watch.resumable = before


class StopSignal:
    """Notes SIGTERM, SIGINT and SIGHUP in `requested`: for a loop that saves its state and then raises Stopped.

    A second SIGINT ends the process at once, or interrupts where the process isn't watched. There, signals outside the
    main thread, which alone may handle them, are not noted.

    listen: whether it notes them. Work that keeps no state passes False, and signals end it at once.
    """

    def __init__(self, *, listen: bool = True):
        self._listen = listen
        self._before: dict[int, Any] = {}
        self.requested = False

    def __enter__(self) -> "StopSignal":
        if self._listen and _watch is not None:
            _watch.add(self)
        elif self._listen and threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *exception: Any) -> None:
        if _watch is not None:
            _watch.remove(self)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if number == signal.SIGINT:
            signal.signal(number, self._before[signal.SIGINT])


class _Watch:
    """The thread that answers signals. Python's own part of a signal handler writes their numbers into a pipe."""

    def __init__(self, grace: float, quiet: bool):
        self._grace, self._quiet, self._listeners = grace, quiet, list[StopSignal]()
        self._first: tuple[int, float] | None = None  # the first signal, and when it came
        self.resumable = False
        self._answered = [s for s in _TOLD if signal.getsignal(s) in (signal.SIG_DFL, signal.default_int_handler)]
        self._pipe, end = os.pipe()
        os.set_blocking(end, False)
        threading.Thread(target=self._answer, name="signals", daemon=True).start()
        signal.set_wakeup_fd(end, warn_on_full_buffer=False)
        for number in self._answered:
            signal.signal(number, lambda *_: None)

    def add(self, listener: StopSignal) -> None:
        listener.requested = self._first is not None
        self._listeners.append(listener)

    def remove(self, listener: StopSignal) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def _answer(self) -> None:
        while True:
            left = None if self._first is None else max(self._first[1] + self._grace - time.monotonic(), 0.0)
            if self._first and not select.select([self._pipe], [], [], left)[0]:
                self._end(self._first[0], late=True)
            number = os.read(self._pipe, 1)[0]
            if number in self._answered:
                self._note(number)

    def _note(self, number: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = number, now
            if not self._listeners:
                self._end(number)
            for listener in list(self._listeners):
                listener.requested = True
        elif number == signal.SIGINT and now - self._first[1] > _TWICE:
            self._end(number, late=True)

    def _end(self, number: int, *, late: bool = False) -> NoReturn:
        """Ends the process by the signal `number`. late: the work has not saved its state in time."""
        status, line = 128 + number, _TOLD[signal.Signals(number)]
        if late:
            line += "; the same line continues from the last saved state"
        elif self.resumable and number != signal.SIGINT:
            status, line = RETRY, "stopped; the same line continues"
        last = threading.Timer(_LEFT[late], os._exit, [status])
        last.daemon = True
        last.start()
        _gate.acquire()
        for action in reversed(_actions):
            with contextlib.suppress(Exception):
                action()
        told = b"" if self._quiet else f"{_after_bar()}{line}\n".encode()
        for write in (sys.stdout.flush, lambda: os.write(2, told)):
            with contextlib.suppress(Exception):  # a stream may be closed, or None
                write()
        os._exit(status)


def _after_bar() -> str:
    """A line break, if a progress bar stands in the last line of the terminal."""
    kind = getattr(sys.modules.get("tqdm.std"), "tqdm", None)
    with contextlib.suppress(RuntimeError):  # the main thread may open or close one meanwhile
        return "\n" if any(not bar.disable for bar in list(getattr(kind, "_instances", ()))) else ""
    return "\n"
