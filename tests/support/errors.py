"""What every error of a user's must be."""

from contextlib import contextmanager

import pytest

from metastyle.errors import InputError


@contextmanager
def refused(message, kind=InputError):
    """Asserts that the block raises an error of this kind, whose message is one line that matches."""
    with pytest.raises(kind, match=message) as error:
        yield error
    assert "\n" not in str(error.value)
