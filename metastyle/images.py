"""Reading, writing and resizing pictures: float32 RGB in [0, 1], [H, W, 3]; uint8 only on disk."""

from __future__ import annotations

import contextlib
import io
import math
import os
import secrets
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageDraw, ImageFont, ImageOps

from metastyle.errors import InputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"})
MAX_PIXELS = 400_000_000
Picture = str | os.PathLike | Image.Image | np.ndarray

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
_MIN_SIDE = 2
_OPAQUE_SUFFIXES = {".jpg", ".jpeg", ".bmp"}
_JPEG = {"quality": 95, "subsampling": "4:4:4"}
_ENCODING = {".jpg": _JPEG, ".jpeg": _JPEG, ".webp": {"quality": 95}}


def load(
    picture: Picture, *, name: str = "content", max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a picture as it is meant to be seen: upright, in sRGB, on white where it is transparent.

    Files are told apart by what they hold, not by their suffix. EXIF rotation is applied, an embedded ICC profile is
    converted to sRGB where it can be, and an animation gives its first frame. 16-bit grey keeps its precision
    (divided by 65535, which is 257 * 255); values outside 16 bits are clipped.

    Args:
      picture: path, PIL image, or array [H, W], [H, W, 3] or [H, W, 4]: uint8, uint16, or floats in [0, 1].
      name: the argument that errors name.
      max_pixels: a larger picture is refused; a file, from its header, before it is decoded.

    Returns:
      `(rgb, alpha)`: f32[H, W, 3] in [0, 1], and f32[H, W] in [0, 1] or None when the picture is opaque.
      Neither shares memory with `picture`.

    Raises:
      FileNotFoundError: no such file.
      InputError: anything else that can't be read as a picture, or one smaller than 2 x 2 pixels.
    """
    if isinstance(picture, np.ndarray):
        what = f"the array of shape {picture.shape}"
        if picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,), (4,)):
            raise InputError(f"`{name}`: expected [H, W], [H, W, 3] or [H, W, 4], got {what}; pass one picture")
        _check_size(*picture.shape[:2], max_pixels, name, what)
        return _to_float(picture, name, what)
    if isinstance(picture, Image.Image):
        return _from_pil(picture, max_pixels, name, "the PIL image")
    if isinstance(picture, (str, os.PathLike)):
        return _from_file(os.fsdecode(picture), max_pixels, name)
    raise InputError(
        f"`{name}`: expected a path, a PIL image or a numpy array, got {type(picture).__name__}; convert it to one"
    )


def _from_file(path: str, max_pixels: int, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    mode = _stat_mode(path, name)
    if mode is None:
        raise FileNotFoundError(f"`{name}`: no such file: {path!r}")
    if stat.S_ISDIR(mode):
        raise InputError(f"`{name}`: expected a picture, got the folder {path!r}; name one file in it")
    if not stat.S_ISREG(mode):
        raise InputError(f"`{name}`: expected a regular file, got {path!r}; save the picture to a file first")
    try:
        stream = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"`{name}`: cannot read {path!r}: {_line(error)}") from None
    with stream:
        if not stream.peek(1):
            raise InputError(f"`{name}`: {path!r} is empty; use another copy")
        with _decoding(name, repr(path)):
            image = _open(stream)
        if image is None:
            raise InputError(f"`{name}`: {path!r} is not a picture; convert it to one of {', '.join(_FORMATS)}")
        return _from_pil(image, max_pixels, name, repr(path))


def _open(stream: BinaryIO) -> Image.Image | None:
    """The picture in `stream`, not yet decoded; None when it is in none of `_FORMATS`.

    `PIL.Image.open` has a size limit of its own, which can only be lifted for the whole process; calling the format's
    plugin directly leaves `max_pixels` to decide. Only the WebP, TIFF and GIF plugins apply Pillow's limit inside.
    """
    Image.init()
    prefix = stream.read(16)
    for name in _FORMATS:
        plugin, accepts = Image.OPEN[name]
        if accepts(prefix) is True:
            stream.seek(0)
            return plugin(stream)
    return None


def _from_pil(image: Image.Image, max_pixels: int, name: str, what: str) -> tuple[np.ndarray, np.ndarray | None]:
    _check_size(image.height, image.width, max_pixels, name, what)
    with _decoding(name, what):
        image.load()
        array = _pixels(_upright(image))
    return _to_float(array, name, what)


@contextlib.contextmanager
def _decoding(name: str, what: str) -> Iterator[None]:
    # Pillow's decoders raise nearly anything at a damaged file, from struct.error to SyntaxError.
    try:
        yield
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(
            f"`{name}`: {what} is more than Pillow decodes of its format ({_line(error)}); "
            "use a smaller picture, or a PNG or JPEG"
        ) from error
    except Exception as error:
        raise InputError(
            f"`{name}`: cannot decode {what}, which may be damaged or truncated ({_line(error)}); use another copy"
        ) from error


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata around sound pixels
        return image


def _pixels(image: Image.Image) -> np.ndarray:
    """The decoded `image` as one of the arrays that `load` takes."""
    if image.mode.startswith("I"):
        return np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
    if image.mode == "F":
        return np.asarray(image)
    profile = image.info.get("icc_profile")
    alpha = None
    if image.mode != "CMYK":
        grey = image.mode in ("1", "L", "LA")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            alpha = np.asarray(image.getchannel("A"))
        image = image.convert("L" if grey else "RGB")
    rgb = np.asarray(_to_srgb(image, profile).convert("RGB"))
    return rgb if alpha is None else np.dstack([rgb, alpha])


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (OSError, ImportError, ImageCms.PyCMSError):  # not a profile, no LittleCMS, or made for another mode
        return image


def _to_float(array: np.ndarray, name: str, what: str) -> tuple[np.ndarray, np.ndarray | None]:
    if array.dtype in (np.uint8, np.uint16):
        values = array.astype(np.float32)
        values /= np.iinfo(array.dtype).max
    elif np.issubdtype(array.dtype, np.floating):
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):  # also where either is NaN
            raise InputError(
                f"`{name}`: expected floats in [0, 1], got {low:g} to {high:g} in {what}; divide by 255, or clip"
            )
        values = array.astype(np.float32)
    else:
        raise InputError(
            f"`{name}`: expected uint8, uint16 or floats in [0, 1], got {array.dtype} in {what}; convert it to one"
        )

    if values.ndim == 2:
        return np.repeat(values[..., None], 3, axis=-1), None
    if values.shape[-1] == 3:
        return values, None
    rgb, alpha = values[..., :3], values[..., 3]
    if alpha.min() == 1:
        return rgb, None
    weight = alpha[..., None]
    return rgb * weight + (1 - weight), alpha


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


def _stat_mode(path: str, name: str) -> int | None:
    """`st_mode` of what is at `path`, None where nothing is."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # a folder one may not enter, too long a name, a null byte
        raise InputError(f"`{name}`: cannot use {path!r}: {_line(error)}") from None


def _line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Lanczos with antialiasing, in float precision throughout.

    Args:
      image: floats [H, W] or [H, W, C] in [0, 1].
      size: `(height, width)` of the result.

    Returns:
      float32, clipped to [0, 1] where the filter overshoots.
    """
    return _lanczos(image, size)


def resize_short(image: np.ndarray, short: int) -> np.ndarray:
    """`resize` that takes the shorter side to `short` and keeps the aspect ratio."""
    return _lanczos(image, _short_size(image, short))


def center_crop(image: np.ndarray, size: int) -> np.ndarray:
    """The central `size` x `size` pixels of [H, W, ...], a view; ValueError where `image` is smaller."""
    height, width = image.shape[:2]
    if size > min(height, width):
        raise ValueError(f"`size`: expected at most {min(height, width)} for a {width} x {height} picture, got {size}")
    top, left = (height - size) // 2, (width - size) // 2
    return image[top : top + size, left : left + size]


def square(image: np.ndarray, size: int) -> np.ndarray:
    """`center_crop(resize_short(image, size), size)`, without computing what the crop discards."""
    height, width = image.shape[:2]
    full_height, full_width = _short_size(image, size)
    top, left = (full_height - size) // 2, (full_width - size) // 2
    box = (
        left * width / full_width,
        top * height / full_height,
        (left + size) * width / full_width,
        (top + size) * height / full_height,
    )
    return _lanczos(image, (size, size), box)


def _short_size(image: np.ndarray, short: int) -> tuple[int, int]:
    height, width = image.shape[:2]
    if height <= width:
        return short, round(width * short / height)
    return round(height * short / width), short


def _lanczos(
    image: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    if not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"`image`: expected floats in [0, 1], got {image.dtype}; read pictures with `load`")
    height, width = size
    planes = image.reshape(*image.shape[:2], -1)
    out = np.empty((height, width, planes.shape[-1]), np.float32)
    for c in range(planes.shape[-1]):
        plane = Image.fromarray(np.ascontiguousarray(planes[..., c], np.float32))
        out[..., c] = np.asarray(plane.resize((width, height), Image.Resampling.LANCZOS, box))
    return np.clip(out, 0, 1, out=out).reshape(height, width, *image.shape[2:])


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Floats to uint8: clipped to [0, 1], times 255, halves rounded up; ValueError at NaN or infinity."""
    if not np.isfinite(image).all():
        raise ValueError("`image`: expected finite values, got NaN or infinity")
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def save(path: str | os.PathLike, image: np.ndarray, *, alpha: np.ndarray | None = None, name: str = "output") -> None:
    """Writes a picture in the format of its suffix, all of it or nothing.

    JPEG at quality 95 without chroma subsampling, WebP at quality 95; GIF has 256 colours and on-or-off transparency.

    Args:
      path: the file, replaced if it exists; its folder must exist.
      image: [H, W, 3], uint8 or floats, which go through `to_uint8`.
      alpha: [H, W], likewise. JPEG and BMP have no transparency: for them it is left out and `image` written as is.
      name: the argument that errors name.

    Raises:
      FileNotFoundError, InputError: as `check_output`, or where the file can't be written.
      ValueError: wrong shapes, NaN or infinity.
    """
    check_output(path, name=name)
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"`image`: expected [H, W, 3], got {image.shape}")
    if alpha is not None and alpha.shape != image.shape[:2]:
        raise ValueError(f"`alpha`: expected {image.shape[:2]} as `image` has, got {alpha.shape}")
    suffix = Path(path).suffix.lower()
    planes = [image] if alpha is None or suffix in _OPAQUE_SUFFIXES else [image, alpha]
    pixels = np.dstack([plane if plane.dtype == np.uint8 else to_uint8(plane) for plane in planes])
    try:
        with atomic(path) as temporary:
            Image.fromarray(pixels).save(temporary, **_ENCODING.get(suffix, {}))
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(
            f"`{name}`: cannot write {os.fspath(path)!r} ({_line(error)}); "
            "the disk may be full, or the picture too large for the format"
        ) from error


