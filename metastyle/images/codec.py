"""Reads and writes pictures. In memory they are float32 RGB in [0, 1], [H, W, 3]; uint8 on disk only."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from metastyle.errors import Adjusted, InputError, reason
from metastyle.images import objects
from metastyle.images.decoding import decode
from metastyle.images.formats import identify
from metastyle.images.origin import NO_ORIGIN, Origin, origin_of
from metastyle.system.arguments import check_count
from metastyle.system.files import check_output, open_input, write

_FORMAT_OF = {".jpg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".tif": "TIFF"} | {
    f".{name.lower()}": name for name in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
}
IMAGE_SUFFIXES = frozenset(_FORMAT_OF)  # of the files that `save` writes; formats.suffixes() of those that are read
MAX_PIXELS = 400_000_000
Picture = objects.Picture
# Texts that a picture file can hold: the keyword of each in PNG, and its tag in TIFF and EXIF.
METADATA = {"Software": 305, "Description": 270}

_MIN_SIDE = 2
_HAIR = 1 / 255  # by which floats may be out of [0, 1]
_OPAQUE = ("JPEG", "BMP")
_QUALITY = 95  # of JPEG and WebP
_PREDICTOR, _HORIZONTAL = 317, 2  # a TIFF tag: each pixel is stored as the difference from the pixel to the left


def load(
    picture: Picture, *, name: str = "content", max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a picture as it is meant to be seen: upright, in sRGB, on white where it is transparent.

    The format of a file is found from its contents, not from its suffix. EXIF rotation is applied. Colours with an
    embedded ICC profile are converted to sRGB, unless the profile is unusable. An animation gives its first frame.
    16-bit grey keeps its precision (it is divided by 65535 = 257 * 255); values outside 16 bits are clipped.

    Args:
      picture: path, the bytes of a file, file, PIL image, array or tensor; images/objects.py `plain` lists the objects
        that are taken. Arrays hold uint8, uint16, or floats in [0, 1], which may be a hair (1/255) out of it.
      name: the argument that errors name.
      max_pixels: a larger picture is refused; if it is a file, because of its header, before it is decoded.

    Returns:
      `(rgb, alpha)`: f32[H, W, 3] in [0, 1], and f32[H, W] in [0, 1] or None when the picture is opaque.
      Neither shares memory with `picture`.

    Raises:
      FileNotFoundError: the file does not exist.
      InputError: `picture` can't be read as a picture, or is smaller than 2 x 2 pixels.
    """
    check_count("max_pixels", max_pixels, 1)
    found, what = objects.plain(picture, name), describe(picture)
    if isinstance(found, np.ndarray):
        _check_size(found.shape[0], found.shape[1], max_pixels, name, what)
        return _to_float(found, name, what)
    if isinstance(found, Image.Image):
        return _from_pil(found, None, max_pixels, name, what)
    with _opened(found, name, what) as (image, stream):
        return _from_pil(image, stream, max_pixels, name, what)


def describe(picture: Picture) -> str:
    """Names `picture` for messages."""
    if isinstance(picture, str | os.PathLike):
        text = os.fsdecode(picture)
        return f"{text[:30]!r}..." if text.startswith("data:") else repr(text)
    if isinstance(picture, Image.Image):
        return "the PIL image"
    if isinstance(picture, bytes | bytearray | memoryview):
        return "the file given as bytes"
    shape = getattr(picture, "shape", None)
    return f"the {objects.kind(picture)}" if shape is None else f"the array of shape {tuple(shape)}"


@contextlib.contextmanager
def _opened(file: str | bytes, name: str, what: str) -> Iterator[tuple[Image.Image, BinaryIO]]:
    """Opens a picture file, given by its path or its bytes, without decoding it; yields the stream, too."""
    with (
        io.BufferedReader(io.BytesIO(file)) if isinstance(file, bytes) else open_input(file, name, "picture") as stream
    ):
        if not stream.peek(1):
            raise InputError(f"`{name}`: {what} is empty; use another copy")
        with _decoding(name, what):
            opened = identify(stream, name, what)
        yield opened


def _from_pil(
    image: Image.Image, stream: BinaryIO | None, max_pixels: int, name: str, what: str
) -> tuple[np.ndarray, np.ndarray | None]:
    _check_size(image.height, image.width, max_pixels, name, what)
    with _decoding(name, what):
        array = decode(image, stream, name, what)
    return _to_float(array, name, what)


@contextlib.contextmanager
def _decoding(name: str, what: str) -> Iterator[None]:
    # A damaged file makes Pillow's decoders raise nearly anything, from struct.error to SyntaxError.
    try:
        yield
    except (MemoryError, InputError, Adjusted):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(
            f"`{name}`: {what} is more than Pillow decodes of its format ({reason(error)}); "
            "use a smaller picture, or a PNG or JPEG"
        ) from error
    except Exception as error:
        raise InputError(
            f"`{name}`: cannot decode {what}, which may be damaged or truncated ({reason(error)}); use another copy"
        ) from error


