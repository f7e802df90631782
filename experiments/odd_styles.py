"""Adapts to a thousand styles that nobody paints; exit status 1 if a number is not finite or an error is raised.

python -m experiments.odd_styles --count=1000 --steps=10
"""

from absl import flags

from metastyle.cli.app import run
from metastyle.config import DEFAULT_BUNDLE

_BUNDLE = flags.DEFINE_string("bundle", DEFAULT_BUNDLE, "the bundle")
_COUNT = flags.DEFINE_integer("count", 1000, "styles", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 10, "of each adaptation", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "of the styles")


def main(_: list[str]) -> int:
    from metastyle.evaluate.studies import odd_styles
    from metastyle.stylize import stylizer
    from metastyle.system import compile_cache

    compile_cache.enable_compile_cache()
    found = odd_styles.survey_styles(stylizer.load(_BUNDLE.value), _COUNT.value, _STEPS.value, _SEED.value)
    print(odd_styles.format_table(found))
    return 1 if any(entry.wrong for entry in found.values()) else 0


if __name__ == "__main__":
    run(main)
