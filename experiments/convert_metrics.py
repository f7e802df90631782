"""Converts public PyTorch weights of LPIPS or ArtFID's Inception (metastyle.weights.metric_files.py); needs torch.

python -m experiments.convert_metrics --source=alexnet-owt-7be5be79.pth,alex.pth --out=lpips.safetensors
python -m experiments.convert_metrics --source=art_inception.pth --out=art_inception.safetensors

The first is torchvision's AlexNet, the second weights/v0.1/alex.pth of the lpips package, the third ArtFID's own.
"""

from absl import flags

from metastyle.cli.app import run
from metastyle.weights.metric_files import convert

SOURCE = flags.DEFINE_list(
    "source",
    None,
    "Files of one network: torchvision's AlexNet and LPIPS' alex.pth, or art_inception.pth.",
    required=True,
)
OUT = flags.DEFINE_string("out", None, "Safetensors file to write.", required=True)


def main(argv: list[str]) -> None:
    del argv
    convert(SOURCE.value, OUT.value)
    print(f"wrote {OUT.value}")


if __name__ == "__main__":
    run(main)
