"""Converts a folder of pictures to a TensorFlow dataset as array_record, with thousands of pictures in a file."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from metastyle.data.sources import FolderSource, import_tfds
from metastyle.errors import InputError
from metastyle.images import codec
from metastyle.images.resize import resize
from metastyle.system import files, lock, signals

_PER_SHARD = 10_000
_BATCH = 64  # pictures in a call of the writer, which rewrites its metadata after each call
_INFO = "dataset_info.json"

_log = logging.getLogger(__name__)


def prepare(
    folder: str | os.PathLike,
    out: str | os.PathLike,
    *,
    name: str = "pictures",
    val: float = 0.05,
    max_side: int = 0,
    overwrite: bool = False,
) -> dict[str, int]:
    """Writes a dataset of the pictures under `folder` into the folder `out`, for sources of the form `tfds:PATH`.

    Its features are `image` and `name`, the path in `folder`. JPEG and PNG in RGB are stored byte for byte, anything
    else as JPEG of quality 95. A picture that can't be decoded is named in the log and left out.

    Args:
      name: that of the dataset. `tfds:NAME` finds it if `out` is `TFDS_DATA_DIR`/NAME/1.0.0.
      val: the share of the pictures in the split "val"; the others are in "train". A hash of each file decides, so that
        a picture and its copies stay in their split when others are added.
      max_side: px; pictures with a longer side are reduced to it. 0 is off.
      overwrite: whether to replace a dataset at `out`.

    Returns:
      The numbers of pictures in the splits "train" and "val", of those among them that were "encoded" again, and of
      those that were "unreadable".

    Raises:
      FileNotFoundError: `folder` does not exist.
      InputError: `folder` has no pictures, or none for the split "train"; `out` exists; or a bad name or share.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"`name`: expected lower-case letters, digits and _, a letter first, got {name!r}")
    if not 0 <= val < 1:
        raise InputError(f"`val`: expected a share in [0, 1), got {val}")
    if max_side < 0:
        raise InputError(f"`max_side`: expected a number of pixels, or 0 for off, got {max_side}")
    files.stat_mode(out, "out")
    target = Path(os.path.realpath(out))
    with files.blaming("out"):
        _check_output(target, Path(os.path.realpath(folder)), overwrite)
    source = FolderSource(folder, "folder")

    files.make_folder(target.parent, "out")
    with lock.beside(out), files.blaming("out"), files.temporary_folder(target.parent) as temporary:
        counts = _write(source, temporary, name, val, max_side)
        if not counts["train"]:
            raise InputError(
                f"`folder`: expected pictures for the split `train`, got none of {len(source)} in {str(folder)!r} "
                f"({counts['val']} in `val`, {counts['unreadable']} unreadable); add pictures or lower `val`"
            )
        with files.temporary_folder(target.parent) as replaced, signals.held():
            if target.exists():
                os.replace(target, replaced)
            os.replace(temporary, target)
    return counts


def _check_output(out: Path, folder: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    # Nothing but a dataset is replaced: `out` could be a folder of somebody's pictures.
    if not (out / _INFO).is_file() or folder.is_relative_to(out):
        raise InputError(f"`out`: expected a new or empty folder or a dataset, got {str(out)!r}; choose another")
    if not overwrite:
        raise InputError(f"`out`: there is a dataset at {str(out)!r}; choose another folder or add `--overwrite`")


def _write(source: FolderSource, out: Path, name: str, val: float, max_side: int) -> dict[str, int]:
    tfds = import_tfds()
    features = {"image": tfds.features.Image(shape=(None, None, 3)), "name": tfds.features.Text()}
    identity = tfds.core.dataset_info.DatasetIdentity(name, "1.0.0", os.fspath(out), module_name="")
    info = tfds.core.DatasetInfo(builder=identity, features=tfds.features.FeaturesDict(features))
    writer = tfds.core.SequentialWriter(info, _PER_SHARD, file_format="array_record")
    counts: dict[str, int] = {"train": 0, "val": 0, "encoded": 0, "unreadable": 0}
    waiting: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}

    def flush(split: str) -> None:
        # A split without pictures can't be opened, so it is created with its first picture.
        if waiting[split]:
            writer.initialize_splits([split], fail_if_exists=False)
            writer.add_examples({split: waiting[split]})
            waiting[split] = []

    for i in tqdm(range(len(source)), desc="preparing", unit=" pictures"):
        file = source.file(i)
        try:
            stored = file.read_bytes()
            encoded = _encode(file, stored, max_side)
        except (InputError, OSError, Image.DecompressionBombError) as error:
            _log.warning("left out: %s", error)
            counts["unreadable"] += 1
            continue
        split = "val" if int.from_bytes(hashlib.sha256(stored).digest()[:8]) < val * 2**64 else "train"
        counts[split] += 1
        counts["encoded"] += encoded is not stored
        waiting[split].append({"image": encoded, "name": source.name(i)})
        if len(waiting[split]) == _BATCH:
            flush(split)
    for split in waiting:
        flush(split)
    writer.close_all()
    return counts


def _encode(file: Path, stored: bytes, max_side: int) -> bytes:
    """The bytes to store: the file's own, `stored`, if they will do. Raises if the picture can't be decoded."""
    rgb, _ = codec.load(file, name="folder")
    height, width = rgb.shape[:2]
    if max_side and max(height, width) > max_side:
        scale = max_side / max(height, width)
        rgb = resize(rgb, (max(round(height * scale), 2), max(round(width * scale), 2)))
    elif stored.startswith((b"\xff\xd8\xff", b"\x89PNG")):
        with Image.open(io.BytesIO(stored)) as image:
            if image.format in ("JPEG", "PNG") and image.mode == "RGB":  # no MPO, which holds more
                return stored
    return codec.encode(rgb, ".jpg")
