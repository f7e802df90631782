"""Trains the plain parameters of a bundle, for strength 0, in minutes: python -m experiments.plain --bundle=DIR"""

from absl import flags

from metastyle.cli.app import run

_BUNDLE = flags.DEFINE_string("bundle", None, "folder of the bundle that they are added to", required=True)
_CONTENTS = flags.DEFINE_string(
    "contents", "", "source of photographs to train on; by default that of the bundle's meta-training"
)
_VAL = flags.DEFINE_string(
    "val_contents", "", "source of photographs to judge on; by default that of the bundle's meta-training"
)
_STEPS = flags.DEFINE_integer("steps", None, "steps of Adam; by default 400", lower_bound=1)


def main(_: list[str]) -> None:
    from metastyle.train.plain_parameters import SIZE, STEPS, add_plain_parameters

    found = add_plain_parameters(_BUNDLE.value, _CONTENTS.value, _VAL.value, steps=_STEPS.value or STEPS)
    print(f"wrote {_BUNDLE.value}; mean SSIM of its outputs with unseen photographs at {SIZE} px: {found:.3f}")


if __name__ == "__main__":
    run(main)
