"""Lets the fields of a settings dataclass declare which values they accept, and checks them.

A field declares with `field(default=..., metadata=at_least(0) | formerly("old_name"))`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from metastyle.errors import InputError


def one_of(*choices: Any) -> dict[str, Any]:
    """The value is one of `choices`."""
    return {"choices": choices}


def at_least(low: float) -> dict[str, Any]:
    """The value is `low` or more, and no NaN."""
    return {"low": low}


def formerly(name: str) -> dict[str, Any]:
    """The setting was once called `name`: files and bundles that say so can still be read."""
    return {"formerly": name}


def added_later() -> dict[str, Any]:
    """The setting came after files were identified by the others: its default stands for work from before it."""
    return {"added_later": True}


def named(kind: type) -> dict[str, Any]:
    """The value is a dict of settings of `kind`, a dataclass, by names that the user chooses."""
    return {"named": kind}


def check_fields(settings: Any, prefix: str = "") -> None:
    """Raises InputError for the first field, here or in a section, whose value isn't as declared."""
    for f in dataclasses.fields(settings):
        value = getattr(settings, f.name)
        if dataclasses.is_dataclass(value):
            check_fields(value, f"{prefix}{f.name}.")
        else:
            _check(f"{prefix}{f.name}", value, f.metadata)


def _check(name: str, value: Any, declared: Mapping[str, Any]) -> None:
    if "choices" in declared and value not in declared["choices"]:
        choices = ", ".join(str(choice) or "''" for choice in declared["choices"])
        raise InputError(f"`{name}`: expected one of {choices}, got {value!r}")
    if "low" in declared and not value >= declared["low"]:
        raise InputError(f"`{name}`: expected at least {declared['low']}, got {value}")
