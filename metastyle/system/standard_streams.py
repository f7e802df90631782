"""Standard input and output: the name `-` on a command line, streams that are closed, readers that have gone away."""

from __future__ import annotations

import os
import sys

from metastyle.errors import InputError, reason

STANDARD = "-"  # standard input or standard output, as the name of a file


def open_missing() -> None:
    """Opens the null device in place of each standard stream that the program was started without.

    Otherwise the next file that is opened would take the stream's number, and what libraries print would be written
    into it. `sys.__stdin__` and `sys.__stdout__` stay None, which tells `read` and `write` that the stream is closed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115  (open until the end)


def read(argument: str) -> bytes:
    """All bytes on standard input; InputError, which names the argument, if there are none or it can't be read."""
    why = "is closed" if sys.__stdin__ is None and sys.stdin.name == os.devnull else ""
    data = b""
    try:
        data = sys.stdin.buffer.read()
    except OSError as error:  # such as a folder
        why = f"can't be read ({reason(error)})"
    if not data:
        why = why or "is empty"
        raise InputError(f"`{argument}`: expected a picture on standard input, which {why}; pipe one into the command")
    return data


def check_output(argument: str) -> None:
    """Raises InputError, which names the argument, if standard output is closed."""
    if sys.__stdout__ is None and sys.stdout.name == os.devnull:
        raise InputError(f"`{argument}`: cannot write to standard output, which is closed; name a file")


def write(data: bytes, argument: str) -> None:
    """Writes to standard output; InputError, which names the argument, if that is impossible."""
    check_output(argument)
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        flush()
        raise InputError(f"`{argument}`: cannot write to standard output ({reason(error)}); name a file") from None


def flush() -> str:
    """Writes what was printed and is still kept back; returns "", or in one line why that is impossible.

    Standard output then leads nowhere, so that what is printed later, or at the end of the program, fails no more.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return unwritten(error)
    return ""


def unwritten(error: OSError) -> str:
    """Why standard output can't be written to, in one line."""
    if isinstance(error, BrokenPipeError):
        return "standard output was closed by its reader"
    return f"cannot print to standard output ({reason(error)})"
