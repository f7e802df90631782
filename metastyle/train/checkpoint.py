"""Checkpoints of a run, written by Orbax, and the check that a run is continued with the settings it was begun with."""

import contextlib
import dataclasses
import gc
import io
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from metastyle import config
from metastyle.errors import InputError
from metastyle.meta.outer_loop import MetaState
from metastyle.meta.parameters import Meta
from metastyle.system import files


class Store:
    """Where a run keeps its state. This one keeps nothing: such a run starts over each time."""

    keeps: ClassVar[bool] = False  # whether the same line continues such a run

    def resume(self, template: Any) -> tuple[int, Any]:
        """The steps done and the state of the newest checkpoint, `(0, template)` where there is none."""
        return 0, template

    def save(self, step: int, state: Any) -> None:
        """Starts saving; the state may be donated right afterwards."""

    def latest(self) -> int | None:
        """The step of the newest checkpoint."""
        return None

    def check(self) -> None:
        """Raises OSError if a save failed since the last call of any method."""

    def wait(self) -> None:
        """Returns when what was saved is on disk."""


@dataclasses.dataclass(frozen=True)
class CheckpointStore(Store):
    """Keeps the state of a run in checkpoints.

    settings: the run's settings, saved with each checkpoint. sharding: where a restored state is placed. pack: brings
      the state into the form in which Orbax can save it.
    """

    checkpoints: "Checkpoints"
    settings: Any
    sharding: jax.sharding.Sharding
    pack: Callable[[Any], Any] = lambda state: state
    keeps: ClassVar[bool] = True

    def resume(self, template: Any) -> tuple[int, Any]:
        return self.checkpoints.resume(template, self.sharding)

    def save(self, step: int, state: Any) -> None:
        self.checkpoints.save(step, self.pack(state), self.settings)

    def latest(self) -> int | None:
        return self.checkpoints.latest()

    def check(self) -> None:
        self.checkpoints.check()

    def wait(self) -> None:
        self.checkpoints.wait()