def check_output(path: str | os.PathLike, *, suffixes: Collection[str] = IMAGE_SUFFIXES, name: str = "output") -> None:
    """Raises now, before the work, if a file couldn't be written to `path` after it.

    Raises:
      FileNotFoundError: the folder that `path` is in doesn't exist.
      InputError: `path` is a folder, its suffix is not one of `suffixes` (in either case), or its folder is read-only.
    """
    path = os.fspath(path)
    mode = _stat_mode(path, name)
    if mode is not None and stat.S_ISDIR(mode):
        raise InputError(f"`{name}`: expected a file to write, got the folder {path!r}; add a file name")
    if Path(path).suffix.lower() not in suffixes:
        raise InputError(f"`{name}`: expected a name that ends in {' '.join(sorted(suffixes))}, got {path!r}")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"`{name}`: no such folder: {folder!r}, to write {path!r} in; create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"`{name}`: cannot write in the folder {folder!r}; choose another or change its permissions")


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """`with atomic(path) as temporary:` moves what the block wrote to `temporary` onto `path`, all at once.

    `temporary` is in the same folder and has the same suffix; a symbolic link is followed, not replaced. If the block
    raises, `path` stays as it was and `temporary` is removed.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{secrets.token_hex(8)}{Path(path).suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def grid(
    rows: Sequence[Sequence[np.ndarray | None]],
    *,
    pad: int = 4,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
) -> np.ndarray:
    """A contact sheet on white: pictures `pad` pixels apart, labels on the left and above.

    Args:
      rows: pictures f32[h, w, 3] in [0, 1], all of one shape; None, or the end of a short row, is a blank cell.

    Returns:
      f32[H, W, 3] in [0, 1]; without labels, H = r * h + (r + 1) * pad and W likewise.

    Raises:
      ValueError: no picture, pictures of different shapes, or a number of labels other than that of rows or columns.
    """
    shapes = {cell.shape for row in rows for cell in row if cell is not None}
    if len(shapes) != 1:
        raise ValueError(f"`rows`: expected pictures of one shape, got {sorted(shapes) or 'none'}")
    ((height, width, _),) = shapes
    columns = max(map(len, rows))
    for label, texts, count in (("row_labels", row_labels, len(rows)), ("column_labels", column_labels, columns)):
        if texts is not None and len(texts) != count:
            raise ValueError(f"`{label}`: expected {count} labels, got {len(texts)}")

    size = min(max(height // 10, 10), 24)
    font = ImageFont.load_default(size)
    while size > 8 and any(font.getlength(text) > width for text in column_labels or ()):
        size -= 1
        font = ImageFont.load_default(size)
    line = round(1.25 * size)
    left = pad + math.ceil(max(map(font.getlength, row_labels))) if row_labels else 0
    top = pad + line if column_labels else 0
    canvas = Image.new("L", (left + columns * (width + pad) + pad, top + len(rows) * (height + pad) + pad), color=255)
    draw = ImageDraw.Draw(canvas)
    for r, text in enumerate(row_labels or ()):
        draw.text((pad, top + pad + r * (height + pad) + height // 2), text, fill=0, font=font, anchor="lm")
    for c, text in enumerate(column_labels or ()):
        draw.text((left + pad + c * (width + pad) + width // 2, pad + line // 2), text, fill=0, font=font, anchor="mm")

    sheet = np.repeat(np.asarray(canvas, np.float32)[..., None] / 255, 3, axis=-1)
    for r, row in enumerate(rows):
        for c, cell in enumerate(row):
            if cell is not None:
                y, x = top + pad + r * (height + pad), left + pad + c * (width + pad)
                sheet[y : y + height, x : x + width] = cell
    return sheet
