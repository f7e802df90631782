"""Writes pictures in every layout of PNG, TIFF, BMP and the PNM family, from their stored samples."""

import struct
import zlib

import numpy as np


def ramp(height: int, width: int, channels: int) -> np.ndarray:
    """A smooth picture f64[height, width, channels] in [0, 1] that reaches 0 and 1 and differs in each channel."""
    y, x = np.mgrid[0:height, 0:width]
    x, y = x / (width - 1), y / (height - 1)
    planes = [x, y, 1 - x, 1 - y, (x + y) / 2, x * y]
    return np.stack(planes[:channels], axis=-1)


def stored(picture: np.ndarray, bits: int, kind: str = "u") -> np.ndarray:
    """Samples of `picture` in [0, 1] with so many bits: "u"nsigned, "i" signed (from the least value) or "f"loat."""
    if kind == "f":
        return picture.astype(f"f{bits // 8}")
    most = 2**bits - 1
    values = np.round(picture * float(most)).clip(0, float(most))
    if bits == 64:
        values = (picture * (2**53 - 1)).astype(np.uint64) << np.uint64(11)
    values = values.astype(np.uint64)
    if kind == "i":
        return (values.astype(np.int64) - 2 ** (bits - 1)).astype(f"i{bits // 8}")
    return values.astype("u1" if bits <= 8 else "u2" if bits <= 16 else f"u{bits // 8}")


def packed(values: np.ndarray, bits: int, order: str = ">") -> bytes:
    """Rows of samples [H, N], each row from a new byte, the highest bit first; larger samples in a byte order."""
    if bits % 8 == 0:
        return values.astype(values.dtype.newbyteorder(order)).tobytes()
    places = np.arange(bits - 1, -1, -1)
    parts = (values[..., None].astype(np.uint16) >> places & 1).astype(np.uint8)
    return np.packbits(parts.reshape(len(values), -1), axis=1).tobytes()


# PNG.


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values: np.ndarray, bits: int, colour: int, chunks: list[tuple[bytes, bytes]], interlaced: bool) -> bytes:
    """A PNG of samples [H, W, C]. chunks: stand before the pixels."""
    height, width = values.shape[:2]
    whole = [(0, 0, 1, 1)]
    adam7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    data = b""
    for top, left, down, right in adam7 if interlaced else whole:
        part = values[top::down, left::right]
        if part.size:
            rows = part.reshape(len(part), -1)
            data += b"".join(b"\0" + packed(row[None], bits) for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


# TIFF.

_SIZES = {"B": 1, "H": 2, "I": 4}


def tiff(directories: list[tuple[dict, list[bytes]]], order: str = "<") -> bytes:
    """A TIFF of directories, one after the other: each is its tags {tag: (type, values)} and its strips or tiles.

    A type is B, H or I for integers of 1, 2 or 4 bytes, or s for bytes.
    """
    body = bytearray(b"II*\0" if order == "<" else b"MM\0*") + bytes(4)
    link = 4
    for tags, strips in directories:
        link = _directory(body, tags, strips, order, link)
    return bytes(body)


def _directory(body: bytearray, tags: dict, strips: list[bytes], order: str, link: int) -> int:
    """Appends a directory, whose offset is written at `link`; returns where the offset of the next one stands."""
    tags, offsets = dict(tags), []
    for strip in strips:
        body += bytes(len(body) % 2)
        offsets.append(len(body))
        body += strip
    place, count = (324, 325) if 322 in tags else (273, 279)
    tags[place], tags[count] = ("I", offsets), ("I", [len(strip) for strip in strips])
    entries = b""
    for tag, (kind, values) in sorted(tags.items()):
        data = values if kind == "s" else struct.pack(f"{order}{len(values)}{kind}", *values)
        number = {"B": 1, "H": 3, "I": 4, "s": 7}[kind]
        if len(data) > 4:
            body += bytes(len(body) % 2)
            inline = struct.pack(f"{order}I", len(body))
            body += data
        else:
            inline = data.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, number, len(values)) + inline
    body += bytes(len(body) % 2)
    struct.pack_into(f"{order}I", body, link, len(body))
    body += struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    return len(body) - 4


