"""The one exception for a user's mistake."""


class InputError(ValueError):
    """Bad input; the message is one line: what was expected, what was got, what to do.

    Command lines print the message and exit non-zero; any other exception is a defect and keeps its traceback.
    """
