"""Batches that threads compute before they are needed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

Batch = dict[str, np.ndarray]


class Prefetcher:
    """Iterates over `(step, batch)` for the steps from `start` up to, but without, `stop`.

    Threads compute `batch = stack([task(step, index) for index in indices])` ahead. An exception in `task` is raised
    at the step of the task and ends the iteration. `waited` is the time in seconds that the consumer has waited so far.
    To be used as a context manager, or closed.
    """

    def __init__(
        self,
        task: Callable[[int, int], Batch],
        indices: Sequence[int],
        start: int,
        stop: int,
        *,
        threads: int,
        depth: int = 2,
    ):
        """depth: how many batches are computed ahead. threads: how many tasks are computed at the same time."""
        self._task, self._indices = task, indices
        self._steps = iter(range(start, stop))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="prefetch")
        self._pending: deque[tuple[int, list[Future[Batch]]]] = deque()
        self.waited = 0.0
        for _ in range(depth):
            self._submit()

    def _submit(self) -> None:
        step = next(self._steps, None)
        if step is not None:
            futures = [self._pool.submit(self._task, step, index) for index in self._indices]
            self._pending.append((step, futures))

    def __iter__(self) -> Prefetcher:
        return self

    def __next__(self) -> tuple[int, Batch]:
        if not self._pending:
            raise StopIteration
        step, futures = self._pending.popleft()
        before = time.perf_counter()
        try:
            batch = stack([future.result() for future in futures])
        except BaseException:
            self.close()
            raise
        self.waited += time.perf_counter() - before
        self._submit()
        return step, batch

    def close(self) -> None:
        """Drops the batches computed ahead and waits until the tasks in progress have ended."""
        self._pending.clear()
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def stack(tasks: Sequence[Batch]) -> Batch:
    """The batch of these tasks: their arrays with a new leading axis."""
    return {key: np.stack([task[key] for task in tasks]) for key in tasks[0]}
