"""How a main runs: its flags are parsed, and a user's mistake becomes one line and a non-zero exit status."""

import contextlib
import io
import logging as stdlib_logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from absl import app, flags, logging

from metastyle.errors import REPORTED_ERRORS, RETRY, Adjusted, InUse, Stopped, one_line, reason
from metastyle.system import machine, signals, standard_streams

_EARLY = re.compile(r"Found (--config\S*) in argv before a value for --config")  # of ml_collections
_ERRNO = re.compile(r"\[Errno \d+\] (.*): ('.*')")


def run(main: Callable[[list[str]], int | None], default_config: str = "") -> None:
    """Parses the absl flags and runs `main(argv)`; its return value is the exit status.

    default_config: the path of the file that --config names where the line doesn't.
    """
    signals.watch()
    standard_streams.open_missing()
    try:
        app.run(
            lambda argv: leave(guard(main, argv)), flags_parser=lambda argv: _parse(_with_config(argv, default_config))
        )
    finally:
        standard_streams.flush()  # what --help printed


def leave(status: int) -> NoReturn:
    """Ends the program with this exit status.

    A program that did not complete its work ends at once, without the clean-up of libraries: those that could not write
    their files would complain until the end, and XLA may still compute. One of several processes ends in order in any
    case: otherwise the others would report that it is lost.
    """
    standard_streams.flush()
    with contextlib.suppress(OSError):  # its reader may be gone
        sys.stderr.flush()
    alone = "jax" not in sys.modules or not sys.modules["jax"].distributed.is_initialized()
    if status and alone:
        os._exit(status)
    sys.exit(status)


def config_flag() -> flags.FlagHolder:
    """Defines the flag --config, a file of `configs/`. ml_collections opens the file of a --flagfile already here."""
    from ml_collections import config_flags

    try:
        return config_flags.DEFINE_config_file("config", None, "a file of configs/", lock_config=True)
    except flags.Error as error:
        _refuse(str(error))


def guard(main: Callable[[list[str]], int | None], argv: list[str]) -> int:
    """Runs `main(argv)` and returns the exit status of the program.

    A user's mistake, a full disk and a diverged run are printed in one line (status 1), as is Ctrl-C (130), and so is a
    standard output that can't be written to. Work that was asked to stop (75), or that another process is doing (75),
    says so. Notes of adjusted input are lines, too. Any other exception is a defect and passes through.
    """
    standard_streams.open_missing()
    logging.set_verbosity(logging.WARNING)  # Orbax logs every file it touches, and failures that we report ourselves
    logging.use_absl_handler()
    logging.get_absl_logger().addFilter(_not_of_orbax)
    stdlib_logging.getLogger("asyncio").setLevel(stdlib_logging.CRITICAL)  # Orbax uses it
    stdlib_logging.getLogger("matplotlib").setLevel(stdlib_logging.ERROR)  # it warns where it cannot write a cache
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name need not be valid text
    try:
        status = _run(main, argv)
        lost = standard_streams.flush()
    except REPORTED_ERRORS as error:
        status, lost = RETRY if isinstance(error, InUse) else 1, standard_streams.flush() or _told(error)
    except KeyboardInterrupt:  # where `signals.watch` was not called
        print("interrupted", file=sys.stderr)
        return 130
    except Exception:
        if not (lack := machine.lacking_platform()):
            raise
        status, lost = 1, lack
    if lost:
        print(f"error: {lost}", file=sys.stderr)
    return status or int(bool(lost))


def _run(main: Callable[[list[str]], int | None], argv: list[str]) -> int:
    with _notes():
        try:
            return main(argv) or 0
        except Stopped as stopped:
            if str(stopped):  # of several processes, one has something to say
                print(stopped, file=sys.stderr, flush=True)
            return RETRY


@contextlib.contextmanager
def _notes() -> Iterator[None]:
    """Prints the warning that an input was adjusted as one line, once, and any other warning as before.

    Python's own "once" begins anew whenever a library changes the filters of warnings.
    """
    told = set[str]()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_warning(message: Warning | str, category: type[Warning], *rest: Any, **options: Any) -> None:
            if not issubclass(category, Adjusted):
                show(message, category, *rest, **options)
            elif str(message) not in told:
                told.add(str(message))
                print(f"note: {message}", file=sys.stderr, flush=True)

        warnings.simplefilter("always", Adjusted)
        warnings.showwarning = show_warning
        yield


