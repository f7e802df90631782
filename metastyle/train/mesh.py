"""The mesh of devices, and the two ways to run one local step function on all of them.

"shard_map" (the default) works on one device, on many, and on many hosts. "pmap" runs the same function on one host.
"""

import functools
import math
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from metastyle.errors import InputError

AXIS = "tasks"  # the mesh axis over which the tasks of a step are spread
_COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
_SHAPE = re.compile(r"\b[a-z]+(\d+)\[([\d,]*)\]")  # f32[3,8]


class Parallel:
    """Places arrays on the devices and compiles steps for them, as `run.parallel` says."""

    def __init__(self, mode: str, tasks: int, devices: list | None = None, name: str = "outer.tasks"):
        """mode: "shard_map" or "pmap". tasks: of each step, over all devices, which are all of JAX's by default.

        name: the setting that says how many tasks there are.

        Raises InputError if the tasks cannot be divided evenly between the devices, and for pmap on several hosts.
        """
        self.mode = mode
        self.devices = jax.devices() if devices is None else devices
        if tasks % len(self.devices):
            raise InputError(
                f"`{name}`: expected a multiple of the {len(self.devices)} devices, got {tasks}; "
                f"use {-(-tasks // len(self.devices)) * len(self.devices)}"
            )
        if mode == "pmap" and jax.process_count() > 1:
            raise InputError('`run.parallel`: pmap is for one process; use "shard_map" on several hosts')
        self.mesh = Mesh(np.array(self.devices), (AXIS,))
        self.replicated = NamedSharding(self.mesh, P())

    def local_indices(self, tasks: int) -> list[int]:
        """The indices of those of all `tasks` that this process loads for its devices."""
        share = tasks // len(self.devices)
        mine = [i for i, device in enumerate(self.devices) if device.process_index == jax.process_index()]
        return [i * share + j for i in mine for j in range(share)]

    def replicate(self, tree: Any) -> Any:
        """Copies `tree` to every device. The original stays valid when the copy is donated."""
        return jax.device_put(jax.tree.map(np.asarray, tree), self.replicated)

    def split(self, batch: Any) -> Any:
        """Makes the global batch from the numpy batch of this process, whose leaves are [T, ...]."""
        if self.mode == "pmap":
            count = len(self.devices)
            return jax.tree.map(lambda x: x.reshape(count, len(x) // count, *x.shape[1:]), batch)
        sharding = NamedSharding(self.mesh, P(AXIS))
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)

    def for_checkpoint(self, state: Any) -> Any:
        """The state in a form that Orbax can save, which the arrays that pmap returns are not."""
        return jax.tree.map(np.asarray, state) if self.mode == "pmap" else state

    def wrap(self, step: Callable) -> jax.stages.Wrapped:
        """Returns `step(state, batch, constants, axis=...)` as one jitted function over all devices.

        The state is donated.
        """
        local = functools.partial(step, axis=AXIS)
        if self.mode == "pmap":
            return jax.pmap(
                local, axis_name=AXIS, in_axes=(None, 0, None), out_axes=None, donate_argnums=0, devices=self.devices
            )
        specs = {"in_specs": (P(), P(AXIS), P()), "out_specs": P()}
        return jax.jit(jax.shard_map(local, mesh=self.mesh, **specs), donate_argnums=0)


def traffic(program: str) -> list[tuple[str, int]]:
    """`(kind, bytes of its result on a device)` of every collective operation in a program's compiled HLO text."""
    found = re.findall(rf"= (.*?) ({'|'.join(_COLLECTIVES)})(?:-start)?\(", program)
    return [(kind, sum(_size(*shape) for shape in _SHAPE.findall(shapes))) for shapes, kind in found]


def _size(dtype: str, dimensions: str) -> int:
    return int(dtype) // 8 * math.prod(int(n) for n in dimensions.split(",") if n)
