"""Meta-trains a generator: python -m experiments.meta_train --config=configs/tiny_cpu.py --workdir=runs/tiny

Any setting can be changed on the command line, as in --config.inner.steps=3. The same line continues a stopped run. On
a cluster, the line is started once for each process; see docs/scaling.md and launch/.
"""

from absl import flags

from metastyle import config
from metastyle.cli.app import config_flag, run

_CONFIG = config_flag()
_WORKDIR = flags.DEFINE_string("workdir", None, "folder for checkpoints, curves, pictures and the bundle")
_TIMEOUT = flags.DEFINE_integer(
    "peer_timeout", config.PEER_TIMEOUT, "seconds after which a silent process counts as lost", lower_bound=1
)
flags.mark_flags_as_required(["config", "workdir"])


def main(_: list[str]) -> None:
    settings = config.from_dict(_CONFIG.value.to_dict())

    from metastyle.train import (  # seconds of imports, which a mistake in the settings needn't wait for
        meta_training,
        multihost,
    )

    multihost.join(_TIMEOUT.value)
    meta_training.train(settings, _WORKDIR.value, timeout=_TIMEOUT.value)


if __name__ == "__main__":
    run(main)
