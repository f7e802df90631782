"""The pictures that names on a command line stand for: files, folders, patterns, and `-` for standard input."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from metastyle.errors import Adjusted, InputError
from metastyle.images import formats
from metastyle.system import files, standard_streams
from metastyle.system.standard_streams import STANDARD


def expand(names: Sequence[str], argument: str, *, once: bool = True) -> list[str]:
    """The picture files that names stand for, each once unless `once` is False (files.expand).

    Warns (errors.Adjusted), in one line, of the other files in folders and among those that patterns match.
    """
    others: list[str] = []
    try:
        found = files.expand(names, formats.suffixes(), argument, others, once=once)
    except InputError as error:
        if told := formats.left_out(others):
            raise InputError(f"{error}; {told}") from None
        raise
    if told := formats.left_out(others):
        warnings.warn(f"`{argument}`: {told}", Adjusted, stacklevel=2)
    return found


def one(names: Sequence[str] | None, argument: str) -> str | None:
    """The only picture that names stand for, None if there are no names; InputError if it is several."""
    found = expand(names or (), argument)
    if len(found) > 1:
        raise InputError(f"`{argument}`: expected one picture, got {len(found)}; name one of them")
    return found[0] if found else None


def read(name: str, argument: str) -> str | bytes:
    """The picture of a name that `expand` returned: the bytes on standard input for "-", else the path.

    Raises InputError where nothing is on standard input.
    """
    return standard_streams.read(argument) if name == STANDARD else name


def stem(name: str) -> str:
    """What stands for a picture in the names of files that are made of it."""
    return "stdin" if name == STANDARD else Path(name).stem


def check_standard_input(names: Mapping[str, Sequence[str | None]]) -> None:
    """Raises InputError if more than one picture is to be read from standard input.

    names: those of pictures, by argument.
    """
    taken = [argument for argument, given in names.items() for name in given if name == STANDARD]
    if len(taken) > 1:
        raise InputError(
            f"`{taken[1]}`: expected - for one picture, got it for `{taken[0]}` already, and standard input holds one; "
            "save the other to a file"
        )