def _told(error: BaseException) -> str:
    """An error in one line. What the system says of a file by a number, or of no file at all, is put into words."""
    if not isinstance(error, OSError) or error.errno is None:
        return one_line(error)
    if isinstance(error, BrokenPipeError):
        return standard_streams.unwritten(error)
    if error.filename is not None:
        return f"cannot use {error.filename!r} ({reason(error)})"
    return f"{reason(error)}: of standard output, an output or temporary files (TMPDIR)"


def expand_home(values: flags.FlagValues) -> None:
    """Expands ~ at the start of a flag's value, or of an item of its list: a shell leaves --flag=~/file as it is."""
    expanded = lambda text: os.path.expanduser(text) if isinstance(text, str) else text
    for name in values:
        value = values[name].value
        if isinstance(value, str | list):
            values[name].value = [expanded(x) for x in value] if isinstance(value, list) else expanded(value)


def _not_of_orbax(record: stdlib_logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


def _with_config(argv: list[str], default: str) -> list[str]:
    named = any(argument.lstrip("-").partition("=")[0] == "config" for argument in argv[1:])
    return argv if named or not default else [argv[0], f"--config={default}", *argv[1:]]


def _parse(argv: list[str]) -> list[str]:
    """Sets the flags and returns the program's name.

    A mistake in the flags, or an InputError in a config file, is printed in one line and ends the program with status
    1. Any other error in a config file is a defect and keeps its traceback.
    """
    try:
        names = flags.FLAGS(argv)
        expand_home(flags.FLAGS)
        for name in flags.FLAGS:
            # ml_collections keeps the error of a missing config file back until an attribute of the config is read.
            getattr(flags.FLAGS[name].value, "items", None)
    except flags.UnrecognizedFlagError as error:
        _refuse(_unknown_flag(error))
    except flags.Error as error:
        _refuse(_mistake_in_flags(error))
    except OSError as error:
        found = _ERRNO.search(str(error))
        _refuse(f"`config`: cannot read {found[2]}: {found[1]}" if found else _told(error))
    except (AttributeError, KeyError) as error:
        _refuse(_unknown_setting(error, argv))
    if names[1:]:
        _refuse(f"`{names[1]}`: expected only flags, --flag=value")
    return names


def _mistake_in_flags(error: flags.Error) -> str:
    """The message of a flag's mistake; raises the error again if it stems from a defect in a config file.

    ml_collections (`config_flags._ConfigFileParser.parse`) replaces a ValueError in a config file, and so an
    InputError, by one whose message is the formatted traceback. The kind and the message of what was raised can only
    be found in that text.
    """
    _, is_input_error, message = str(error).rpartition("InputError: ")
    if is_input_error:
        return message
    if "Traceback" in str(error):
        raise error
    if early := _EARLY.search(str(error)):
        return f"`config`: expected --config=FILE before {early[1]}, got it behind that"
    return str(error)


def _unknown_flag(error: flags.UnrecognizedFlagError) -> str:
    """The message for a flag that is not defined, which names the settings of that name, if there are any."""
    settings = flags.FLAGS["config"].value if "config" in flags.FLAGS else None
    found = [f"--config.{path}" for path in _paths(settings.to_dict() if settings else {}, error.flagname)]
    return (
        f"`{error.flagname}`: expected {' or '.join(found)}, for it is no flag but a setting" if found else str(error)
    )


def _paths(settings: dict[str, Any], name: str) -> list[str]:
    """Where a setting of this name is, section by section: "inner.steps"."""
    found = [name] if name in settings else []
    for section, values in settings.items():
        if isinstance(values, dict):
            found += [f"{section}.{path}" for path in _paths(values, name)]
    return found


def _unknown_setting(error: AttributeError | KeyError, argv: list[str]) -> str:
    """The message for a flag --config.SECTION.NAME without such a setting; raises the error again otherwise.

    ml_collections raises the same errors for such a flag as a config file with a defect raises itself; they differ only
    in the frames of the traceback. It may also wrap the error in others, and never says which flag is wrong.
    """
    if "get_config" in (frame.name for frame in traceback.extract_tb(error.__traceback__)):
        raise error
    innermost: BaseException = error
    while isinstance(innermost.args[0], Exception):
        innermost = innermost.args[0]
    text = innermost.args[0]
    names = [argument.partition("=")[0].lstrip("-") for argument in argv if argument.startswith("--config")]
    unknown = [name for name in names if name.rpartition(".")[2] in str(text)]
    return f"`{[*unknown, 'config'][0]}`: not found: {text}"


def _refuse(message: str) -> NoReturn:
    print(f"error: {one_line(message)}", file=sys.stderr)
    sys.exit(1)