def _to_float(array: np.ndarray, name: str, what: str) -> tuple[np.ndarray, np.ndarray | None]:
    if array.dtype.kind == "u":
        values = array.astype(np.float32)
        values /= np.iinfo(array.dtype).max
    else:
        _check_range(array, name, what)
        values = np.clip(array, 0, 1, dtype=np.float32)

    if values.ndim == 2:
        return np.repeat(values[..., None], 3, axis=-1), None
    if values.shape[-1] == 3:
        return values, None
    rgb, alpha = values[..., :3], values[..., 3]
    if alpha.min() == 1:
        return rgb, None
    weight = alpha[..., None]
    return rgb * weight + (1 - weight), alpha


def _check_range(array: np.ndarray, name: str, what: str) -> None:
    """Raises InputError for floats out of [0, 1] by more than rounding and half-precision can move them."""
    low, high = float(array.min()), float(array.max())
    if -_HAIR <= low and high <= 1 + _HAIR:  # false where either is NaN
        return
    if not np.isfinite(low + high):
        got, how = "NaN or infinity", "mend them"
    elif low < 0:
        got, how = f"{low:.4g} to {high:.4g}", "if they are in [-1, 1] pass (x + 1) / 2, else clip them"
    else:
        got, how = f"{low:.4g} to {high:.4g}", "divide them by 255, or clip them"
    raise InputError(f"`{name}`: expected floats in [0, 1], got {got} in {what}; {how}")


def _check_size(height: int, width: int, max_pixels: int, name: str, what: str) -> None:
    if min(height, width) < _MIN_SIDE:
        raise InputError(
            f"`{name}`: expected at least {_MIN_SIDE} x {_MIN_SIDE} pixels, got {width} x {height} in {what}; "
            "use a larger picture"
        )
    if height * width > max_pixels:
        raise InputError(
            f"`{name}`: expected at most {max_pixels} pixels, got {width} x {height} in {what}; "
            "use a smaller picture or pass a larger `--max_pixels`"
        )


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Converts to uint8: clips to [0, 1], multiplies by 255, rounds halves up. ValueError for NaN or infinity."""
    if not np.isfinite(image).all():
        raise ValueError("`image`: expected finite values, got NaN or infinity")
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def save(
    path: str | os.PathLike,
    image: np.ndarray,
    *,
    alpha: np.ndarray | None = None,
    quality: int | None = None,
    metadata: Mapping[str, str] | None = None,
    origin: Origin = NO_ORIGIN,
    name: str = "output",
) -> None:
    """Writes a picture in the format of its suffix; see `encode` for the formats. The file is whole or unchanged.

    Args:
      path: the file, replaced if it exists; its folder must exist.
      image, alpha, quality, metadata, origin: as for `encode`.
      name: the argument that errors name.

    Raises:
      FileNotFoundError, InputError: as `files.check_output` and `encode`, or the file can't be written.
      ValueError: as `encode`.
    """
    check_output(path, suffixes=IMAGE_SUFFIXES, name=name)
    content = _Content(image, alpha, quality, metadata or {}, origin)
    write(path, _encode(content, Path(path).suffix, name=name, what=repr(os.fspath(path))), name=name)


def encode(
    image: np.ndarray,
    suffix: str,
    *,
    alpha: np.ndarray | None = None,
    quality: int | None = None,
    metadata: Mapping[str, str] | None = None,
    origin: Origin = NO_ORIGIN,
    name: str = "output",
) -> bytes:
    """Encodes a picture as the bytes of the file that `save` would write to a path with this suffix.

    JPEG has no chroma subsampling at any quality. TIFF is compressed without loss (deflate), unless EXIF is kept. GIF
    has 256 colours, and each of its pixels is opaque or transparent.

    Args:
      image: [H, W, 3], uint8 or floats, which `to_uint8` converts; on white where `alpha` is less than 1, as `load`
        returns it, so that loading gives back what was saved.
      suffix: one of IMAGE_SUFFIXES, in either case.
      alpha: [H, W], uint8 or floats. JPEG and BMP have no transparency and show the picture on white.
      quality: of JPEG and WebP, 1 to 100, by default 95; the other formats ignore it.
      metadata: texts under keys of METADATA, for `read_metadata`. They are stored in text chunks (PNG), EXIF tags (JPEG
        and WebP) or tags (TIFF), as UTF-8 unless they are ASCII. BMP and GIF store none.
      origin: what is kept of the picture that this one is made from, as `read_origin` returns it. BMP stores its
        resolution alone, GIF neither that nor EXIF; JPEG rounds it to whole pixels per inch.
      name: the argument that errors name, unless that is `quality`.

    Raises:
      InputError: the suffix is unknown, `quality` is out of range, or the picture or a text is too large for the
        format.
      ValueError: wrong shapes, NaN or infinity, or an unknown key of `metadata`.
    """
    if suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(f"`{name}`: expected one of the suffixes {' '.join(sorted(IMAGE_SUFFIXES))}, got {suffix!r}")
    content = _Content(image, alpha, quality, metadata or {}, origin)
    return _encode(content, suffix, name=name, what=f"a {suffix} file")


class _Content(NamedTuple):
    """What a picture file holds; see `encode`."""

    image: np.ndarray
    alpha: np.ndarray | None
    quality: int | None
    metadata: Mapping[str, str]
    origin: Origin


def _encode(content: _Content, suffix: str, *, name: str, what: str) -> bytes:
    image, alpha, quality, metadata, _ = content
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"`image`: expected [H, W, 3], got {image.shape}")
    if alpha is not None and alpha.shape != image.shape[:2]:
        raise ValueError(f"`alpha`: expected {image.shape[:2]} as `image` has, got {alpha.shape}")
    check_quality(quality)
    if unknown := set(metadata) - METADATA.keys():
        raise ValueError(f"`metadata`: expected the keys {', '.join(METADATA)}, got {', '.join(sorted(unknown))}")
    kind = _FORMAT_OF[suffix.lower()]
    planes = [image] if alpha is None or kind in _OPAQUE else [_off_white(_floats(image), _floats(alpha)), alpha]
    pixels = np.dstack([plane if plane.dtype == np.uint8 else to_uint8(plane) for plane in planes])
    stream = io.BytesIO()
    try:
        Image.fromarray(pixels).save(stream, kind, **_options(kind, content))
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(
            f"`{name}`: cannot write {what} ({reason(error)}); the picture may be too large for the format"
        ) from error
    return stream.getvalue()


def _floats(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) / 255 if x.dtype == np.uint8 else x


def _off_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Finds colours that look like `rgb` with this alpha on white, if there are any; `rgb` where alpha is 0."""
    weight = alpha[..., None]
    return np.divide(rgb - (1 - weight), weight, out=rgb.copy(), where=weight > 0)