def tiff_directory(
    values: np.ndarray,
    bits: int,
    photometric: int | None,
    *,
    kind: str = "u",
    order: str = "<",
    extra: tuple[int, ...] | None = None,
    planar: bool = False,
    compress: bool = False,
    rows: int | None = None,
    tile: int | None = None,
    tags: dict | None = None,
) -> tuple[dict, list[bytes]]:
    """A directory of samples [H, W, C], for `tiff`. rows: those of a strip. tile: px, the side of a tile."""
    height, width, channels = values.shape
    described = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits] * channels),
        259: ("H", [8 if compress else 1]),
        277: ("H", [channels]),
        284: ("H", [2 if planar else 1]),
        339: ("H", [{"u": 1, "i": 2, "f": 3}[kind]] * channels),
    }
    if photometric is not None:
        described[262] = ("H", [photometric])
    if extra:
        described[338] = ("H", list(extra))
    strips = []
    for plane in np.moveaxis(values, -1, 0)[..., None] if planar else [values]:
        if tile:
            described |= {322: ("I", [tile]), 323: ("I", [tile])}
            missing = [(0, -height % tile), (0, -width % tile), (0, 0)]
            full = np.pad(plane, missing, "edge")
            parts = [full[y : y + tile, x : x + tile] for y in range(0, height, tile) for x in range(0, width, tile)]
        else:
            step = rows or height
            described[278] = ("I", [step])
            parts = [plane[y : y + step] for y in range(0, height, step)]
        strips += [packed(part.reshape(len(part), -1), bits, order) for part in parts]
    if compress:
        strips = [zlib.compress(strip) for strip in strips]
    return described | (tags or {}), strips


# BMP.


def bmp(rows: list[bytes], width: int, bits: int, *, palette: bytes = b"", extra: bytes = b"", flip: bool = False,
        compression: int = 0, header: int = 40) -> bytes:  # fmt: skip
    """A BMP of rows, the first one the uppermost. extra: follows the 40 bytes of the header."""
    height = len(rows)
    padded = [row + bytes(-len(row) % 4) for row in (rows if flip else rows[::-1])]
    data = b"".join(padded)
    info = struct.pack("<IiiHHIIiiII", header, width, -height if flip else height, 1, bits, compression, len(data),
                       0, 0, len(palette) // 4, 0)  # fmt: skip
    info += extra
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + palette + data


# Colours.


def srgb(linear: np.ndarray) -> np.ndarray:
    """The curve of sRGB."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def linear(encoded: np.ndarray) -> np.ndarray:
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def icc_rgb_profile(order="rgb", gamma=1.0):
    """A minimal matrix profile with sRGB's primaries in the given order and one gamma."""
    primaries = {"r": (0.43607, 0.22249, 0.01392), "g": (0.38515, 0.71687, 0.09708), "b": (0.14307, 0.06061, 0.71410)}
    tags = {}
    for channel, primary in zip("rgb", order, strict=True):
        tags[channel.encode() + b"XYZ"] = _xyz(primaries[primary])
        tags[channel.encode() + b"TRC"] = _gamma(gamma)
    return _icc(b"RGB ", tags)


def icc_grey_profile(gamma=1.0):
    """A minimal profile for grey."""
    return _icc(b"GRAY", {b"kTRC": _gamma(gamma)})


def _s15(value):
    return struct.pack(">i", round(value * 65536))


def _xyz(triple):
    return b"XYZ \0\0\0\0" + b"".join(map(_s15, triple))


def _gamma(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def _icc(space, tags):
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(78),
        b"wtpt": _xyz((0.9642, 1, 0.8249)),
    } | tags
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for signature, data in tags.items():
        data += bytes(-len(data) % 4)
        table += signature + struct.pack(">II", offset + len(body), len(data))
        body += data
    header = bytearray(128)
    header[0:4] = struct.pack(">I", offset + len(body))
    header[8:12] = bytes([2, 0x10, 0, 0])
    header[12:24] = b"mntr" + space + b"XYZ "
    header[36:40] = b"acsp"
    header[68:80] = b"".join(map(_s15, (0.9642, 1, 0.8249)))
    return bytes(header) + struct.pack(">I", len(tags)) + table + body
