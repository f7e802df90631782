"""How a stage is timed: compiled apart, warmed up, run in turns with its rivals; and what a device could do at best."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

BUDGET = 4.0  # seconds for each stage, in which it is run this often:
_LEAST, _MOST = 3, 50
# Dense TFLOP/s by `device_kind`. Unless told otherwise, JAX computes float32 convolutions in tf32 on these GPUs and in
# bf16 on TPUs. Names are matched as a whole: the PCIe and NVL cards of the same chips are slower.
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
    """Something to time. `call()` returns JAX arrays, or is done when it returns; the rest is known of compiled ones.

    compile_s: seconds to trace and compile. flops: floating-point operations of a call. memory: bytes that it needs for
    temporaries, None where XLA doesn't tell. dtype: of its convolutions.
    """

    call: Callable[[], Any]
    compile_s: float | None = None
    flops: float | None = None
    memory: int | None = None
    dtype: str = "float32"


def compile_stage(function: Callable, *arguments: Any, dtype: str = "float32") -> Stage:
    """The stage that calls `function`, compiled, with `arguments`, which are on the device by then."""
    arguments = jax.device_put(arguments)
    began = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    seconds, memory = time.perf_counter() - began, program.memory_analysis()
    temporary = memory and memory.temp_size_in_bytes
    return Stage(lambda: program(*arguments), seconds, _program_flops(program), temporary, dtype)


def count_flops(function: Callable, *arguments: Any) -> float | None:
    """Floating-point operations of `function`, not compiled. As in `Stage.flops`, those of a loop count once."""
    return _program_flops(jax.jit(function).lower(*arguments))


def _program_flops(program: Any) -> float | None:
    return (program.cost_analysis() or {}).get("flops")


def time_in_turns(
    calls: dict[str, Callable[[], Any]], budget: float = BUDGET, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """The median of the seconds of each call, after one to warm up.

    They take turns, so that what else the machine does hits all alike, and as many of them as fit `budget` seconds
    for each call: 3 at least, 50 at most.
    """

    def once(call):
        began = clock()
        jax.block_until_ready(call())
        return clock() - began

    for call in calls.values():
        once(call)
    seconds = {name: [once(call)] for name, call in calls.items()}
    turns = budget * len(calls) / max(sum(first for (first,) in seconds.values()), 1e-9)
    for _ in range(int(np.clip(turns, _LEAST, _MOST)) - 1):
        for name, call in calls.items():
            seconds[name].append(once(call))
    return {name: float(np.median(values)) for name, values in seconds.items()}


def time_stages(stages: dict[str, Stage], budget: float = BUDGET) -> dict[str, float]:
    """Milliseconds of each stage, run in turns; of compiled ones also GFLOP/s and the seconds of tracing and compiling.

    On a device whose peak is known, also the share of it that is reached.
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
    """The precision in which a device computes convolutions of `dtype`, and its FLOP/s at best; None if not known."""
    known = _PEAKS.get(kind)
    if known is None:
        return None
    precision = "tf32" if dtype == "float32" and "tf32" in known else "bf16"
    return precision, known[precision] * 1e12
