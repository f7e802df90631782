"""From an opened picture to its pixels in sRGB, with what Pillow alone would read wrongly read right or refused."""

from __future__ import annotations

import sys
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from metastyle.errors import InputError
from metastyle.images import profiles, tiff

_LOW = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}  # the order that swaps the two bytes


class _Samples(NamedTuple):
    """What a file stores: grey [H, W], RGB [H, W, 3] or CMYK [H, W, 4], uint8, uint16 or floats; and its alpha."""

    values: np.ndarray
    alpha: np.ndarray | None = None


def decode(image: Image.Image, stream: BinaryIO | None, name: str, what: str) -> np.ndarray:
    """Decodes an opened picture, upright and in sRGB.

    Args:
      stream: the file that `image` was opened from and has not decoded yet; None for a picture from elsewhere, of
        which Pillow may have kept 8 of 16 bits.

    Returns:
      [H, W], [H, W, 3] or [H, W, 4] with straight alpha: uint8, uint16, or floats, in [0, 1] unless the file has
      others.

    Raises InputError for what can't be read for certain; anything that Pillow raises for a damaged file.
    """
    _check(image, stream, name, what)
    icc = profiles.declared(image, stream, name, what)
    deep = _deep_rawmode(image) if stream else None
    if deep and stream and isinstance(image, ImageFile.ImageFile):
        found = _both_bytes(image, deep, stream)
    else:
        _scale_key(image)
        found = _samples(_upright(image))
        if isinstance(image, TiffImageFile):
            found = found._replace(values=_scaled(found.values, image))
    values, alpha = found
    if icc and values.dtype == np.float32 and 0 <= values.min() and values.max() <= 1:
        values = (values * 65535 + 0.5).astype(np.uint16)
    values = profiles.to_srgb(values, None if image.mode == "LAB" else icc, name, what)
    return values if alpha is None else _joined(values, alpha)


def _check(image: Image.Image, stream: BinaryIO | None, name: str, what: str) -> None:
    """Raises InputError for what Pillow would read wrongly, and what can't be read for certain by anything."""
    if isinstance(image, TiffImageFile):
        tiff.check(image, name, what)
        if not stream and tiff.by_planes(image) and tiff.bits(image) > 8:
            raise InputError(f"`{name}`: {what} is of a TIFF of 16 bits, channel after channel; pass the file's name")
    elif image.format == "BMP" and image.mode == "L" and stream and _bmp_bits(stream) != 8:
        raise InputError(f"`{name}`: {what} is a BMP with a palette of few greys, which is not read; save it as PNG")
    elif image.format in ("JPEG", "MPO") and image.mode == "CMYK" and "adobe" not in image.info:
        raise InputError(
            f"`{name}`: {what} is in CMYK and does not say whether 0 is no ink or full ink; save it as RGB"
        )


def _bmp_bits(stream: BinaryIO) -> int:
    stream.seek(28)
    return int.from_bytes(stream.read(2), "little")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata around sound pixels
        return image


def _samples(image: Image.Image) -> _Samples:
    """What the decoded `image` stores, in 8 bits where it has colours."""
    key = image.info.get("transparency")
    if image.mode.startswith("I"):
        values = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
        return _Samples(values, _opacity(values, key) if isinstance(key, int) else None)
    if image.mode in ("F", "CMYK"):
        return _Samples(np.asarray(image))
    if image.mode == "LAB":
        return _Samples(profiles.from_lab(image))
    grey = image.mode in ("1", "L", "LA", "La")
    alpha = None
    if image.has_transparency_data:
        image = image.convert("LA") if image.mode == "La" else image  # the only way that Pillow has
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
    return _Samples(np.asarray(image.convert("L" if grey else "RGB")), alpha)


def _opacity(values: np.ndarray, key: int | tuple[int, ...]) -> np.ndarray:
    """Alpha uint8[H, W]: 0 where a pixel has the transparent value or colour `key`, else 255."""
    same = values == np.array(key)
    return np.where(same.all(axis=-1) if values.ndim == 3 else same, 0, 255).astype(np.uint8)


