"""Converts public PyTorch weights of LPIPS or ArtFID's Inception (metastyle/weights/metric_files.py); needs torch.

python -m experiments.convert_metrics --source=alexnet-owt-7be5be79.pth,alex.pth --out=lpips.safetensors
python -m experiments.convert_metrics --source=art_inception.pth --out=art_inception.safetensors

The first is torchvision's AlexNet, the second weights/v0.1/alex.pth of the lpips package, the third ArtFID's own.
"""

from absl import flags

from metastyle.cli.app import run
from metastyle.cli.lists import define_names
from metastyle.system import files

_SOURCE = define_names(
    "source",
    "files of one network: torchvision's AlexNet and LPIPS' alex.pth, or art_inception.pth",
    required=True,
)
_OUT = flags.DEFINE_string("out", None, "safetensors file to write", required=True)


def main(_: list[str]) -> None:
    from metastyle.weights.metric_files import convert

    convert(files.expand(_SOURCE.value, {".pth"}, "source"), _OUT.value)
    print(f"wrote {_OUT.value}")


if __name__ == "__main__":
    run(main)
