"""Makes the plain parameters of a bundle, where strength starts: python -m experiments.plain --bundle=DIR (minutes)"""

from absl import flags

from metastyle.cli.app import run

_BUNDLE = flags.DEFINE_string("bundle", None, "folder of the bundle, to which they are added", required=True)
_CONTENTS = flags.DEFINE_string("contents", "", "source of photographs; by default that of the bundle's meta-training")
_VAL = flags.DEFINE_string("val_contents", "", "source of photographs to judge by; by default the bundle's")
_STEPS = flags.DEFINE_integer("steps", None, "of Adam; by default 400", lower_bound=1)


def main(_: list[str]) -> None:
    from metastyle.train.plain_parameters import SIZE, STEPS, add_plain_parameters

    found = add_plain_parameters(_BUNDLE.value, _CONTENTS.value, _VAL.value, steps=_STEPS.value or STEPS)
    print(f"wrote {_BUNDLE.value}; mean SSIM with photographs that it has not seen, at {SIZE} px: {found:.3f}")


if __name__ == "__main__":
    run(main)
