"""Training checkpoints: the whole state of a run, by Orbax."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from metastyle import config
from metastyle.errors import InputError


class Checkpoints:
    """The checkpoints of one run, in `folder`; saves are asynchronous and each appears whole or not at all."""

    def __init__(self, folder: str | os.PathLike, keep: int | None = None):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self._manager = ocp.CheckpointManager(Path(folder).resolve(), options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._manager.close()

    def latest(self) -> int | None:
        """The newest complete step."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, settings: config.Config) -> None:
        """Starts saving; the state may be donated right afterwards."""
        items = {"state": ocp.args.StandardSave(state), "config": ocp.args.JsonSave(dataclasses.asdict(settings))}
        self._manager.save(step, args=ocp.args.Composite(**items))

    def wait(self) -> None:
        """Returns when what was saved is on disk."""
        self._manager.wait_until_finished()

    def restore(self, step: int, template: Any, sharding: jax.sharding.Sharding | None) -> Any:
        """The state of `step`, with the shapes of `template`, placed by `sharding` (on any number of devices)."""
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), template)
        return self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(shapes))).state


def claim(workdir: str | os.PathLike, settings: config.Config) -> None:
    """Records the settings of a run, or checks that a run that is continued has the same.

    Only `run` may change (but for its seed): how long, how often. InputError names the first field that differs.
    """
    path = Path(workdir) / "config.json"
    if path.exists():
        before = config.from_dict(json.loads(path.read_text()))
        free = {f.name: getattr(settings.run, f.name) for f in dataclasses.fields(config.Run) if f.name != "seed"}
        different = differences(dataclasses.replace(before, run=dataclasses.replace(before.run, **free)), settings)
        if different:
            name, old, new = different[0]
            raise InputError(f"`{name}`: the run in {workdir} has {old}, got {new}; set it back or use another --workdir")
    path.write_text(config.to_json(settings))


def differences(a: config.Config, b: config.Config) -> list[tuple[str, Any, Any]]:
    """`(field, a's value, b's value)` for every setting in which two configs differ."""
    out = []
    for section in dataclasses.fields(a):
        x, y = getattr(a, section.name), getattr(b, section.name)
        if dataclasses.is_dataclass(x):
            pairs = ((f"{section.name}.{f.name}", getattr(x, f.name), getattr(y, f.name)) for f in dataclasses.fields(x))
            out += [pair for pair in pairs if pair[1] != pair[2]]
        elif x != y:
            out.append((section.name, x, y))
    return out
