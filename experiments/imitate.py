"""Teaches a new generator what a bundle's does: python -m experiments.imitate --config=configs/X.py --workdir=runs/X

Any setting can be changed on the command line, as in --config.run.steps=2000. The same line continues a stopped run.
"""

from absl import flags

from metastyle import config
from metastyle.cli.app import config_flag, run

_CONFIG = config_flag()
_WORKDIR = flags.DEFINE_string("workdir", None, "folder for checkpoints, curves, pictures and the bundle")
flags.mark_flags_as_required(["config", "workdir"])


def main(_: list[str]) -> None:
    settings = config.from_dict(_CONFIG.value.to_dict(), config.Imitation)

    from metastyle.train import imitation  # seconds of imports, which a mistake in the settings needn't wait for

    imitation.imitate(settings, _WORKDIR.value)


if __name__ == "__main__":
    run(main)
