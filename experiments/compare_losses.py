"""Compares a slim loss network with VGG-16: features, ranks of an evaluation's outputs, directions of gradients.

python -m experiments.compare_losses --slim=runs/slim/slim_vgg.safetensors --report=report
"""

from absl import flags

from metastyle import config
from metastyle.cli.app import run

_SLIM = flags.DEFINE_string("slim", None, "weights of the slim network")
_VGG = flags.DEFINE_string("vgg", "vgg16", "the teacher: vgg16, or a file")
_REPORT = flags.DEFINE_string("report", None, "folder that experiments.evaluate wrote")
_SIZE = flags.DEFINE_integer("size", 256, "px, of the squares that features are compared on")
flags.mark_flags_as_required(["slim", "report"])


def main(_: list[str]) -> None:
    from metastyle.evaluate.studies import compare_losses
    from metastyle.weights import vgg_files

    data = config.from_dict({"data": {"size": _SIZE.value}}).data
    print(compare_losses.describe(vgg_files.load(_SLIM.value, "slim"), vgg_files.load(_VGG.value), data, _REPORT.value))


if __name__ == "__main__":
    run(main)
