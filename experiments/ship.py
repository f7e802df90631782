"""Makes a bundle the one in the package: in half precision, beside its model card.

python -m experiments.ship --bundle=runs/few_shot/bundle

With --grid=0.2, styles are learned with this weight of the loss's grid term, whatever the bundle was trained with.
"""

import dataclasses

from absl import flags

from metastyle.launch import run

_BUNDLE = flags.DEFINE_string("bundle", None, "the bundle", required=True)
_GRID = flags.DEFINE_float("grid", None, "weight of the grid term; by default as it is", lower_bound=0)


def main(_: list[str]) -> None:
    from metastyle import bundles, config

    out, bundle = bundles.locate(config.DEFAULT_BUNDLE), bundles.load_bundle(_BUNDLE.value)
    if _GRID.value is not None:
        loss = dataclasses.replace(bundle.config.loss, grid=_GRID.value)
        bundle = dataclasses.replace(bundle, config=dataclasses.replace(bundle.config, loss=loss))
    bundles.save_bundle(out, bundle, "float16")
    size = sum(path.stat().st_size for path in out.iterdir()) / 2**20
    print(f"wrote {out} ({size:.2f} MiB)")


if __name__ == "__main__":
    run(main)