class Checkpoints:
    """The checkpoints of one run, in `folder`; saves are asynchronous and each appears whole or not at all."""

    def __init__(self, folder: str | os.PathLike, keep: int | None = None):
        """Makes the folder. keep: how many of the newest checkpoints stay (default: all).

        Raises InputError if the folder cannot be made.
        """
        self._folder = Path(os.path.realpath(folder))
        files.make_folder(self._folder, "workdir")
        self._manager = ocp.CheckpointManager(self._folder, options=ocp.CheckpointManagerOptions(max_to_keep=keep))

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            with _save_errors(self._folder, self._manager):
                self._manager.close()
        else:  # the error on its way may be that nothing can be saved, and closing would raise it again
            with contextlib.suppress(Exception):
                self._manager.close()

    def latest(self) -> int | None:
        """The step of the newest checkpoint."""
        return self._manager.latest_step()

    def steps(self) -> list[int]:
        """The steps of all checkpoints, in ascending order."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any, settings: Any) -> None:
        """Starts saving; the state may be donated right afterwards."""
        text = ocp.args.JsonSave(dataclasses.asdict(settings))
        items = ocp.args.Composite(state=ocp.args.StandardSave(_to_dicts(state)), config=text)
        with _save_errors(self._folder, self._manager):
            self._manager.save(step, args=items)

    def check(self) -> None:
        """Raises OSError if a save failed since the last call of any method."""
        with _save_errors(self._folder, self._manager):
            self._manager.check_for_errors()

    def wait(self) -> None:
        """Returns when what was saved is on disk."""
        with _save_errors(self._folder, self._manager):
            self._manager.wait_until_finished()

    def resume(self, template: Any, sharding: jax.sharding.Sharding | None) -> tuple[int, Any]:
        """`(step, state)` of the newest checkpoint that can be read, `(0, template)` if there is no checkpoint.

        Newer checkpoints that are damaged are named on stderr and renamed.

        Raises InputError, as `restore` does, if there are checkpoints and none can be read.
        """
        damaged = []
        for step in reversed(self.steps()):
            try:
                state = self.restore(step, template, sharding)
            except InputError as error:
                damaged.append((step, error))
                continue
            for bad, error in damaged:
                self._set_aside(bad, f"{error}".partition("; ")[0], step)
            return step, state
        if damaged:
            raise damaged[-1][1]
        return 0, template

    def _set_aside(self, step: int, problem: str, used: int) -> None:
        aside = self._folder / f"damaged-{step}"
        if jax.process_index() == 0:
            shutil.rmtree(aside, ignore_errors=True)
            (self._folder / str(step)).rename(aside)
            print(f"{problem}; it is now {aside.name}, and step {used} is continued", file=sys.stderr, flush=True)
        multihost_utils.sync_global_devices("set aside")
        self._manager.reload()

    def restore(self, step: int, template: Any, sharding: jax.sharding.Sharding | None) -> Any:
        """The state of `step`, which has the shapes of `template`, placed by `sharding` on any number of devices.

        Raises InputError, naming the folder, if the checkpoint is damaged or has other shapes.
        """
        wanted = _to_dicts(template)
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), wanted)
        items = ocp.args.Composite(state=ocp.args.StandardRestore(shapes))
        try:
            with _quiet_failure():
                return _from_dicts(self._manager.restore(step, args=items)["state"], template)
        except Exception as error:  # Orbax raises all kinds of errors, from KeyError to UnicodeDecodeError
            why = _first_line(error)[:200]
        before = max((s for s in self._manager.all_steps() if s < step), default=None)
        raise InputError(
            f"`workdir`: cannot restore the checkpoint {self._folder / str(step)} ({why}); delete that folder "
            f"to continue from {'the start' if before is None else f'step {before}'}"
        )


@contextlib.contextmanager
def _save_errors(folder: Path, manager: ocp.CheckpointManager) -> Iterator[None]:
    """Turns whatever goes wrong with saving into an OSError of one line."""
    try:
        yield
    except Exception as error:  # Orbax raises all kinds of errors, from OSError to ValueError
        found = re.search(r"[^:\]]*(?=( \[os_error_code)|$)", _first_line(error))
        why = found[0].strip()[:200] if found else ""
        good = max(manager.all_steps(read=True), default=None)
        kept = "there is none yet" if good is None else f"the last good one is of step {good}"
        raise OSError(
            f"`workdir`: cannot save a checkpoint in {folder} ({why}); {kept}; mend that, and the same line continues"
        ) from None


@contextlib.contextmanager
def _quiet_failure() -> Iterator[None]:
    """Keeps a failed read from printing tracebacks.

    When one read fails, Orbax closes its event loop while other reads are still running, and each of these prints
    "Event loop is closed" when it ends or is collected. So they get the time to end, and what they print is dropped.
    """
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            yield
        except Exception:
            time.sleep(0.2)
            gc.collect()
            raise


def _to_dicts(state: Any) -> Any:
    """The state as it is on disk: `MetaState` and every `Meta` in it as dicts, without an absent encoder."""
    if isinstance(state, MetaState):
        return _to_dicts(state._asdict())
    is_meta = lambda x: isinstance(x, Meta)
    return jax.tree.map(lambda x: x.parts() if is_meta(x) else x, state, is_leaf=is_meta)


def _from_dicts(saved: Any, template: Any) -> Any:
    """The inverse of `_to_dicts`, for a state of the template's structure."""
    if isinstance(template, MetaState):
        return MetaState(**_from_dicts(saved, template._asdict()))
    is_meta = lambda x: isinstance(x, Meta)
    return jax.tree.map(lambda t, x: Meta(**x) if is_meta(t) else x, template, saved, is_leaf=is_meta)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def claim(workdir: str | os.PathLike, settings: Any, done: int = 0) -> None:
    """Writes the settings of a run (config.Config or Distillation) to its config.json.

    A run that has one already must be continued with the same settings. Only the section `run` may change, which says
    how long the run is and how often it writes, but not its seed. done: the steps that the run has done.

    Raises InputError for fewer steps than are done, and for the first other setting that differs.
    """
    if done > settings.run.steps:
        raise InputError(f"`run.steps`: the run in {workdir} has done {done}, got {settings.run.steps}; use no fewer")
    path = Path(workdir) / "config.json"
    if path.exists():
        try:
            before = config.from_dict(json.loads(path.read_text()), type(settings))
        except ValueError as error:
            raise InputError(f"`workdir`: {path} is not the settings of a run ({error}); use another") from error
        free = {f.name: getattr(settings.run, f.name) for f in dataclasses.fields(config.Run) if f.name != "seed"}
        different = differences(dataclasses.replace(before, run=dataclasses.replace(before.run, **free)), settings)
        if different:
            name, old, new = different[0]
            raise InputError(
                f"`{name}`: the run in {workdir} has {old!r}, got {new!r}; set it back or use another --workdir"
            )
    if jax.process_index() == 0:
        with files.atomic(path) as temporary:
            temporary.write_text(config.to_json(settings))


def differences(a: Any, b: Any) -> list[tuple[str, Any, Any]]:
    """`(field, value in a, value in b)` for every setting in which two configs differ."""
    out = []
    for section in dataclasses.fields(a):
        x, y = getattr(a, section.name), getattr(b, section.name)
        if dataclasses.is_dataclass(x):
            pairs = ((f.name, getattr(x, f.name), getattr(y, f.name)) for f in dataclasses.fields(x))
            out += [(f"{section.name}.{name}", old, new) for name, old, new in pairs if old != new]
        elif x != y:
            out.append((section.name, x, y))
    return out
