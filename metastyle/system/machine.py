"""Facts that belong to measured numbers, and modules in processes of their own. Only `devices` imports JAX."""

import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from metastyle.errors import one_line
from metastyle.system import signals


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
    done = run_process(line, stdout=subprocess.PIPE, text=True)
    done.check_returncode()
    return json.loads(done.stdout.splitlines()[-1])


def run_process(line: Sequence[str], **options: Any) -> subprocess.CompletedProcess:
    """Runs a command line to its end. It is asked to end (SIGTERM) where a signal or an exception ends this call.

    options: those of subprocess.Popen.
    """
    with subprocess.Popen(line, **options) as process, signals.at_end(process.terminate):
        try:
            out, err = process.communicate()
        except BaseException:
            process.terminate()
            raise
    return subprocess.CompletedProcess(line, process.returncode, out, err)


def lacking_platform() -> str | None:
    """What to tell where the environment asks JAX for a platform that this machine lacks; else None.

    For a program that has failed: if JAX has been imported, this starts its backend.
    """
    asked = {name: os.environ[name] for name in ("JAX_PLATFORMS", "JAX_PLATFORM_NAME") if os.environ.get(name)}
    jax = sys.modules.get("jax")
    if not asked or jax is None:
        return None
    try:
        jax.devices()
    except Exception as error:  # a RuntimeError, or an AssertionError of a plugin
        name, value = next(iter(asked.items()))
        why = one_line(error).partition(" (set ")[0][:200].rstrip(".") or "its plugin is not installed"
        return f"`{name}`: JAX has no platform {value!r} here ({why}); unset it, or set it to cpu"
    return None
