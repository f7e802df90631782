"""Meta-trains a generator: python -m experiments.meta_train --config=configs/tiny_cpu.py --workdir=runs/tiny

Any setting can be changed on the line, as in --config.inner.steps=3. The same line again continues a stopped run.
"""

from absl import flags

from metastyle import config
from metastyle.errors import RETRY
from metastyle.launch import config_flag, run

_CONFIG = config_flag()
_WORKDIR = flags.DEFINE_string("workdir", None, "folder for checkpoints, curves, pictures and the bundle")
flags.mark_flags_as_required(["config", "workdir"])


def main(_: list[str]) -> int:
    settings = config.from_dict(_CONFIG.value.to_dict())

    from metastyle.train import train  # seconds of imports, which a mistake in the settings needn't wait for

    return 0 if train(settings, _WORKDIR.value) else RETRY


if __name__ == "__main__":
    run(main)
