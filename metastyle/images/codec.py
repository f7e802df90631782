"""Reading, writing and resizing pictures: float32 RGB in [0, 1], [H, W, 3]; uint8 only on disk."""

from __future__ import annotations

import contextlib
import glob
import io
import os
import secrets
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from metastyle.errors import InputError, one_line

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
_FORMAT_OF = {".jpg": "JPEG", ".tif": "TIFF"} | {f".{name.lower()}": name for name in _FORMATS}
IMAGE_SUFFIXES = frozenset(_FORMAT_OF)
MAX_PIXELS = 400_000_000
Picture = str | os.PathLike | bytes | Image.Image | np.ndarray
METADATA = {"Software": 305, "Description": 270}  # what a file can tell of itself: PNG's keyword, TIFF's and EXIF's tag

_MIN_SIDE = 2
_OPAQUE = ("JPEG", "BMP")
_QUALITY = 95  # of JPEG and WebP
_PREDICTOR, _HORIZONTAL = 317, 2  # a TIFF tag: what is deflated is the difference from the pixel to the left


def load(
    picture: Picture, *, name: str = "content", max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a picture as it is meant to be seen: upright, in sRGB, on white where it is transparent.

    Files are told apart by what they hold, not by their suffix. EXIF rotation is applied, an embedded ICC profile is
    converted to sRGB where it can be, and an animation gives its first frame. 16-bit grey keeps its precision
    (divided by 65535, which is 257 * 255); values outside 16 bits are clipped.

    Args:
      picture: path, the bytes of a file, PIL image, or array [H, W], [H, W, 3] or [H, W, 4]: uint8, uint16, or floats
        in [0, 1].
      name: the argument that errors name.
      max_pixels: a larger picture is refused; a file, from its header, before it is decoded.

    Returns:
      `(rgb, alpha)`: f32[H, W, 3] in [0, 1], and f32[H, W] in [0, 1] or None when the picture is opaque.
      Neither shares memory with `picture`.

    Raises:
      FileNotFoundError: no such file.
      InputError: anything else that can't be read as a picture, or one smaller than 2 x 2 pixels.
    """
    what = describe(picture)
    if isinstance(picture, np.ndarray):
        if picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (3,), (4,)):
            raise InputError(f"`{name}`: expected [H, W], [H, W, 3] or [H, W, 4], got {what}; pass one picture")
        _check_size(*picture.shape[:2], max_pixels, name, what)
        return _to_float(picture, name, what)
    if isinstance(picture, Image.Image):
        return _from_pil(picture, max_pixels, name, what)
    if isinstance(picture, (str, os.PathLike, bytes)):
        with _opened(picture, name) as image:
            return _from_pil(image, max_pixels, name, what)
    raise InputError(
        f"`{name}`: expected a path, the bytes of a file, a PIL image or a numpy array, got {what}; convert it to one"
    )


def describe(picture: Picture) -> str:
    """What messages call `picture`."""
    if isinstance(picture, (str, os.PathLike)):
        return repr(os.fsdecode(picture))
    if isinstance(picture, np.ndarray):
        return f"the array of shape {picture.shape}"
    if isinstance(picture, Image.Image):
        return "the PIL image"
    return "the file given as bytes" if isinstance(picture, bytes) else type(picture).__name__


@contextlib.contextmanager
def _opened(file: str | os.PathLike | bytes, name: str) -> Iterator[Image.Image]:
    """The picture in a file, or in the bytes of one, not yet decoded."""
    what = describe(file)
    with io.BufferedReader(io.BytesIO(file)) if isinstance(file, bytes) else _file(os.fsdecode(file), name) as stream:
        if not stream.peek(1):
            raise InputError(f"`{name}`: {what} is empty; use another copy")
        with _decoding(name, what):
            image = _open(stream)
        if image is None:
            raise InputError(f"`{name}`: {what} is not a picture; convert it to one of {', '.join(_FORMATS)}")
        yield image


def _file(path: str, name: str) -> io.BufferedReader:
    mode = _stat_mode(path, name)
    if mode is None:
        raise FileNotFoundError(f"`{name}`: no such file: {path!r}")
    if stat.S_ISDIR(mode):
        raise InputError(f"`{name}`: expected a picture, got the folder {path!r}; name one file in it")
    if not stat.S_ISREG(mode):
        raise InputError(f"`{name}`: expected a regular file, got {path!r}; save the picture to a file first")
    try:
        return open(path, "rb")
    except OSError as error:
        raise InputError(f"`{name}`: cannot read {path!r}: {_line(error)}") from None


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
    return one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)


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


def save(
    path: str | os.PathLike,
    image: np.ndarray,
    *,
    alpha: np.ndarray | None = None,
    quality: int | None = None,
    metadata: Mapping[str, str] | None = None,
    name: str = "output",
) -> None:
    """Writes a picture in the format of its suffix, all of it or nothing; see `encode` for the formats.

    Args:
      path: the file, replaced if it exists; its folder must exist.
      image, alpha, quality, metadata: as for `encode`.
      name: the argument that errors name.

    Raises:
      FileNotFoundError, InputError: as `check_output` and `encode`, or where the file can't be written.
      ValueError: as `encode`.
    """
    check_output(path, name=name)
    options = {"alpha": alpha, "quality": quality, "metadata": metadata}
    what = repr(os.fspath(path))
    write(path, _encoded(image, Path(path).suffix, **options, name=name, what=what), name=name)


def encode(
    image: np.ndarray,
    suffix: str,
    *,
    alpha: np.ndarray | None = None,
    quality: int | None = None,
    metadata: Mapping[str, str] | None = None,
    name: str = "output",
) -> bytes:
    """The picture file, as bytes, that `save` would write to a path with this suffix.

    JPEG has no chroma subsampling, whatever the quality; TIFF is deflated, without loss; GIF has 256 colours and
    on-or-off transparency.

    Args:
      image: [H, W, 3], uint8 or floats, which go through `to_uint8`; on white where `alpha` is less than 1, as `load`
        returns it, so that saved and loaded it is the same.
      suffix: one of IMAGE_SUFFIXES, in either case.
      alpha: [H, W], likewise. JPEG and BMP have no transparency: they show the picture on white.
      quality: of JPEG and WebP, 1 to 100, by default 95; the others have none, and ignore it.
      metadata: texts under keys of METADATA, for `read_metadata`: in PNG text chunks, in JPEG and WebP EXIF tags, in
        TIFF tags of its own, as UTF-8 where they are not ASCII. BMP and GIF carry none: it is left out.
      name: the argument that errors name, unless that is `quality`.

    Raises:
      InputError: another suffix, `quality` out of range, or a picture (or a text) too large for the format.
      ValueError: wrong shapes, NaN or infinity, or another key of `metadata`.
    """
    if suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(f"`{name}`: expected one of the suffixes {' '.join(sorted(IMAGE_SUFFIXES))}, got {suffix!r}")
    options = {"alpha": alpha, "quality": quality, "metadata": metadata}
    return _encoded(image, suffix, **options, name=name, what=f"a {suffix} file")


def _encoded(
    image: np.ndarray,
    suffix: str,
    *,
    alpha: np.ndarray | None,
    quality: int | None,
    metadata: Mapping[str, str] | None,
    name: str,
    what: str,
) -> bytes:
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"`image`: expected [H, W, 3], got {image.shape}")
    if alpha is not None and alpha.shape != image.shape[:2]:
        raise ValueError(f"`alpha`: expected {image.shape[:2]} as `image` has, got {alpha.shape}")
    check_quality(quality)
    if unknown := set(metadata or ()) - METADATA.keys():
        raise ValueError(f"`metadata`: expected the keys {', '.join(METADATA)}, got {', '.join(sorted(unknown))}")
    kind = _FORMAT_OF[suffix.lower()]
    planes = [image] if alpha is None or kind in _OPAQUE else [_off_white(_floats(image), _floats(alpha)), alpha]
    pixels = np.dstack([plane if plane.dtype == np.uint8 else to_uint8(plane) for plane in planes])
    stream = io.BytesIO()
    try:
        Image.fromarray(pixels).save(stream, kind, **_options(kind, quality or _QUALITY, metadata or {}))
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(
            f"`{name}`: cannot write {what} ({_line(error)}); the picture may be too large for the format"
        ) from error
    return stream.getvalue()


def _floats(x: np.ndarray) -> np.ndarray:
    return np.float32(x) / 255 if x.dtype == np.uint8 else x


def _off_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours that, with this alpha, look like `rgb` on white, as far as there are any; where alpha is 0, `rgb`."""
    weight = alpha[..., None]
    return np.divide(rgb - (1 - weight), weight, out=rgb.copy(), where=weight > 0)


def _options(kind: str, quality: int, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Pillow's options for a format."""
    if kind == "PNG":
        chunks = PngInfo()
        for key, text in metadata.items():
            chunks.add_text(key, text)  # an iTXt chunk, in UTF-8, where Latin-1 doesn't have the characters
        return {"pnginfo": chunks}
    tags = Image.Exif()
    tags.update({METADATA[key]: text.encode() for key, text in metadata.items()})  # of a str, Pillow would keep ASCII
    tagged = {"exif": tags} if metadata else {}
    return {
        "JPEG": {"quality": quality, "subsampling": "4:4:4", **tagged},
        "WEBP": {"quality": quality, **tagged},
        "TIFF": {"compression": "tiff_adobe_deflate", "tiffinfo": {_PREDICTOR: _HORIZONTAL, **tags}},
    }.get(kind, {})


def read_metadata(path: str | os.PathLike, *, name: str = "picture") -> dict[str, str]:
    """The texts of a picture file under keys of METADATA, as `save` writes them; {} where there are none.

    Raises:
      FileNotFoundError, InputError: no such file, or not one that can be read as a picture.
    """
    with _opened(path, name) as image, _decoding(name, describe(path)):
        if image.format == "PNG":
            return {key: str(image.info[key]) for key in METADATA if key in image.info}
        tags = image.getexif()
        # Pillow reads bytes as Latin-1, whatever they are; those of a file that isn't ours may be anything.
        return {
            key: str(tags[tag]).encode("latin-1", "replace").decode(errors="replace")
            for key, tag in METADATA.items()
            if tag in tags
        }


def expand(spec: str | os.PathLike | Sequence[str | os.PathLike], suffixes: Collection[str], name: str) -> list[str]:
    """The files that names stand for, in their order, each once.

    A file stands for itself, whatever characters its name has. A folder stands for the files in it, and a pattern, as
    `photos/*.jpg` or `photos/**`, for the files that it matches, at any depth with `**`; of these, the ones that end in
    one of `suffixes` (in either case) and are not hidden, sorted. What a pattern begins with and exists is no pattern:
    `a[1]/*` looks into the folder `a[1]` where there is one. "-", the standard input, stays.

    Raises:
      FileNotFoundError: no such file or folder, of a name that is no pattern.
      InputError: a folder or a pattern that stands for no file.
    """
    found: dict[str, str] = {}  # by absolute path
    for item in [spec] if isinstance(spec, (str, os.PathLike)) else spec:
        item = os.fspath(item)
        for file in [item] if item == "-" else _stands_for(item, suffixes, name):
            found.setdefault("-" if file == "-" else os.path.abspath(file), file)
    return list(found.values())


def _stands_for(item: str, suffixes: Collection[str], name: str) -> list[str]:
    mode = _stat_mode(item, name)
    if mode is not None and not stat.S_ISDIR(mode):
        return [item]
    if mode is not None:
        matches, lacks = [os.path.join(item, file) for file in os.listdir(item)], f"the folder {item!r} has no file"
    elif glob.has_magic(item):
        head = item
        while head and not os.path.lexists(head):
            head = os.path.dirname(head)
        matches, lacks = glob.glob(glob.escape(head) + item[len(head) :], recursive=True), f"{item!r} matches no file"
    else:
        raise FileNotFoundError(f"`{name}`: no such file: {item!r}")
    files = [x for x in matches if os.path.splitext(x)[1].lower() in suffixes and os.path.isfile(x)]
    files = sorted(x for x in files if not os.path.basename(x).startswith("."))
    if not files:
        raise InputError(f"`{name}`: {lacks} that ends in {' '.join(sorted(suffixes))}")
    return files


def suffix_of(form: str) -> str:
    """The suffix of a format such as "png". Raises InputError for one that can't be written."""
    suffix = f".{form.lower().lstrip('.')}"
    if suffix not in IMAGE_SUFFIXES:
        known = ", ".join(sorted(suffix.lstrip(".") for suffix in IMAGE_SUFFIXES))
        raise InputError(f"`format`: expected one of {known}, got {form!r}")
    return suffix


def check_quality(quality: int | None) -> None:
    """Raises InputError unless it is one that `save` takes."""
    if quality is not None and not 1 <= quality <= 100:
        raise InputError(f"`quality`: expected 1 to 100, got {quality}")


def check_output(
    path: str | os.PathLike,
    *,
    suffixes: Collection[str] = IMAGE_SUFFIXES,
    name: str = "output",
    inputs: Collection[Picture] = (),
) -> None:
    """Raises now, before the work, if a file couldn't be written to `path` after it, or would replace one of `inputs`.

    Raises:
      FileNotFoundError: the folder that `path` is in doesn't exist.
      InputError: `path` is a folder, one of `inputs`, its suffix is not one of `suffixes` (in either case), or its
        folder is read-only.
    """
    path = os.fspath(path)
    if any(isinstance(x, (str, os.PathLike)) and same_file(x, path) for x in inputs):
        raise InputError(f"`{name}`: {path!r} is a picture to work from, which would be lost; choose another name")
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


def same_file(a: str | os.PathLike, b: str | os.PathLike) -> bool:
    """Whether both names, of files that may not be there, are of one file."""
    return os.path.realpath(a) == os.path.realpath(b)


def write(path: str | os.PathLike, data: bytes, *, name: str = "out") -> None:
    """Writes the file that the argument `name` asks for, whole or not at all; InputError where it can't be written."""
    try:
        with atomic(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        what = repr(os.fspath(path))
        raise InputError(f"`{name}`: cannot write {what} ({_line(error)}); the disk may be full") from error


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
