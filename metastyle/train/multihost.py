"""The other processes of a run: how it finds them, stops with them, and ends when one is lost.

JAX's own service connects them (`jax.distributed`). A run of one process needs nothing of this.
"""

import contextlib
import os
import re
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
import numpy as np

from metastyle.config import PEER_TIMEOUT
from metastyle.errors import REPORTED_ERRORS, RETRY, InputError, one_line
from metastyle.system.signals import StopSignal

STOP_FLAGS = "stop_flags"  # in a batch, and as their mean in the metrics of its step
_LOST = re.compile("gloo|nccl|connection|unavailable|deadline|heartbeat|coordination", re.IGNORECASE)
_MARGIN = 60  # seconds that JAX waits longer than we do: our line says more than its


def join(timeout: int = PEER_TIMEOUT) -> None:
    """Joins the other processes, if there are any; to be called before anything else of JAX.

    Slurm, Open MPI and Cloud TPU are recognised by JAX. Elsewhere JAX_COORDINATOR_ADDRESS (host:port of process 0),
    JAX_NUM_PROCESSES and JAX_PROCESS_ID tell. timeout: seconds that the others may take to come, and to answer later.

    Raises InputError where the variables are incomplete, or not all processes come.
    """
    given = {}
    if address := os.environ.get("JAX_COORDINATOR_ADDRESS"):
        given = {"coordinator_address": address, "cluster_detection_method": "deactivate"}
        for name, variable in (("num_processes", "JAX_NUM_PROCESSES"), ("process_id", "JAX_PROCESS_ID")):
            value = os.environ.get(variable, "")
            if not value.isdigit():
                raise InputError(f"`{variable}`: expected a number beside JAX_COORDINATOR_ADDRESS, got {value!r}")
            given[name] = int(value)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings(action="ignore"):  # of a pod that is no cluster
            jax.distributed.initialize(
                **given,
                initialization_timeout=timeout,
                heartbeat_timeout_seconds=timeout + _MARGIN,
                shutdown_timeout_seconds=timeout,
            )
    except ValueError as error:
        if given:
            raise InputError(f"`JAX_PROCESS_ID`: {one_line(error)}") from None
        if "coordinator_address" not in str(error):
            raise
    except RuntimeError as error:
        raise InputError(
            f"`JAX_COORDINATOR_ADDRESS`: not all processes met within {timeout} s ({one_line(error)[:200]})"
        ) from None
    signal.signal(signal.SIGTERM, before)  # JAX takes it for a service of its own, which nobody asks: see Lockstep


class Lockstep(contextlib.AbstractContextManager):
    """A loop over steps that all processes take together: they stop at one step, and none outlives the others' loss.

    An error in the loop ends this process at once, with its line: closing what the others take part in would wait for
    them. So does silence: a step that takes longer than `timeout` seconds.
    """

    def __init__(self, stop: StopSignal, timeout: float = PEER_TIMEOUT):
        self._stop, self._timeout = stop, timeout
        self._many = jax.process_count() > 1
        self._seen = None

    def __enter__(self) -> "Lockstep":
        if self._many:
            self._over = threading.Event()
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        if self._many:
            self._over.set()
            if error is not None:
                _end(error)

    def stop_flags(self, tasks: int) -> np.ndarray:
        """float32[tasks], for the batch of the next step: whether this process was asked to stop."""
        return np.full(tasks, self._stop.requested, np.float32)

    def should_stop(self, before: jax.Array | None) -> bool:
        """Called by all after each step: whether it is the last, for one of them was asked to stop.

        before: the mean of `stop_flags` over all tasks in the step before (None: there was none). A process alone knows
        without it.
        """
        self._seen = time.monotonic()
        return before is not None and float(before) > 0 if self._many else self._stop.requested

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Work of this process's own, as compiling: as long as it lasts, the others' silence is not counted."""
        watched, self._seen = self._seen is not None, None
        yield
        if watched:
            self._seen = time.monotonic()

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._timeout / 4)):
            seen = self._seen
            if seen is not None and time.monotonic() - seen > self._timeout:
                _leave(f"no answer from the other processes for {self._timeout:g} s", RETRY)


def _end(error: BaseException) -> NoReturn:
    if isinstance(error, REPORTED_ERRORS):
        _leave(one_line(error), 1)
    if isinstance(error, jax.errors.JaxRuntimeError | ValueError) and _LOST.search(str(error)):
        _leave(f"another process is lost ({one_line(error)[:120]})", RETRY)
    traceback.print_exception(error)
    _leave(f"{type(error).__name__}", 1)


def _leave(line: str, status: int) -> NoReturn:
    """Ends the process, though others of its threads may be waiting for something that never comes."""
    again = "; the same line continues the run" if status == RETRY else ""
    print(f"error: process {jax.process_index()}: {line}{again}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(status)
