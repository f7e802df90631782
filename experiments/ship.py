"""Makes a bundle the one in the package, in half precision, and its loss network the one named `slim`.

python -m experiments.ship --bundle=runs/few_shot/bundle

Update the model card afterwards, and the numbers in the docs that are about the bundle in the package.
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
