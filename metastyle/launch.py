"""How a main runs: flags are parsed, and a user's mistake becomes one line and a non-zero exit."""

import sys
from collections.abc import Callable

from absl import app, flags, logging

from metastyle.errors import InputError

RETRY = 75  # EX_TEMPFAIL: the run was asked to stop before it was complete; the same line continues it


def run(main: Callable[[list[str]], int | None]) -> None:
    """Parses the absl flags and runs `main(argv)`; its return value is the exit status."""
    app.run(lambda argv: sys.exit(guard(main, argv)), flags_parser=_parse)


def guard(main: Callable[[list[str]], int | None], argv: list[str]) -> int:
    """`main(argv)` with user mistakes, a full disk and a diverged run told in one line (exit 1); defects keep their traceback."""
    logging.set_verbosity(logging.WARNING)  # Orbax tells every file it touches
    logging.use_absl_handler()
    try:
        return main(argv) or 0
    except (InputError, OSError, FloatingPointError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parse(argv: list[str]) -> list[str]:
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:  # what config flags raise on a typo
        named = [a.split("=")[0] for a in argv if a.startswith("--config")]
        print(f"error: `{' '.join(named) or 'flags'}`: {one_line(error)}", file=sys.stderr)
        sys.exit(1)
    except flags.Error as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(1)


def one_line(error: Exception) -> str:
    """The message of an exception without line breaks."""
    return " ".join(str(error).split())