def _scale_key(image: Image.Image) -> None:
    """Scales the transparent value of a grey PNG of 2 or 4 bits to 8 bits, as Pillow does with the pixels alone."""
    factor = {"L;2": 85, "L;4": 17}.get(_rawmode(image) if image.format == "PNG" else "")
    if factor and "transparency" in image.info:
        image.info["transparency"] *= factor


def _rawmode(image: Image.Image) -> str:
    """The layout of the stored pixels in the words of Pillow's decoders; "" if the picture is decoded already."""
    tiles = getattr(image, "tile", None)
    return _rawmode_of(tiles[0]) if tiles else ""


def _rawmode_of(tile: ImageFile._Tile) -> str:
    return tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0])


def _scaled(values: np.ndarray, image: TiffImageFile) -> np.ndarray:
    """Brings the values of a TIFF, which Pillow has left as they are stored, to 16 bits or floats with 1 for white."""
    if image.mode == "I":
        values = (np.asarray(image).view(np.uint32) >> 16).astype(np.uint16)
    elif tiff.bits(image) == 12:
        values = (values.astype(np.uint32) * 65535 // 4095).astype(np.uint16)
    return (65535 if values.dtype == np.uint16 else 1) - values if tiff.white_is_zero(image) else values


def _deep_rawmode(image: Image.Image) -> str | None:
    """The layout of a file with several channels of 16 bits, of which Pillow keeps the high bytes; else None."""
    rawmode = _rawmode(image)
    if isinstance(image, TiffImageFile) and tiff.bits(image) == 16 and tiff.by_planes(image) and len(rawmode) == 1:
        layout = "RGBa" if tiff.premultiplied(image) else image.mode
        return f"{layout};16{tiff.byte_order(image)}"
    layout, _, depth = rawmode.partition(";")
    return rawmode if depth[:2] == "16" and len(layout) > 1 else None


def _both_bytes(image: ImageFile.ImageFile, rawmode: str, stream: BinaryIO) -> _Samples:
    """Decodes a file with several channels of 16 bits: once for the high bytes, and once for the low ones."""
    layout, order = rawmode[:-1].split(";")[0], rawmode[-1]
    if layout == "LA":
        stored = _decoded_as(image, "RGBA").astype(np.uint16)
        return _Samples(stored[..., 0] << 8 | stored[..., 1], stored[..., 2] << 8 | stored[..., 3])
    straight = layout.replace("a", "A")
    high = _decoded_as(image, f"{straight};16{order}").astype(np.uint16)
    stream.seek(0)
    values = high << 8 | _decoded_as(type(image)(stream, ""), f"{straight};16{_LOW[order]}")
    if image.mode == "RGBA":
        values, alpha = values[..., :3], values[..., 3]
        return _Samples(_unpremultiplied(values, alpha) if layout == "RGBa" else values, alpha)
    key = image.info.get("transparency")
    return _Samples(values, _opacity(values, key) if isinstance(key, tuple) else None)


def _decoded_as(image: ImageFile.ImageFile, rawmode: str) -> np.ndarray:
    """Decodes a file whose stored pixels are taken to have this layout: uint8[H, W, C], upright."""
    depth = rawmode.partition(";")[2]
    tiles = []
    for tile in image.tile:
        letter = _rawmode_of(tile)
        own = f"{letter.upper()};{depth}" if len(letter) == 1 else rawmode  # of one channel, or of all
        tiles.append(tile._replace(args=own if isinstance(tile.args, str) else (own, *(tile.args or ())[1:])))
    image.tile = tiles
    return np.asarray(_upright(image))


def _unpremultiplied(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    opacity = np.maximum(alpha, 1).astype(np.float32)[..., None] / 65535
    return np.minimum(values / opacity + 0.5, 65535).astype(np.uint16)


def _joined(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """[H, W, 4] from grey or RGB and alpha; floats unless both are uint8."""
    rgb = values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=-1)
    if rgb.dtype == alpha.dtype == np.uint8:
        return np.dstack([rgb, alpha])
    return np.dstack([_floats(rgb), _floats(alpha)])


def _floats(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) / np.iinfo(x.dtype).max if x.dtype in (np.uint8, np.uint16) else x
