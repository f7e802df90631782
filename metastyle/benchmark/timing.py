"""Times stages: each is compiled and warmed up before it is timed, and rivals take turns."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

BUDGET = 4.0  # seconds for each stage
_FEWEST_RUNS, _MOST_RUNS = 3, 50
# Dense TFLOP/s by `device_kind`. By default JAX computes float32 convolutions in tf32 on these GPUs, in bf16 on TPUs.
# Names are matched as a whole, since the PCIe and NVL cards of the same chips are slower.
_PEAKS = {
    "NVIDIA H200": {"bf16": 989.0, "tf32": 494.0},
    "NVIDIA H100 80GB HBM3": {"bf16": 989.0, "tf32": 494.0},
    "NVIDIA A100-SXM4-80GB": {"bf16": 312.0, "tf32": 156.0},
    "NVIDIA A100-SXM4-40GB": {"bf16": 312.0, "tf32": 156.0},
    "TPU v4": {"bf16": 275.0},
    "TPU v5 lite": {"bf16": 197.0},
    "TPU v5": {"bf16": 459.0},
    "TPU v6 lite": {"bf16": 918.0},
}


class Stage(NamedTuple):
    """Something to time: `call()` either returns JAX arrays, which are waited for, or has finished when it returns.

    The other fields are known for compiled stages only. compile_s: seconds to trace and compile. flops: floating-point
    operations of a call. memory: bytes for temporaries, None where XLA doesn't report them. dtype: of its convolutions.
    """

    call: Callable[[], Any]
    compile_s: float | None = None
    flops: float | None = None
    memory: int | None = None
    dtype: str = "float32"


def compile_stage(function: Callable, *arguments: Any, dtype: str = "float32") -> Stage:
    """Compiles `function` and moves `arguments` to the device; the stage calls one with the other."""
    arguments = jax.device_put(arguments)
    began = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    seconds, memory = time.perf_counter() - began, program.memory_analysis()
    temporary = memory and memory.temp_size_in_bytes
    return Stage(lambda: program(*arguments), seconds, _program_flops(program), temporary, dtype)


def count_flops(function: Callable, *arguments: Any) -> float | None:
    """Counts the floating-point operations of `function` without compiling it. A loop counts as one turn of it."""
    return _program_flops(jax.jit(function).lower(*arguments))


def _program_flops(program: Any) -> float | None:
    return (program.cost_analysis() or {}).get("flops")


def time_in_turns(
    calls: Mapping[str, Callable[[], Any]], budget: float = BUDGET, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Returns the median of the seconds of each call, after one call to warm up.

    The calls take turns, so that other work on the machine affects all of them alike. There are as many turns as fit
    into `budget` seconds for each call, at least 3 and at most 50.
    """

    def once(call):
        began = clock()
        jax.block_until_ready(call())
        return clock() - began

    for call in calls.values():
        once(call)
    seconds = {name: [once(call)] for name, call in calls.items()}
    turns = budget * len(calls) / max(sum(first for (first,) in seconds.values()), 1e-9)
    for _ in range(int(np.clip(turns, _FEWEST_RUNS, _MOST_RUNS)) - 1):
        for name, call in calls.items():
            seconds[name].append(once(call))
    return {name: float(np.median(values)) for name, values in seconds.items()}


def time_stages(stages: Mapping[str, Stage], budget: float = BUDGET) -> dict[str, float]:
    """Returns the milliseconds of each stage, run in turns.

    Compiled stages also have GFLOP/s, the seconds of tracing and compiling, and on a device whose peak is known the
    share of it that they reach.
    """
    out, kind = {}, jax.devices()[0].device_kind
    for name, seconds in time_in_turns({name: stage.call for name, stage in stages.items()}, budget).items():
        stage = stages[name]
        out[f"{name}, ms"] = 1000 * seconds
        if stage.flops:
            out[f"{name}, GFLOP/s"] = stage.flops / seconds / 1e9
            if limit := peak_flops(kind, stage.dtype):
                out[f"{name}, share of the {limit[0]} peak"] = stage.flops / seconds / limit[1]
        if stage.compile_s is not None:
            out[f"{name}, trace and compile, s"] = stage.compile_s
    return out


def peak_flops(kind: str, dtype: str = "float32") -> tuple[str, float] | None:
    """Returns the precision in which a device computes convolutions of `dtype`, and its peak FLOP/s, if known."""
    known = _PEAKS.get(kind)
    if known is None:
        return None
    precision = "tf32" if dtype == "float32" and "tf32" in known else "bf16"
    return precision, known[precision] * 1e12
