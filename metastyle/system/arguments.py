"""Checks of arguments that a program may have given any type: one line that names the argument, else nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

import numpy as np

from metastyle.errors import InputError


def check_count(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Raises InputError, naming the argument, unless the value is a whole number from `low` to `high`."""
    if isinstance(value, int | np.integer) and low <= value and (high is None or value <= high):
        return
    span = f"of at least {low}" if high is None else f"from {low} to {high}"
    raise InputError(f"`{name}`: expected a whole number {span}, got {_got(value)}")


def check_number(name: str, value: Any, low: float, high: float | None = None) -> None:
    """Raises InputError, naming the argument, unless the value is a finite number from `low` to `high`."""
    most = sys.float_info.max if high is None else high
    if not (isinstance(value, Real) and low <= float(value) <= most):
        span = f"of at least {low:g}" if high is None else f"from {low:g} to {high:g}"
        raise InputError(f"`{name}`: expected a number {span}, got {_got(value)}")


def check_choice(name: str, value: Any, choices: Sequence[str | int]) -> None:
    """Raises InputError, naming the argument, unless the value is one of some texts or numbers."""
    if not isinstance(value, str | int) or value not in choices:
        raise InputError(f"`{name}`: expected one of {', '.join(map(str, choices))}, got {_got(value)}")


def check_path(name: str, value: Any) -> None:
    """Raises InputError, naming the argument, unless the value is a text or a path that can name a file."""
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"`{name}`: expected a path, got {_got(value)}; pass a text or a pathlib.Path")
    if not os.fspath(value):
        raise InputError(f"`{name}`: expected a path, got an empty text")


def pairs(name: str, value: Any, kind: type, what: str) -> list[tuple[Any, Any]]:
    """The pairs in an argument, whose first is of a type; InputError, naming it, unless it holds at least one.

    what: the pairs are, for the message.
    """
    found = list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else None
    right = lambda pair: isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], kind)
    if not found or not all(map(right, found)):
        got = "none" if found == [] else _got(value)
        raise InputError(f"`{name}`: expected at least one pair {what}, got {got}")
    return found


def _got(value: Any) -> str:
    """A value for a message: as it is written, shortened, in one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:60]}... ({type(value).__name__})"
