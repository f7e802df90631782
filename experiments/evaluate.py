"""Judges bundles on photographs and paintings that they never saw.

python -m experiments.evaluate --bundle=ours=runs/tiny/bundle --contents=DIR --styles=DIR --pairs=8 --out=report
"""

from absl import flags

from metastyle.launch import run

_BUNDLES = flags.DEFINE_multi_string("bundle", None, "PATH or NAME=PATH; one row each", required=True)
_CONTENTS = flags.DEFINE_string("contents", None, "folder of photographs", required=True)
_STYLES = flags.DEFINE_string("styles", None, "folder of paintings", required=True)
_PAIRS = flags.DEFINE_integer("pairs", 8, "photograph-painting pairs")
_SIZE = flags.DEFINE_integer("size", 256, "px, of the squares that are judged")
_STEPS = flags.DEFINE_list("steps", ["0", "1", "2", "5", "10"], "gradient steps after which to judge")
_OUT = flags.DEFINE_string("out", "report", "folder for the table, the curve and the pictures")
_VGG = flags.DEFINE_string("vgg", "", "VGG-16 weights")


def main(_: list[str]) -> None:
    from metastyle import evaluate

    bundles = dict(evaluate.named(text) for text in _BUNDLES.value)
    steps = evaluate.parse_steps(_STEPS.value)
    print(
        evaluate.report(
            bundles, _CONTENTS.value, _STYLES.value, _OUT.value, pair_count=_PAIRS.value, size=_SIZE.value, steps=steps,
            weights=_VGG.value,
        )
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
