"""Measures how the sizes of style and photograph change the strokes: python -m experiments.strokes

With --transfer=fast (or another quality) it measures those of `metastyle transfer` instead, by size and --stroke.
"""

from absl import flags

from metastyle.cli.app import run
from metastyle.config import DEFAULT_BUNDLE

_BUNDLE = flags.DEFINE_string("bundle", DEFAULT_BUNDLE, "a meta-trained start; default: the one in the package")
_TRANSFER = flags.DEFINE_string("transfer", None, "a quality of `metastyle transfer`: fast, good or best")
_SIZES = flags.DEFINE_multi_integer("size", None, "px, of --transfer; default: 512, 1024 and 2048", lower_bound=64)
_STEPS = flags.DEFINE_integer("steps", 10, "of adaptation", lower_bound=0)


def main(_: list[str]) -> None:
    from metastyle.evaluate.studies import strokes
    from metastyle.stylize import stylizer
    from metastyle.system import compile_cache, paths

    compile_cache.enable_compile_cache()
    if _TRANSFER.value:
        sizes, scales = _SIZES.value or strokes.TRANSFER_SIZES, strokes.STROKES
        found = strokes.measure_transfers(paths.demo_pictures("styles"), sizes, scales, _TRANSFER.value)
        print(strokes.format_transfers(found, sizes, scales))
        return
    loaded, styles, steps = stylizer.load(_BUNDLE.value), paths.demo_pictures("styles"), _STEPS.value
    by_style_size = strokes.measure_by_style_size(loaded, styles, strokes.STYLE_SIZES, steps)
    by_content_size = strokes.measure_by_content_size(loaded, styles, strokes.CONTENT_SIZES, steps)
    print(strokes.format_table(by_style_size, by_content_size))


if __name__ == "__main__":
    run(main)
