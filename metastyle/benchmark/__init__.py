"""Speed, memory and promises of the package, measured on this machine by `python -m experiments.benchmark`."""

from collections.abc import Mapping

Numbers = Mapping[str, float | str]  # what a section returns: a value, or a word where there is no value, by its name
