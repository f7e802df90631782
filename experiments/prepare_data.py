"""Converts a folder of pictures to a dataset, for sources of the form `tfds:PATH` (metastyle/data/prepare.py).

python -m experiments.prepare_data --folder=coco/train2017 --out=datasets/coco --max_side=512
"""

from absl import flags

from metastyle.cli.app import run
from metastyle.data.prepare import prepare

FOLDER = flags.DEFINE_string("folder", None, "Folder of pictures, at any depth.", required=True)
OUT = flags.DEFINE_string("out", None, "Folder to write, new or empty.", required=True)
NAME = flags.DEFINE_string("name", "pictures", "Name of the dataset.")
VAL = flags.DEFINE_float("val", 0.05, "Share of the pictures in the split `val`.")
MAX_SIDE = flags.DEFINE_integer("max_side", 0, "Scale longer pictures down to this, px; 0 is off.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace a dataset at `out`.")


def main(argv: list[str]) -> None:
    del argv
    counts = prepare(
        FOLDER.value,
        OUT.value,
        name=NAME.value,
        val=VAL.value,
        max_side=MAX_SIDE.value,
        overwrite=OVERWRITE.value,
    )
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    print(f"--config.data.content=tfds:{OUT.value}")
    if counts["val"]:
        print(f"--config.data.val_content=tfds:{OUT.value}:val")


if __name__ == "__main__":
    run(main)
