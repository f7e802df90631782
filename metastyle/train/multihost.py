"""Runs of several processes: how the processes meet, stop at the same step, and end when one of them is lost.

They are connected by JAX's own service (`jax.distributed`). A run of a single process needs nothing of this module.
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
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from metastyle.config import PEER_TIMEOUT
from metastyle.errors import REPORTED_ERRORS, RETRY, InputError, InUse, Stopped, one_line
from metastyle.system import lock
from metastyle.system.signals import StopSignal

STOP_FLAGS = "stop_flags"  # key in each batch; in the metrics of a step, the key of their mean over all tasks
_LOST = re.compile("gloo|nccl|connection|unavailable|deadline|heartbeat|coordination", re.IGNORECASE)
_MARGIN = 60  # seconds that JAX waits longer than we do, since our error message is clearer than its own


def join(timeout: int = PEER_TIMEOUT) -> None:
    """Joins the other processes of the run, if there are any. Must be called before JAX is used.

    JAX recognises Slurm, Open MPI and Cloud TPU. Elsewhere the variables JAX_COORDINATOR_ADDRESS (host:port of process
    0), JAX_NUM_PROCESSES and JAX_PROCESS_ID describe the run.

    timeout: seconds that the other processes may take to start, and later to answer.

    Raises InputError if the variables are incomplete, or if not all processes start in time.
    """
    given: dict[str, Any] = {}
    if address := os.environ.get("JAX_COORDINATOR_ADDRESS"):
        given = {"coordinator_address": address, "cluster_detection_method": "deactivate"}
        for name, variable in (("num_processes", "JAX_NUM_PROCESSES"), ("process_id", "JAX_PROCESS_ID")):
            value = os.environ.get(variable, "")
            if not value.isdigit():
                raise InputError(f"`{variable}`: expected a number beside JAX_COORDINATOR_ADDRESS, got {value!r}")
            given[name] = int(value)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings(action="ignore"):  # JAX warns about a cloud machine that is no cluster
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
    signal.signal(signal.SIGTERM, before)  # JAX installs its own handler, which we don't use: see Lockstep


@contextlib.contextmanager
def only_run(workdir: Path) -> Iterator[None]:
    """Holds the lock of a run's folder, which it makes, for all processes of the run and the block of a `with`.

    Raises InUse in process 0, and Stopped in the others, while another run holds it.
    """
    refused: InUse | None = None
    with contextlib.ExitStack() as held:
        if jax.process_index() == 0:
            with contextlib.suppress(OSError):  # every process will fail to make it, and tell why
                workdir.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(lock.of_folder(workdir, "workdir"))
            except InUse as error:
                refused = error
        if jax.process_count() > 1 and multihost_utils.broadcast_one_to_all(np.array(refused is not None)):
            raise refused or Stopped("")
        if refused:
            raise refused
        yield


def without_flags(batch: dict[str, jax.Array]) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """The tasks of a batch, and the mean of its stop flags, to be averaged over devices in the same messages."""
    tasks = dict(batch)
    return tasks, {STOP_FLAGS: tasks.pop(STOP_FLAGS).mean()}


class Lockstep(contextlib.AbstractContextManager):
    """A loop over steps that all processes take together.

    All processes stop at the same step. When one is lost, the others end as well. An error in the loop ends this
    process at once with its message, since closing what the other processes take part in would wait for them. So does
    a step that takes longer than `timeout` seconds.
    """

    def __init__(self, stop: StopSignal, timeout: float = PEER_TIMEOUT):
        self._stop, self._timeout = stop, timeout
        self._many = jax.process_count() > 1
        self._over = threading.Event()
        self._seen: float | None = None  # when the other processes were last heard of

    def __enter__(self) -> "Lockstep":
        if self._many:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        if self._many:
            self._over.set()
            if error is not None:
                _end(error)

    def stop_flags(self, tasks: int) -> np.ndarray:
        """float32[tasks], for the batch of the next step: 1 if this process was asked to stop, else 0."""
        return np.full(tasks, self._stop.requested, np.float32)

    def should_stop(self, before: jax.Array | None) -> bool:
        """Whether the step that was just started is the last one. All processes call this after each step.

        before: the mean of `stop_flags` over all tasks in the step before; None if there was none. A single process
        doesn't need it.
        """
        self._seen = time.monotonic()
        return before is not None and float(before) > 0 if self._many else self._stop.requested

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Surrounds work of this process alone, such as compiling, in which the others' silence is not counted."""
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
    """Ends the process, even though other threads of it may be waiting for an answer that never comes."""
    again = "; the same line continues the run" if status == RETRY else ""
    print(f"error: process {jax.process_index()}: {line}{again}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(status)
