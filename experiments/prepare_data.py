"""Converts a folder of pictures to a dataset, for sources of the form `tfds:PATH` (metastyle/data/prepare.py).

python -m experiments.prepare_data --folder=coco/train2017 --out=datasets/coco --max_side=512
"""

from absl import flags

from metastyle.cli.app import run

_FOLDER = flags.DEFINE_string("folder", None, "folder of pictures, at any depth", required=True)
_OUT = flags.DEFINE_string("out", None, "folder to write, new or empty", required=True)
_NAME = flags.DEFINE_string("name", "pictures", "name of the dataset")
_VAL = flags.DEFINE_float("val", 0.05, "share of the pictures in the split `val`")
_MAX_SIDE = flags.DEFINE_integer("max_side", 0, "scale longer pictures down to this, px; 0 is off")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "replace a dataset at `out`")


def main(_: list[str]) -> None:
    from metastyle.data.prepare import prepare

    counts = prepare(
        _FOLDER.value,
        _OUT.value,
        name=_NAME.value,
        val=_VAL.value,
        max_side=_MAX_SIDE.value,
        overwrite=_OVERWRITE.value,
    )
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    print(f"--config.data.content=tfds:{_OUT.value}")
    if counts["val"]:
        print(f"--config.data.val_content=tfds:{_OUT.value}:val")


if __name__ == "__main__":
    run(main)
