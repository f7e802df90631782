"""Refits the encoder of a bundle to another loss network, so that meta-training can go on with that one.

python -m experiments.carry_over --bundle=runs/few_shot/bundle --vgg_before=old.safetensors --hidden=168 --out=runs/b
"""

from absl import flags

from metastyle.cli.app import run

_BUNDLE = flags.DEFINE_string("bundle", None, "the bundle", required=True)
_BEFORE = flags.DEFINE_string(
    "vgg_before", None, "weights of the loss network that the bundle was trained with", required=True
)
_AFTER = flags.DEFINE_string("vgg", "slim", "weights of the other loss network")
_HIDDEN = flags.DEFINE_integer("hidden", None, "width of the encoder; by default it stays", lower_bound=1)
_STYLES = flags.DEFINE_integer("styles", 4000, "crops of training styles that the encoder is fitted to", lower_bound=1)
_OUT = flags.DEFINE_string("out", None, "folder for the new bundle", required=True)


def main(_: list[str]) -> None:
    from metastyle.train import carry_over

    left = carry_over.carry_over(
        _BUNDLE.value, _BEFORE.value, _AFTER.value, _OUT.value, hidden=_HIDDEN.value, styles=_STYLES.value
    )
    print(f"wrote {_OUT.value}; of what the encoder guesses for styles kept back, {left:.1%} of the variance is lost")


if __name__ == "__main__":
    run(main)
