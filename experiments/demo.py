"""Adapts a bundle to a van Gogh and draws what came of it.

python -m experiments.demo --bundle=runs/demo/bundle --out=runs/demo
"""

from absl import flags

from metastyle.launch import run

_BUNDLE = flags.DEFINE_string("bundle", None, "a meta-trained start", required=True)
_OUT = flags.DEFINE_string("out", None, "folder for the style file and the pictures", required=True)


def main(_: list[str]) -> None:
    from metastyle.demo import demo

    for path in demo(_BUNDLE.value, _OUT.value):
        print(f"wrote {path}")


if __name__ == "__main__":
    run(main)
