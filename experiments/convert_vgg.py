"""Converts public VGG-16 weights to the form that this project reads (metastyle/weights/convert.py).

python -m experiments.convert_vgg --source=vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 --out=vgg16.safetensors
"""

from absl import flags

from metastyle.cli.app import run
from metastyle.weights.convert import convert

SOURCE = flags.DEFINE_string("source", None, "Keras .h5, torchvision .pth, or safetensors file.", required=True)
OUT = flags.DEFINE_string("out", "vgg16.safetensors", "File to write.")


def main(argv: list[str]) -> None:
    del argv
    convert(SOURCE.value, OUT.value)
    print(f"wrote {OUT.value}; set METASTYLE_VGG16 to it, or move it to the cache")


if __name__ == "__main__":
    run(main)
