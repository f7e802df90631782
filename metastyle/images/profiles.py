"""The colours that a picture file declares, and their conversion to sRGB."""

from __future__ import annotations

import io
import itertools
import struct
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageCms

from metastyle.errors import Adjusted, InputError, reason

_Point = tuple[float, float]  # x and y of CIE 1931


class Space(NamedTuple):
    """An RGB colour space by its chromaticities and the exponent of its values; None is the curve of sRGB."""

    white: _Point
    red: _Point
    green: _Point
    blue: _Point
    exponent: float | None = None


_D65 = (0.3127, 0.329)
SRGB = Space(_D65, (0.64, 0.33), (0.3, 0.6), (0.15, 0.06))
_ADOBE_RGB = Space(_D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06), 563 / 256)
# ITU-T H.273: the code points of primaries and of transfer characteristics. The curves of television stand for the
# curve of sRGB, as in browsers, since its pictures are made on such screens.
_PRIMARIES = {
    1: SRGB,
    2: SRGB,
    5: Space(_D65, (0.64, 0.33), (0.29, 0.6), (0.15, 0.06)),
    6: Space(_D65, (0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    7: Space(_D65, (0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    9: Space(_D65, (0.708, 0.292), (0.17, 0.797), (0.131, 0.046)),
    12: Space(_D65, (0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
}
_EXPONENTS = {1: None, 2: None, 4: 2.2, 5: 2.8, 6: None, 8: 1.0, 13: None, 14: None, 15: None}
_EXIF_IFD, _INTEROP_IFD, _COLOR_SPACE, _INTEROP_INDEX = 0x8769, 0xA005, 0xA001, 1


def declared(image: Image.Image, stream: BinaryIO | None, name: str, what: str) -> bytes | None:
    """The ICC profile of a picture's colours, made where the file declares them otherwise; None for sRGB.

    What counts is, in this order: code points of H.273 in PNG (`cICP`), an ICC profile, code points in AVIF and HEIC,
    `sRGB`, `gAMA` and `cHRM` of PNG, and Adobe RGB in the EXIF of cameras.

    stream: the file, for what Pillow doesn't read; None if `image` is not from a file.

    Raises InputError for code points of HDR or of unknown colours.
    """
    points = _code_points(image, stream)
    if image.info.get("icc_profile") and (points is None or image.format != "PNG"):
        return image.info["icc_profile"]
    if points is not None:
        return profile(_space_of(points, name, what))
    if "srgb" in image.info:
        return None
    space = _png_space(image.info)
    if space is None and image.format in ("JPEG", "MPO", "TIFF", "HEIF") and _is_adobe_rgb(image):
        space = _ADOBE_RGB
    return profile(space or SRGB)


def _code_points(image: Image.Image, stream: BinaryIO | None) -> tuple[int, int] | None:
    """The code points of H.273 for the primaries and the transfer characteristics, or None."""
    if nclx := image.info.get("nclx_profile"):
        return nclx["color_primaries"], nclx["transfer_characteristics"]
    find = {"PNG": _png_code_points, "AVIF": _avif_code_points}.get(image.format or "")
    if find is None or stream is None:
        return None
    place = stream.tell()  # where the decoder continues
    try:
        return find(stream)
    finally:
        stream.seek(place)


def _png_code_points(stream: BinaryIO) -> tuple[int, int] | None:
    data = _png_chunk(stream, b"cICP")
    return (data[0], data[1]) if data and len(data) >= 2 else None


def _png_chunk(stream: BinaryIO, wanted: bytes) -> bytes | None:
    """The data of a chunk of a PNG before its pixels, or None."""
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == wanted:
            return stream.read(length)
        if kind == b"IDAT":
            break
        stream.seek(length + 4, 1)
    return None


def _avif_code_points(stream: BinaryIO) -> tuple[int, int] | None:
    """The code points of the first property `colr` of the kind `nclx`, which is that of the picture itself."""
    stream.seek(0)
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"meta":
            _, found, data = stream.read(length - 8).partition(b"colrnclx")
            return struct.unpack(">HH", data[:4]) if found and len(data) >= 4 else None
        if length < 8:  # the last box, or one of 4 GiB
            break
        stream.seek(length - 8, 1)
    return None


def _space_of(points: tuple[int, int], name: str, what: str) -> Space:
    primaries, transfer = points
    if primaries not in _PRIMARIES or transfer not in _EXPONENTS:
        hdr = "HDR" if transfer in (16, 18) else "colours that are not known here"
        raise InputError(
            f"`{name}`: {what} has {hdr} (code points {primaries} and {transfer} of H.273); save it as sRGB"
        )
    return _PRIMARIES[primaries]._replace(exponent=_EXPONENTS[transfer])


def _png_space(info: dict) -> Space | None:
    """The space that `gAMA` and `cHRM` of a PNG declare; None where there are none."""
    gamma, points = info.get("gamma"), info.get("chromaticity")
    if not gamma:
        return None
    exponent = None if abs(gamma - 1 / 2.2) < 1e-3 else 1 / gamma  # 1/2.2 is written for sRGB
    if not points:
        return SRGB._replace(exponent=exponent)
    return Space(*(points[k : k + 2] for k in range(0, 8, 2)), exponent=exponent)


def _is_adobe_rgb(image: Image.Image) -> bool:
    """Whether EXIF says so as cameras do (DCF 2.0): uncalibrated colours, with the interoperability index R03."""
    try:
        exif = image.getexif()
        inner = exif.get_ifd(_EXIF_IFD)
        index = exif.get_ifd(_INTEROP_IFD).get(_INTEROP_INDEX)
    except Exception:  # damaged metadata around sound pixels
        return False
    return inner.get(_COLOR_SPACE) in (2, 0xFFFF) and str(index or "").startswith("R03")


def profile(space: Space) -> bytes | None:
    """An ICC profile of a colour space; None if it is sRGB, to 0.002 in the chromaticities."""
    if space.exponent is None and np.abs(np.subtract(space[:4], SRGB[:4])).max() < 2e-3:
        return None
    matrix = _to_d50(space)
    if space.exponent is None:
        curve = b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    else:
        curve = b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + _fixed(space.exponent)
    d50 = _fixed(0.9642, 1, 0.8249)
    text = "declared".encode("utf-16-be")
    tags = {b"wtpt": b"XYZ \0\0\0\0" + d50}
    for kind in (b"desc", b"cprt"):
        tags[kind] = b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
    for channel, column in zip("rgb", matrix.T, strict=True):
        tags[f"{channel}XYZ".encode()] = b"XYZ \0\0\0\0" + _fixed(*column)
        tags[f"{channel}TRC".encode()] = curve
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for kind, data in tags.items():
        table += struct.pack(">4sII", kind, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4xI12s", start + len(body), 0x04200000, b"mntrRGB XYZ ") + bytes(12) + b"acsp"
    return header.ljust(68, b"\0") + d50.ljust(60, b"\0") + table + body


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _to_d50(space: Space) -> np.ndarray:
    """The matrix from linear RGB to XYZ of the white D50, adapted as ICC profiles are (Bradford)."""
    xyz = lambda x, y: np.array([x / y, 1, (1 - x - y) / y])
    primaries = np.stack([xyz(*point) for point in space[1:4]], axis=1)
    white = xyz(*space.white)
    primaries = primaries * np.linalg.solve(primaries, white)
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    scale = bradford @ [0.9642, 1, 0.8249] / (bradford @ white)
    return np.linalg.solve(bradford, scale[:, None] * bradford) @ primaries


def to_srgb(samples: np.ndarray, icc: bytes | None, name: str, what: str) -> np.ndarray:
    """Converts samples with an ICC profile to sRGB.

    Args:
      samples: uint8 or uint16, [H, W] (grey), [H, W, 3] (RGB) or [H, W, 4] (CMYK).
      icc: the profile; None is sRGB, or CMYK of no declared inks. One that can't be used counts as None, which a
        warning says (errors.Adjusted).

    Returns:
      [H, W] or [H, W, 3]: of the type of `samples`, or floats in [0, 1] where 16 bits were converted.
    """
    if samples.shape[2:] == (4,) and samples.dtype == np.uint16:
        samples = ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if icc:
        try:
            return _convert(samples, icc)
        except (OSError, ImportError, ImageCms.PyCMSError) as error:
            message = f"`{name}`: the colour profile of {what} can't be used ({reason(error)}) and was ignored"
            warnings.warn(message, Adjusted, stacklevel=2)
    return np.asarray(_image(samples, "CMYK").convert("RGB")) if samples.shape[2:] == (4,) else samples


def from_lab(image: Image.Image) -> np.ndarray:
    """Converts a picture in CIE L*a*b* to sRGB uint8[H, W, 3].

    Without the flag, LittleCMS interpolates in a table and is up to 15 / 255 away in dark channels of strong colours.
    """
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    flags = ImageCms.Flags.NOOPTIMIZE
    return np.asarray(ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB", flags=flags))


def _image(values: np.ndarray, mode: str) -> Image.Image:
    return Image.frombytes(mode, (values.shape[1], values.shape[0]), values.tobytes())


def _convert(samples: np.ndarray, icc: bytes) -> np.ndarray:
    source: Any = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    space = source.profile.xcolor_space.strip()
    channels = {"GRAY": 1, "RGB": 3, "CMYK": 4}.get(space, 0)
    grey = samples.ndim == 2
    if channels != (1 if grey else samples.shape[2]) and not (grey and channels == 3):
        raise OSError(f"it is one for {space}")

    def convert(values: np.ndarray) -> np.ndarray:
        """uint8[H, W(, C)] -> uint8[H, W, 3]; grey with a profile for RGB is RGB of equal channels."""
        if grey and channels == 3:
            values = np.repeat(values[..., None], 3, axis=-1)
        image = _image(values, "L" if channels == 1 else space)
        return np.asarray(ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"))

    return convert(samples) if samples.dtype == np.uint8 else _interpolated(samples, convert)


def _interpolated(samples: np.ndarray, convert: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Converts 16-bit samples by a function of 8-bit samples, linear in between: f32[H, W, 3] in [0, 1].

    LittleCMS converts 16 bits too, but Pillow has no RGB of 16 bits to give it.
    """
    places = samples / np.float32(257)
    if samples.ndim == 2:
        table = convert(np.arange(256, dtype=np.uint8)[None])[0] / np.float32(255)
        return np.stack([np.interp(places, np.arange(256), column) for column in table.T], axis=-1).astype(np.float32)
    below = np.minimum(places.astype(np.uint8), 254)
    weight = places - below
    total = np.zeros(samples.shape, np.float32)
    for corner in itertools.product((0, 1), repeat=3):  # of the cell of the cube in which a colour lies
        share = np.where(corner, weight, 1 - weight).prod(axis=-1, keepdims=True)
        total += share * convert(below + np.array(corner, np.uint8))
    return np.clip(total / 255, 0, 1)
