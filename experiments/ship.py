"""Makes a bundle the one in the package, in half precision, and the loss network that it learns with its `slim`.

python -m experiments.ship --bundle=runs/few_shot/bundle

The model card, and all that the docs print of the bundle in the package, are then to be brought up to date.
"""

from absl import flags

from metastyle.cli.app import run

_BUNDLE = flags.DEFINE_string("bundle", None, "the bundle", required=True)


def main(_: list[str]) -> None:
    from metastyle.weights import ship

    for path in ship.ship_bundle(_BUNDLE.value):
        print(f"{path} ({path.stat().st_size / 2**20:.2f} MiB)")


if __name__ == "__main__":
    run(main)
