"""JAX inside another program: the package computes under settings of its own, and leaves those of its host alone.

A host program may forbid JAX to promote ranks and types, or to move arrays to a device by itself. Our code and Optax
rely on all three. Settings are changed for one thread only, and only while the package computes.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax

from metastyle.errors import InputError

# Each setting's name, what changes it within a `with`, and the value that our code needs.
_OURS = (
    ("jax_numpy_rank_promotion", jax.numpy_rank_promotion, "allow"),
    ("jax_numpy_dtype_promotion", jax.numpy_dtype_promotion, "standard"),
    ("jax_transfer_guard_host_to_device", jax.transfer_guard_host_to_device, "allow"),
    ("jax_transfer_guard_device_to_device", jax.transfer_guard_device_to_device, "allow"),
    ("jax_transfer_guard_device_to_host", jax.transfer_guard_device_to_host, "allow"),
)
_computed: set[int] = set()  # the ids of this process, and of those that it was forked from, if they have computed


@contextlib.contextmanager
def computing() -> Iterator[None]:
    """Within it, or in a function that it decorates, JAX computes under our settings.

    Raises InputError in a process that was forked from one that had computed: JAX would wait there for ever.
    """
    _computed.add(os.getpid())
    if len(_computed) > 1:
        raise InputError(
            "`fork`: expected a process in which JAX can compute, got one that was forked after JAX had computed; "
            'start processes by the method "spawn", or compute in the children only'
        )
    with _settings([value for *_, value in _OURS]):
        yield


def for_host(callback: Callable[..., Any] | None, name: str) -> Callable[..., Any] | None:
    """A function of the host program, to be called while we compute: it runs under the settings of this moment.

    Raises InputError, naming the argument `name`, for what can't be called.
    """
    if callback is None:
        return None
    if not callable(callback):
        raise InputError(f"`{name}`: expected a function, got {type(callback).__name__}; pass one, or None")
    values = [getattr(jax.config, setting) for setting, *_ in _OURS]

    def call(*arguments: Any) -> Any:
        with _settings(values):
            return callback(*arguments)

    return call


@contextlib.contextmanager
def _settings(values: list[str | None]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for (_, setting, _), value in zip(_OURS, values, strict=True):
            if value is not None:  # None is a guard that was never set
                stack.enter_context(setting(value))
        yield
