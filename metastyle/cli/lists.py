"""Flags that hold several values: names of files, or words and numbers. One rule for all of them (docs/control.md)."""

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from metastyle.system import files

flags.disclaim_key_flags()  # a flag belongs to the module that asks for it, whose --help lists it

HINT = """Flags for several pictures, files or numbers may be repeated, or have them with commas between them:
files, folders and patterns such as '*.jpg'. An existing file is found under its own name, whatever
it is; in a list, a name with a comma stands in double quotes. The picture - is standard input."""
_COMMA = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*\Z)')  # one that is not in double quotes


def split(text: str) -> list[str]:
    """The values in a text with commas between them; [] for an empty text.

    Spaces around a value do not count. A value in double quotes is taken as it is, with its commas and spaces; a double
    quote in it is written twice, as in CSV.
    """
    return [_unquoted(value.strip()) for value in _COMMA.split(text)] if text else []


def split_names(text: str) -> list[str]:
    """The names of files in a text: the whole text if that stands for a file, a folder or a pattern, else `split`.

    So a file is found under its own name, whatever characters it has.
    """
    return [text] if files.is_there(os.path.expanduser(text)) else split(text)


def define_list(
    name: str,
    default: Sequence[Any] | None,
    help: str,
    *,
    item: flags.ArgumentParser | None = None,
    **options: Any,
) -> flags.FlagHolder:
    """Defines a flag of words or numbers, which may be repeated and each time have several, as `split` says.

    item: parses a value, which otherwise stays a text. options: as for `absl.flags.DEFINE_flag`.
    """
    return flags.DEFINE_flag(ListFlag(_Parser(split, item), None, name, default, help), **options)


def define_names(name: str, help: str, **options: Any) -> flags.FlagHolder:
    """Defines a flag of names of files, which may be repeated and each time have several, as `split_names` says."""
    return flags.DEFINE_flag(ListFlag(_Parser(split_names), None, name, None, help), **options)


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if quoted else text


class _Parser(flags.ArgumentParser):
    """Parses one occurrence of a flag."""

    syntactic_help = "repeatable, or a comma separated list"

    def __init__(self, split: Callable[[str], list[str]], item: flags.ArgumentParser | None = None):
        self._split, self._item = split, item

    def parse(self, argument: str | Sequence[Any]) -> list[Any]:
        if not isinstance(argument, str):  # the default
            return list(argument)
        return [self._item.parse(text) if self._item else text for text in self._split(argument)]

    def flag_type(self) -> str:
        return "list of strings"


class ListFlag(flags.Flag):
    """A flag whose value is the list of the values of all its occurrences."""

    def parse(self, argument: str | Sequence[Any]) -> None:
        values = self._parse(argument) or []
        self.value = [*(self.value or ()), *values] if self.present else values
        self.present += 1
