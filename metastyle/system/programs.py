"""Compiled programs whose number is bounded.

JAX compiles a program for each shape of its arguments and keeps every one for as long as the process lives: about a
hundred memory maps and some MiB each, so that a process that sees a thousand sizes of pictures dies of them.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any

import jax

_MOST = 24


def bounded_jit(function: Callable[..., Any], most: int = _MOST, **options: Any) -> Callable[..., Any]:
    """`jax.jit`, which forgets all programs of this function once there are more than `most`.

    The newest goes with them, and is compiled once more if it is used again. options: those of `jax.jit`.
    """
    lock, traced = threading.Lock(), 0

    @functools.wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:  # runs once for each program
        nonlocal traced
        with lock:
            traced += 1
        return function(*args, **kwargs)

    compiled: Any = jax.jit(counted, **options)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal traced
        result = compiled(*args, **kwargs)
        with lock:
            full = traced > most
            traced = 0 if full else traced
        if full:
            compiled.clear_cache()
        return result

    return call
