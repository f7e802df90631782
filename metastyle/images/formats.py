"""The formats of picture files: their suffixes, and how the format of a file is found from its contents."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import BinaryIO

from PIL import Image

from metastyle.errors import InputError
from metastyle.images import tiff
from metastyle.system.optional import installed, need

_SUFFIXES = {
    "JPEG": ".jpg .jpeg .jpe .jfif .jif .mpo",
    "PNG": ".png .apng",
    "WEBP": ".webp",
    "TIFF": ".tif .tiff",
    "BMP": ".bmp",
    "GIF": ".gif",
    "AVIF": ".avif .avifs",
    "PPM": ".ppm .pgm .pbm .pnm .pfm",
    "HEIF": ".heic .heif .hif",
}
FORMATS = tuple(_SUFFIXES)
_FORMAT_OF = {suffix: name for name, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"))
_HEIF_PACKAGE = "pillow_heif"
_RAW = frozenset((".dng", ".cr2", ".cr3", ".nef", ".arw", ".srw", ".raf", ".orf", ".rw2", ".pef", ".raw"))  # of cameras
_OWN = frozenset((".safetensors", ".onnx", ".state", ".refine", ".chosen"))  # styles, and the state of work
_NAMED = 5  # files that are named for each reason in a message


def suffixes() -> frozenset[str]:
    """The suffixes, in lower case, of the files in a folder that are taken for pictures: those that can be read."""
    return frozenset(suffix for suffix in _FORMAT_OF if _obstacle(suffix) is None)


def _obstacle(suffix: str) -> str | None:
    """Why files of this suffix are not read, or None if they are."""
    form = _FORMAT_OF.get(suffix)
    if form == "HEIF" and not installed(_HEIF_PACKAGE):
        return 'HEIC needs pillow-heif, which is not installed; type `pip install "metastyle[heif]"`'
    if suffix in _RAW:
        return "raw files of a camera are not read; export them as JPEG, PNG or TIFF"
    return None if form else f"no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} by its suffix"


def left_out(paths: Sequence[str]) -> str:
    """Says, in one line, which files and folders of a folder were left out, and why. A folder ends in a slash.

    Of many that are left out for one reason, the first few are named. "" if there are none but files that this program
    writes beside pictures.
    """
    reasons: dict[str, list[str]] = {}
    for path in sorted(path for path in paths if os.path.splitext(path)[1] not in _OWN):
        folder = "pictures in folders are taken by a pattern, such as `photos/**`"
        why = folder if path.endswith("/") else _obstacle(os.path.splitext(path)[1].lower()) or "no regular file"
        reasons.setdefault(why, []).append(path)
    if not reasons:
        return ""
    return f"left out {'; '.join(f'{_names(paths)} ({why})' for why, paths in reasons.items())}"


def _names(files: Sequence[str]) -> str:
    more = len(files) - _NAMED
    return ", ".join(map(repr, files[:_NAMED])) + (f" and {more} more" if more > 0 else "")


def identify(stream: BinaryIO, name: str, what: str) -> tuple[Image.Image, BinaryIO]:
    """Opens the picture in `stream` without decoding it; returns it and the stream that it reads from.

    `PIL.Image.open` has a size limit of its own, which can only be lifted for the whole process. Calling the plugin of
    the format directly avoids it, so that the caller's limit alone decides; the WebP, TIFF and GIF plugins still apply
    it.

    Raises InputError if the picture is in none of FORMATS, and what tiff.open_main raises.
    """
    Image.init()
    prefix = stream.read(64)
    stream.seek(0)
    if _is_heif(prefix):
        return need(_HEIF_PACKAGE, f"`{name}`: {what} is HEIC, which").HeifImageFile(stream, ""), stream
    for form in FORMATS:
        plugin, accepts = Image.OPEN.get(form, (None, None))
        if plugin and accepts and accepts(prefix) is True:
            return tiff.open_main(stream, name, what) if form == "TIFF" else (plugin(stream, ""), stream)
    raise InputError(f"`{name}`: {what} is not a picture; convert it to one of {', '.join(FORMATS)}")


def _is_heif(prefix: bytes) -> bool:
    """Whether a file that begins so is HEIC; the box `ftyp` lists the brands, the major one perhaps of any HEIF."""
    if prefix[4:8] != b"ftyp":
        return False
    box = prefix[: int.from_bytes(prefix[:4], "big")]
    brands = {box[k : k + 4] for k in (8, *range(16, len(box), 4))}
    return not _HEIF_BRANDS.isdisjoint(brands) and b"avif" not in brands
