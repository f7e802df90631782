"""How a main runs: flags are parsed, and a user's mistake becomes one line and a non-zero exit."""

import io
import logging as stdlib_logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from absl import app, flags, logging

from metastyle.errors import RETRY, TOLD, Stopped, one_line


def run(main: Callable[[list[str]], int | None]) -> None:
    """Parses the absl flags and runs `main(argv)`; its return value is the exit status."""
    app.run(lambda argv: leave(guard(main, argv)), flags_parser=_parse)


def leave(status: int) -> NoReturn:
    """Ends the program; at once if it failed: libraries that could not write their files would complain until the end.

    With other processes only in order, or they would be told of a lost one.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    alone = "jax" not in sys.modules or not sys.modules["jax"].distributed.is_initialized()
    if status == 1 and alone:
        os._exit(status)
    sys.exit(status)


def config_flag() -> flags.FlagHolder:
    """The flag --config, a file of `configs/`. ml_collections opens a --flagfile already here."""
    from ml_collections import config_flags

    try:
        return config_flags.DEFINE_config_file("config", None, "a file of configs/", lock_config=True)
    except flags.Error as error:
        _refuse(str(error))


def guard(main: Callable[[list[str]], int | None], argv: list[str]) -> int:
    """The exit status of `main(argv)`.

    A user's mistake, a full disk and a diverged run are told in one line (1), as is Ctrl-C (130); defects keep their
    traceback. Work that was asked to stop says so (75).
    """
    logging.set_verbosity(logging.WARNING)  # Orbax tells every file it touches, and failures that we tell ourselves
    logging.use_absl_handler()
    logging.get_absl_logger().addFilter(_not_of_orbax)
    stdlib_logging.getLogger("asyncio").setLevel(stdlib_logging.CRITICAL)  # its, too
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text
    try:
        return main(argv) or 0
    except Stopped as stopped:
        print(stopped, flush=True)
        return RETRY
    except TOLD as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def expand_home(values: flags.FlagValues) -> None:
    """Expands ~ where a flag, or one of its list, begins with it: a shell leaves --flag=~/file as it is."""
    expanded = lambda text: os.path.expanduser(text) if isinstance(text, str) else text
    for name in values:
        value = values[name].value
        if isinstance(value, str | list):
            values[name].value = [expanded(x) for x in value] if isinstance(value, list) else expanded(value)


def _not_of_orbax(record: stdlib_logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


def _parse(argv: list[str]) -> list[str]:
    """Sets the flags. A mistake in them is told in one line (exit 1), a defect in a config file by its traceback."""
    try:
        rest = flags.FLAGS(argv)
        expand_home(flags.FLAGS)
        for name in flags.FLAGS:
            getattr(flags.FLAGS[name].value, "items", None)  # a config that wasn't found says so only when it is used
    except flags.Error as error:
        _, mistake, text = str(error).rpartition("InputError: ")  # of a config file, after a traceback
        if "Traceback" in str(error) and not mistake:
            raise
        _refuse(text if mistake else str(error))
    except OSError as error:
        _refuse(f"`config`: {str(error).splitlines()[-1]}")
    except (AttributeError, KeyError) as error:  # a setting that isn't there
        if "get_config" in (frame.name for frame in traceback.extract_tb(error.__traceback__)):
            raise
        reason = error
        while isinstance(reason.args[0], Exception):
            reason = reason.args[0]
        names = [a.partition("=")[0].lstrip("-") for a in argv if a.startswith("--config")]
        unknown = [name for name in names if name.rpartition(".")[2] in str(reason.args[0])]
        _refuse(f"`{[*unknown, 'config'][0]}`: not found: {reason.args[0]}")
    if rest[1:]:
        _refuse(f"`{rest[1]}`: expected only flags, --flag=value")
    return rest


def _refuse(message: str) -> NoReturn:
    print(f"error: {one_line(message)}", file=sys.stderr)
    sys.exit(1)