def _options(kind: str, content: _Content) -> dict[str, Any]:
    """Pillow's options for writing a format."""
    quality, metadata, origin = content.quality or _QUALITY, content.metadata, content.origin
    tags = origin.tags(resolution=kind == "WEBP")  # the other formats have fields of their own for the resolution
    if kind != "PNG":  # Pillow would reduce a str to ASCII
        tags.update({METADATA[key]: text.encode() for key, text in metadata.items()})
    # The compressing writer of TIFF can't write directories of EXIF.
    deflated = kind == "TIFF" and not any(isinstance(value, Mapping) for value in origin.exif.values())
    if deflated:
        tags[_PREDICTOR] = _HORIZONTAL
    common: dict[str, Any] = {"dpi": origin.dpi} if origin.dpi else {}
    common |= {"exif": tags} if tags else {}
    if kind == "PNG":
        chunks = PngInfo()
        for key, text in metadata.items():
            chunks.add_text(key, text)  # Pillow makes it an iTXt chunk in UTF-8 if Latin-1 lacks its characters
        return {"pnginfo": chunks, **common}
    return {
        "JPEG": {"quality": quality, "subsampling": "4:4:4", **common},
        "WEBP": {"quality": quality, **common},
        "TIFF": {"compression": "tiff_adobe_deflate" if deflated else "raw", **common},
        "BMP": common,
    }.get(kind, {})


def read_origin(picture: Picture, *, exif: bool = False, name: str = "content") -> Origin:
    """Reads what is kept of a picture in one that is made from it, for `save`.

    exif: whether its EXIF is kept: who made it, when, with what camera, and where.

    Raises FileNotFoundError or InputError, which name the argument `name`, if a file can't be read as a picture.
    """
    found = objects.plain(picture, name)
    if isinstance(found, Image.Image):
        return origin_of(found, exif=exif)
    if isinstance(found, np.ndarray):
        return NO_ORIGIN
    with _opened(found, name, describe(picture)) as (image, _):
        return origin_of(image, exif=exif)


def read_metadata(path: str | os.PathLike | bytes, *, name: str = "picture") -> dict[str, str]:
    """Reads the texts that `save` stored in a picture file, under keys of METADATA; {} if it holds none.

    path: of the file, or its bytes.

    Raises:
      FileNotFoundError, InputError: the file does not exist, or can't be read as a picture.
    """
    what = describe(path)
    file = path if isinstance(path, bytes) else os.fsdecode(path)
    with _opened(file, name, what) as (image, _), _decoding(name, what):
        if image.format == "PNG":
            return {key: str(image.info[key]) for key in METADATA if key in image.info}
        tags = image.getexif()
        # Pillow decodes the bytes as Latin-1, but ours are UTF-8; those of another program may be anything.
        return {
            key: str(tags[tag]).encode("latin-1", "replace").decode(errors="replace")
            for key, tag in METADATA.items()
            if tag in tags
        }


def suffix_of(form: str) -> str:
    """Returns the suffix of a format such as "png"; InputError if pictures can't be written in it."""
    suffix = f".{form.lower().lstrip('.')}"
    if suffix not in IMAGE_SUFFIXES:
        known = ", ".join(sorted(suffix.lstrip(".") for suffix in IMAGE_SUFFIXES))
        raise InputError(f"`format`: expected one of {known}, got {form!r}")
    return suffix


def check_quality(quality: int | None, name: str = "quality") -> None:
    """Raises InputError, which names the argument, unless `save` takes this quality."""
    if quality is not None:
        check_count(name, quality, 1, 100)
