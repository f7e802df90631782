"""Measures how the sizes of style and photograph change the strokes: python -m experiments.strokes"""

from absl import flags

from metastyle.cli.app import run

_BUNDLE = flags.DEFINE_string("bundle", "default", "a meta-trained start; default: the one in the package")
_STEPS = flags.DEFINE_integer("steps", 10, "of adaptation", lower_bound=0)


def main(_: list[str]) -> None:
    from metastyle.evaluate.studies import strokes
    from metastyle.stylize import stylizer
    from metastyle.system import paths

    start, styles = stylizer.load(_BUNDLE.value), paths.demo_pictures("styles")
    sizes = [64, 128, 256]
    for size, found in zip(
        sizes, strokes.measure_by_style_size(start, styles, sizes, _STEPS.value).mean(0), strict=True
    ):
        print(f"--style_size={size:<5} mean wavelength {found:.1f} px")
    sizes = [256, 512, 1024]
    for size, found in zip(
        sizes, strokes.measure_by_content_size(start, styles, sizes, _STEPS.value).mean(0), strict=True
    ):
        print(f"--content_size={size:<5} mean wavelength {found:.2%} of the side")


if __name__ == "__main__":
    run(main)
