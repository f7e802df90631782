"""Adversarial training: python -m experiments.adversarial_train --config=configs/gan.py --workdir=runs/gan

Any setting can be changed on the command line, as in --config.data.domains=photo:DIR,ukiyo_e:DIR. The same line
continues a stopped run. See docs/adversarial.md.
"""

from absl import flags

from metastyle import config
from metastyle.cli.app import config_flag, run

_CONFIG = config_flag()
_WORKDIR = flags.DEFINE_string("workdir", None, "folder for checkpoints, curves, pictures and the style")
_TIMEOUT = flags.DEFINE_integer(
    "peer_timeout", config.PEER_TIMEOUT, "seconds after which a silent process counts as lost", lower_bound=1
)
flags.mark_flags_as_required(["config", "workdir"])


def main(_: list[str]) -> None:
    settings = config.from_dict(_CONFIG.value.to_dict(), config.Adversarial)

    from metastyle.train import (  # seconds of imports, which a mistake in the settings needn't wait for
        adversarial,
        multihost,
    )

    multihost.join(_TIMEOUT.value)
    adversarial.train(settings, _WORKDIR.value, timeout=_TIMEOUT.value)


if __name__ == "__main__":
    run(main)
