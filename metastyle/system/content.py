"""Objects that hold arrays: equal if their contents are, usable in sets and as keys, and printed in one line."""

from abc import abstractmethod
from typing import Any


class ByContent:
    """Gives a class equality and a hash by `content`; dataclasses need `eq=False` for it, and `repr=False`."""

    content: Any  # a cached property: what makes two objects equal, such as the hashes of their arrays

    @abstractmethod
    def describe(self) -> str:
        """The object in a few words."""

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self is other or self.content == other.content  # pyright: ignore[reportAttributeAccessIssue]

    def __hash__(self) -> int:
        return hash(self.content)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.describe()}>"
