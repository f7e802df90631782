"""Makes a bundle the one in the package: in half precision, beside its model card.

python -m experiments.ship --bundle=runs/few_shot/bundle
"""

from absl import flags

from metastyle.launch import run

_BUNDLE = flags.DEFINE_string("bundle", None, "the bundle", required=True)


def main(_: list[str]) -> None:
    from metastyle import bundles, config

    out = bundles.locate(config.DEFAULT_BUNDLE)
    bundles.save_bundle(out, bundles.load_bundle(_BUNDLE.value), "float16")
    size = sum(path.stat().st_size for path in out.iterdir()) / 2**20
    print(f"wrote {out} ({size:.2f} MiB)")


if __name__ == "__main__":
    run(main)
