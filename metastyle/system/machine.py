"""Facts that belong to measured numbers, and modules in processes of their own. Only `devices` imports JAX."""

import contextlib
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any


def processor() -> str:
    """Names the model of the processor."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def devices() -> str:
    """The number and the kind of JAX's devices, whose backend this starts."""
    import jax

    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of Python and of those of `packages` that are installed."""
    out = {"python": platform.python_version()}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            out[name] = metadata.version(name)
    return out


def run_module(module: str, *arguments: str) -> dict[str, Any]:
    """Returns the JSON that `python -m module arguments`, a process of its own, prints in its last line."""
    line = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])
