"""Folders that tests read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FORMAT_1 = ROOT / "tests" / "data" / "format_1"
BUNDLE = FORMAT_1 / "bundle"
CHECKPOINT_1 = ROOT / "tests" / "data" / "checkpoint_1"  # a toy_train run of 4 steps, with the first names of settings
WEIGHTS = "weights/vgg16_imagenet_conv1-conv4.safetensors"  # in the sample data
