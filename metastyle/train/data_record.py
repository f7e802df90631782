"""A run's record of its pictures: whoever continues it is told if they have changed since.

data.json has an entry for the beginning, and one for each start that found other files: the number of steps done, and,
for each setting that names files, their number and a digest of their names and sizes. No picture is read.
"""

import contextlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from metastyle.config import Data, Run
from metastyle.data.sources import FileSource, Kind, Source, TfdsSource, open_source
from metastyle.errors import Adjusted
from metastyle.system import files

_Lists = dict[str, dict[str, Any]]  # by the names of settings


def note(workdir: Path, run: Run, opened: Callable[[], Mapping[str, Source]], done: int) -> None:
    """Compares the files of a run's sources, which `opened` opens by their names, with those of its last start.

    done: the steps that the run has done. A warning (errors.Adjusted) names each setting whose files have changed. In
    a run of several processes, the first does this; for a complete run, none.
    """
    if jax.process_index() or done >= run.steps:
        return
    path, now = workdir / "data.json", _lists(opened())
    entries = _read(path)
    before: _Lists = entries[-1]["lists"] if entries else {}
    changed = [name for name in now if name in before and now[name] != before[name]] if done else []
    for name in changed:
        message = (
            f"`{name}`: its files have changed since the run was last started ({before[name]['files']} then, "
            f"{now[name]['files']} now); from step {done} on, tasks are drawn from the new ones"
        )
        warnings.warn(message, Adjusted, stacklevel=2)
    if not done:
        entries = []
    if changed or not entries:
        text = json.dumps([*entries, {"steps": done, "lists": now}], indent=2)
        files.write(path, f"{text}\n".encode(), name="workdir")


def sources(data: Data, fields: Sequence[str]) -> dict[str, Source]:
    """The sources that the settings `data.FIELD` name."""
    found: dict[str, Source] = {}
    for field in fields:
        kind: Kind = "content" if field.endswith("content") else "style"
        name = f"data.{field}"
        found[name] = open_source(getattr(data, field), kind, size=data.size, name=name)
    return found


def _lists(sources: Mapping[str, Source]) -> _Lists:
    return {
        name: source.listing()._asdict()
        for name, source in sources.items()
        if isinstance(source, FileSource | TfdsSource)
    }


def _read(path: Path) -> list[dict[str, Any]]:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        entries = json.loads(path.read_text())
        if all(isinstance(entry["lists"], dict) and isinstance(entry["steps"], int) for entry in entries):
            return entries
    return []
