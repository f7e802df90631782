"""The pictures that names on a command line stand for: files, folders and patterns."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from metastyle.errors import Adjusted, InputError
from metastyle.images import formats
from metastyle.system import files


def expand(names: Sequence[str], argument: str) -> list[str]:
    """The picture files that names stand for, each once (files.expand).

    Warns (errors.Adjusted), in one line, of the other files in folders and among those that patterns match.
    """
    others: list[str] = []
    try:
        found = files.expand(names, formats.suffixes(), argument, others)
    except InputError as error:
        if told := formats.left_out(others):
            raise InputError(f"{error}; {told}") from None
        raise
    if told := formats.left_out(others):
        warnings.warn(f"`{argument}`: {told}", Adjusted, stacklevel=2)
    return found
