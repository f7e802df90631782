"""Converts public VGG-16 weights to the form that this project reads (metastyle/weights/convert.py).

python -m experiments.convert_vgg --source=vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 --out=vgg16.safetensors
"""

from absl import flags

from metastyle.cli.app import run

_SOURCE = flags.DEFINE_string("source", None, "keras .h5, torchvision .pth, or safetensors file", required=True)
_OUT = flags.DEFINE_string("out", "vgg16.safetensors", "file to write")


def main(_: list[str]) -> None:
    from metastyle.weights.convert import convert

    convert(_SOURCE.value, _OUT.value)
    print(f"wrote {_OUT.value}; set METASTYLE_VGG16 to it, or move it to the cache")


if __name__ == "__main__":
    run(main)
