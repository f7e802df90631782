"""TIFF: which of the pictures in a file is meant, and the layouts that are not read."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

from PIL import TiffImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Directory
from PIL.TiffImagePlugin import TiffImageFile

from metastyle.errors import InputError

_NEW_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
_SAMPLES, _PLANAR, _COLORMAP, _SUB_IFDS, _INK_SET, _EXTRA, _FORMAT = 277, 284, 320, 330, 332, 338, 339
_SUBSAMPLING = 530
_REDUCED, _MASK = 1, 4  # bits of _NEW_SUBFILE
_SENSOR = (32803, 34892)  # photometric interpretations: what a camera's sensor has measured
_WHITE_IS_ZERO, _RGB, _CMYK, _YCBCR = 0, 2, 5, 6
_BIG = 43  # in the header of a BigTIFF, whose offsets have 8 bytes
_MAX_DIRECTORIES = 1000
_MUCH = 4  # a picture with so many times the pixels of the first one makes that a thumbnail


def open_main(stream: BinaryIO, name: str, what: str) -> tuple[TiffImageFile, BinaryIO]:
    """Opens the picture that a TIFF is of, without decoding it; returns it and the stream that it reads from.

    That is the first picture, or, where the first is marked as a reduced version (a thumbnail), the largest of the
    others, those in sub-directories included.

    Raises InputError for a camera's raw file, a first picture that seems a thumbnail and isn't marked as one, and a
    layout that Pillow doesn't read.
    """
    header = stream.read(16)
    if header[:4] == b"MM\0\x2b":
        raise InputError(f"`{name}`: {what} is a big-endian BigTIFF, which is not read; save it as an ordinary TIFF")
    found = list(_directories(stream, header))
    if header[8:10] == b"CR" or any(x.get(_PHOTOMETRIC) in _SENSOR for _, x in found):
        raise InputError(
            f"`{name}`: {what} is a camera's raw file, whose picture depends on how it is developed; "
            "export it as JPEG, PNG or TIFF"
        )
    offset, directory = _main(found, name, what) if found else (0, None)
    stream.seek(0)
    if directory is not None and offset != found[0][0]:
        stream = _starting_at(stream, header, offset)
    try:
        image = TiffImageFile(stream, "")
    except Exception as error:
        if directory is None or "tile" in str(error):
            raise
        raise InputError(
            f"`{name}`: {what} holds {_describe(directory)}, which is not read of TIFF; save it as RGB with 8 bits"
        ) from error
    return image, stream


def _directories(stream: BinaryIO, header: bytes) -> Iterator[tuple[int, Directory]]:
    """Yields the directories of a file with their offsets: the first one first, each once."""
    header = header[: 16 if header[2] == _BIG else 8]
    waiting, seen = [Directory(header).next], set()
    while waiting and len(seen) < _MAX_DIRECTORIES:
        offset = waiting.pop(0)
        if not offset or offset in seen:
            continue
        seen.add(offset)
        stream.seek(offset)
        directory = Directory(header)
        try:
            directory.load(stream)
        except Exception:  # a damaged chain after a sound picture
            if len(seen) > 1:
                continue
            raise
        yield offset, directory
        inner = directory.get(_SUB_IFDS, ())
        waiting += [directory.next, *(inner if isinstance(inner, tuple) else (inner,))]


def _main(found: list[tuple[int, Directory]], name: str, what: str) -> tuple[int, Directory]:
    pixels = lambda item: item[1].get(_WIDTH, 0) * item[1].get(_HEIGHT, 0)
    first = found[0]
    whole = [x for x in found if not x[1].get(_NEW_SUBFILE, 0) & (_REDUCED | _MASK) and x[1].get(_OLD_SUBFILE) != 2]
    if not whole or len(found) == 1:
        return first
    largest = max(whole, key=pixels)
    if first not in whole:
        return largest
    if pixels(largest) >= _MUCH * pixels(first):
        sizes = [f"{x[1].get(_WIDTH)} x {x[1].get(_HEIGHT)}" for x in (first, largest)]
        raise InputError(
            f"`{name}`: {what} holds a picture of {sizes[0]} and, after it, one of {sizes[1]}; "
            "save the one that is meant as a file of its own"
        )
    return first


def _starting_at(stream: BinaryIO, header: bytes, offset: int) -> BinaryIO:
    """The file with another directory as its first one."""
    order = "<" if header[:2] == b"II" else ">"
    place, form = (8, "Q") if header[2] == _BIG else (4, "L")
    data = bytearray(stream.read())
    struct.pack_into(f"{order}{form}", data, place, offset)
    return io.BytesIO(data)


def _describe(directory: Directory) -> str:
    bits = directory.get(_BITS, (1,))
    kind = {1: "unsigned integers", 2: "signed integers", 3: "floats"}.get(_format(directory), "unknown values")
    samples = directory.get(_SAMPLES, 1)
    compression = directory.get(_COMPRESSION, 1)
    text = f"{samples} channel{'s' * (samples != 1)} of {bits[0]}-bit {kind}"
    return f"{text}, photometric interpretation {directory.get(_PHOTOMETRIC)}, compression {compression}"


def _format(tags: Directory) -> int:
    given = tags.get(_FORMAT, (1,))
    return given[0] if isinstance(given, tuple) else given


def check(image: TiffImageFile, name: str, what: str) -> None:
    """Raises InputError for a picture that Pillow would read wrongly."""
    tags = image.tag_v2
    photometric = tags.get(_PHOTOMETRIC)
    raw = tags.get(_COMPRESSION, 1) == 1
    samples = tags.get(_SAMPLES, 1)
    planar = tags.get(_PLANAR, 1) == 2 and samples > 1
    fault = None
    if photometric is None:
        fault = "does not say whether 0 is black or white"
    elif _format(tags) not in (1, 3):
        fault = f"holds {_describe(tags)}, whose black and white are not known"
    elif photometric == _CMYK and tags.get(_INK_SET, 1) != 1:
        fault = "is of other inks than cyan, magenta, yellow and black"
    elif photometric == _YCBCR and raw and tuple(tags.get(_SUBSAMPLING, (2, 2))) != (1, 1):
        fault = "holds YCbCr with fewer samples of colour, not compressed"
    elif photometric == _RGB and samples == 4 and _EXTRA not in tags:
        fault = "does not say what its fourth channel is"
    elif planar and not _read_by_planes(image, raw):
        fault = f"holds {_describe(tags)}, channel after channel"
    elif image.mode == "F" and not raw and tags.prefix == TiffImagePlugin.MM:
        fault = "holds compressed big-endian floats"
    elif image.mode in ("P", "PA") and 0 < max(tags[_COLORMAP]) < 256:
        fault = "has a palette of 8 bits instead of 16"
    if fault:
        raise InputError(f"`{name}`: {what} {fault}, which can't be read for certain; save it as RGB with 8 bits")


def _read_by_planes(image: TiffImageFile, raw: bool) -> bool:
    """Whether Pillow, or decoding.py with its help, reads several channels that are stored one after the other."""
    tags = image.tag_v2
    if tags.get(_SAMPLES, 1) > 4:
        return False
    if tags.get(_PHOTOMETRIC) == _CMYK:
        return not raw or bits(image) == 8
    return tags.get(_PHOTOMETRIC) == _RGB and (raw or bits(image) == 8 or not premultiplied(image))


def premultiplied(image: TiffImageFile) -> bool:
    """Whether the colours are stored multiplied by alpha."""
    return tuple(image.tag_v2.get(_EXTRA, ()))[:1] == (1,)


def white_is_zero(image: TiffImageFile) -> bool:
    """Whether Pillow has left the values of a picture of more than 8 bits as they are, with 0 for white."""
    return image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO and (image.mode == "F" or image.mode.startswith("I"))


def bits(image: TiffImageFile) -> int:
    """The number of bits of each value."""
    return max(image.tag_v2.get(_BITS, (1,)))


def by_planes(image: TiffImageFile) -> bool:
    """Whether a picture that is not compressed stores channel after channel."""
    return image.tag_v2.get(_PLANAR, 1) == 2 and image.tag_v2.get(_COMPRESSION, 1) == 1


def byte_order(image: TiffImageFile) -> str:
    """L for little-endian, B for big-endian."""
    return "L" if image.tag_v2.prefix == TiffImagePlugin.II else "B"
