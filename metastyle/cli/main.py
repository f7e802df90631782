"""The `metastyle` command: finds the subcommand, checks its flags, runs it, and prints the help."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from metastyle.errors import InputError, one_line
from metastyle.system import signals

if TYPE_CHECKING:
    from absl import flags

# All other imports are inside functions: they take time, in which Ctrl-C must find `signals.watch` at work.


def main(argv: list[str] | None = None) -> None:
    """Runs the subcommand that the arguments name, and exits with its status. The console script calls this.

    argv: by default those of this process, which is then a program of its own (system/signals.py).
    """
    if argv is None:
        signals.watch()

    from metastyle.cli.app import guard, leave

    given = sys.argv[1:] if argv is None else argv
    (leave if argv is None else sys.exit)(guard(_run, given))


def _run(argv: list[str]) -> None:
    if argv and argv[0] in ("-h", "--help", "help"):
        print(_overview())
        return

    from absl import flags

    from metastyle.cli.app import expand_home
    from metastyle.cli.commands import COMMANDS

    if not argv or argv[0] not in COMMANDS:
        got = argv[0] if argv else "nothing"
        raise InputError(f"`command`: expected one of {', '.join(COMMANDS)}, got {got}; see `metastyle --help`")
    name, *rest = argv
    command, values = COMMANDS[name], flags.FlagValues()
    builtin = set(values)
    command.define(values)
    if {"-h", "--help"} & set(rest):
        print(_help(name, [values[flag] for flag in values if flag not in builtin]))
        return
    try:
        names = values([f"metastyle {name}", *rest])[1:]
        expand_home(values)
    except flags.Error as error:
        raise InputError(f"`{name}`: {one_line(error)}; see `metastyle {name} --help`") from None
    if names and not command.takes_names:
        raise InputError(f"`{name}`: expected only flags (--flag=value), got {names[0]}; see `metastyle {name} --help`")
    missing = [flag for flag in command.needs if not values[flag].value]
    if missing:
        raise InputError(f"`{missing[0]}`: expected --{missing[0]}=..., got nothing; see `metastyle {name} --help`")
    command.run(values, names)


def _overview() -> str:
    from metastyle.cli.commands import COMMANDS

    lines = [f"  {name:<9}{command.about}" for name, command in COMMANDS.items()]
    lines += ["", *(f"  metastyle {name} {command.example}" for name, command in COMMANDS.items())]
    usage = "usage: metastyle COMMAND [--flag=value ...]"
    return "\n".join([usage, "", *lines, "", "metastyle COMMAND --help lists its flags."])


def _help(name: str, taken: list[flags.Flag]) -> str:
    from metastyle.cli.commands import COMMANDS
    from metastyle.cli.lists import HINT, ListFlag

    command = COMMANDS[name]
    lines = [f"usage: metastyle {name} {command.example}", "", f"{command.about[0].upper()}{command.about[1:]}.", ""]
    for flag in taken:
        value = ",".join(flag.default) if isinstance(flag.default, list) else flag.default
        default = "" if value in (None, "") or flag.boolean else f" (default: {value})"
        note = " (required)" if flag.name in command.needs else default
        lines.append(f"  --{flag.name:<16}{flag.help}{note}")
    if any(isinstance(flag, ListFlag) for flag in taken):
        lines += ["", HINT]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
