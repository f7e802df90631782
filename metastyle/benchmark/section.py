"""Runs one section of the benchmark in this process: python -m metastyle.benchmark.section NAME OUT.json

`suite` starts this program once for each section, so that no section finds compiled programs or memory of another.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import jax
from absl import logging

from metastyle.benchmark import (
    Numbers,
    identities,
    large_dataset,
    large_images,
    many_sizes,
    speed,
    torch_comparison,
    transfers,
    videos,
    whole_commands,
)
from metastyle.errors import InputError
from metastyle.system import signals
from metastyle.system.machine import devices, lacking_platform, processor


def machine_numbers() -> Numbers:
    """Describes the machine that the numbers are measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": processor(),
        "cores": f"{os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "devices": devices(),
        "platform": jax.default_backend(),
    }


FUNCTIONS: dict[str, Callable[[], Numbers]] = {
    "machine": machine_numbers,
    "stylize": speed.time_stylize,
    "loss": speed.time_loss,
    "adapt_step": speed.time_adapt_step,
    "meta_step": speed.time_meta_step,
    "twin": torch_comparison.time_twins,
    "data": speed.time_data,
    "checkpoint": speed.time_checkpoint,
    "import": whole_commands.time_import,
    "gradients": identities.check_gradients,
    "devices": identities.check_devices,
    "tiny": whole_commands.time_tiny,
    "adapt": whole_commands.time_adaptation,
    "quality": whole_commands.judge_tiny,
    "large_data": large_dataset.measure_large_dataset,
    "tiling": large_images.measure_large_images,
    "sizes": many_sizes.measure_many_sizes,
    "transfer": transfers.time_transfers,
    "transfer_sizes": transfers.time_transfers_of_many_sizes,
    "video": videos.measure_videos,
}


def main(name: str, out: str) -> None:
    """Runs section `name` and writes the numbers that it returns to the file `out`, as JSON."""
    logging.set_verbosity(logging.WARNING)  # Orbax logs every file that it touches.
    if name == "devices":
        jax.config.update("jax_num_cpu_devices", identities.DEVICES)
    try:
        Path(out).write_text(json.dumps(FUNCTIONS[name]()))
    except (InputError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {name}: {error}")
    except Exception:
        if not (lack := lacking_platform()):
            raise
        sys.exit(f"error: {name}: {lack}")


if __name__ == "__main__":
    signals.watch(quiet=True)  # the program that started this one has its line
    main(*sys.argv[1:])
