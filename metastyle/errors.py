"""What a user is told when something goes wrong, in one line, and the status with which a program then exits."""


class InputError(ValueError):
    """Bad input; the message is one line: what was expected, what was got, what to do.

    Command lines print the message and exit non-zero; any other exception is a defect and keeps its traceback.
    """


class Adjusted(UserWarning):
    """An input was adjusted and the work went on; the message is one line and says how."""


TOLD = (InputError, OSError, FloatingPointError)  # a user's mistake, a full disk, a diverged run: no traceback
RETRY = 75  # EX_TEMPFAIL: the work was stopped before it was complete; the same line continues it


class Stopped(Exception):
    """Work was asked to stop, and has saved where it stands; the message says so, for an exit with RETRY."""


def one_line(error: BaseException | str) -> str:
    """A message, or that of an exception, without line breaks."""
    return " ".join(str(error).split())


def reason(error: BaseException) -> str:
    """Why something failed, without line breaks: of an OSError its text alone, without the number and the file name."""
    return one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)
