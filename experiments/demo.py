"""Adapts a bundle to a van Gogh and to a synthetic style, and draws the results.

python -m experiments.demo --out=runs/demo
"""

from absl import flags

from metastyle.cli.app import run
from metastyle.config import DEFAULT_BUNDLE

_BUNDLE = flags.DEFINE_string("bundle", DEFAULT_BUNDLE, "the meta-trained start; `default` is the packaged one")
_OUT = flags.DEFINE_string("out", None, "folder for the style files and the pictures", required=True)


def main(_: list[str]) -> None:
    from metastyle.stylize.demo import run_demo

    for path in run_demo(_OUT.value, _BUNDLE.value):
        print(f"wrote {path}")


if __name__ == "__main__":
    run(main)
