"""The errors that a user is told in one line, and the exit status of work that was stopped."""

import os


class InputError(ValueError):
    """Bad input; the message is one line: what was expected, what was got, what to do.

    Command lines print the message and exit non-zero; any other exception is a defect and keeps its traceback.
    """


class InUse(InputError):
    """Another process does the same work at this moment; the program then exits with RETRY."""


class Adjusted(UserWarning):
    """An input was adjusted and the work went on; the message is one line and says how."""


# What a command line prints in one line, without a traceback: a user's mistake, a full disk, a diverged run.
REPORTED_ERRORS = (InputError, OSError, FloatingPointError)
RETRY = 75  # EX_TEMPFAIL, the exit status of work that was stopped before its end: the same command line continues it


class Stopped(Exception):
    """The work was asked to stop and has saved its state; the message says so. The program then exits with RETRY."""


def one_line(error: BaseException | str) -> str:
    """A message, or that of an exception, without line breaks."""
    return " ".join(str(error).split())


def reason(error: BaseException | str) -> str:
    """Why something failed, in one line, to follow a message that names the file.

    Of an OSError this is the text alone, without its number and file name; of an exception without a text, its type.
    """
    return one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def shown(name: object) -> str:
    """A file's name for a message: as it is, or in quotes, with escapes, where it has line breaks or odd spaces."""
    text = os.fsdecode(name) if isinstance(name, os.PathLike) else str(name)
    return text if text.isprintable() and text == " ".join(text.split()) else repr(text)
