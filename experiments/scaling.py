"""Shows how meta-training scales: calculated for clusters, measured on this machine (docs/scaling.md).

python -m experiments.scaling --config=configs/default.py
python -m experiments.scaling --config=configs/few_shot.py --grid= --devices=64 --devices=256 --tasks_per_device=4
"""

import os
from pathlib import Path

from absl import flags

from metastyle import config
from metastyle.cli.app import config_flag, run
from metastyle.cli.lists import define_list

_CONFIG = config_flag()
_GRID = define_list("grid", ["1x1", "1x2", "2x1", "2x2", "4x1"], "runs to time: processes x devices; may be empty")
_STEPS = flags.DEFINE_integer("steps", 20, "steps of each run", lower_bound=2)
_TASKS = flags.DEFINE_integer("tasks", 4, "tasks of a step of the runs, over all devices", lower_bound=1)
_DEVICES = define_list("devices", [1, 8, 64, 256], "of a calculated cluster", item=flags.IntegerParser(lower_bound=1))
_PER_DEVICE = flags.DEFINE_integer("tasks_per_device", 1, "tasks a device of the calculated clusters", lower_bound=1)
flags.mark_flag_as_required("config")


def main(_: list[str]) -> None:
    settings = config.from_dict(_CONFIG.value.to_dict())
    os.environ["JAX_PLATFORMS"] = "cpu"  # On a CPU XLA counts all operations of a step.

    from metastyle.benchmark import scaling

    grid = scaling.parse_grid(_GRID.value, _TASKS.value)
    print(scaling.describe(settings, _DEVICES.value, _PER_DEVICE.value), flush=True)
    if grid:
        root = Path(__file__).resolve().parents[1]
        print(scaling.time_grid(root, grid, _STEPS.value, _TASKS.value))


if __name__ == "__main__":
    run(main)
