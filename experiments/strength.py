"""Measures how the style loss falls with strength, on held-out pairs: python -m experiments.strength --pairs=40"""

from absl import flags

from metastyle.cli.app import run
from metastyle.config import DEFAULT_BUNDLE

_BUNDLE = flags.DEFINE_string("bundle", DEFAULT_BUNDLE, "a meta-trained start; default: the one in the package")
_CONTENTS = flags.DEFINE_string("contents", "folder:$METASTYLE_SAMPLE_DATA/data/content/val", "source of photographs")
_STYLES = flags.DEFINE_string("styles", "folder:$METASTYLE_SAMPLE_DATA/data/style/val", "source of styles")
_PAIRS = flags.DEFINE_integer("pairs", 40, "of a photograph and a style", lower_bound=1)
_SIZE = flags.DEFINE_integer("size", 256, "px, of the squares that are judged", lower_bound=32)
_STEPS = flags.DEFINE_integer("steps", 10, "of adaptation", lower_bound=0)
_VGG = flags.DEFINE_string("vgg", "vgg16", "the loss network that judges")


def main(_: list[str]) -> None:
    from metastyle.evaluate import pairs
    from metastyle.evaluate.studies import strength
    from metastyle.stylize import stylizer
    from metastyle.system import compile_cache
    from metastyle.weights import vgg_files

    compile_cache.enable_compile_cache()
    chosen = pairs.Pairs(_CONTENTS.value, _STYLES.value, _PAIRS.value, _SIZE.value)
    loaded, params = stylizer.load(_BUNDLE.value), vgg_files.load(_VGG.value)
    measured = strength.measure_levels(loaded, chosen, params, strength.SHOWN, _STEPS.value)
    print(strength.format_table(measured, strength.SHOWN))


if __name__ == "__main__":
    run(main)
