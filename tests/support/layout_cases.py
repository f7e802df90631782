"""Pictures in every layout and colour declaration of PNG, TIFF, BMP and PNM, with what they show."""

import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tests.support.layouts import (
    bmp,
    icc_grey_profile,
    icc_rgb_profile,
    linear,
    packed,
    png,
    ramp,
    srgb,
    stored,
    tiff,
    tiff_directory,
)

H, W = 18, 21  # not multiples of 8, so that rows of few bits end inside a byte


class Case(NamedTuple):
    """A file, and what it shows: [H, W, 3] of sRGB and alpha [H, W]; None if nobody can say."""

    name: str
    data: bytes
    rgb: np.ndarray | None
    alpha: np.ndarray | None = None
    must: bool = False  # whether refusing it would be a fault
    samples: np.ndarray | None = None  # what is stored, for another decoder to confirm
    within: float = 1.0  # tolerance / 255


def _unit(values: np.ndarray, bits: int, kind: str = "u") -> np.ndarray:
    return values.astype(np.float64) if kind == "f" else values / float(2**bits - 1)


def _rgb(values: np.ndarray) -> np.ndarray:
    return np.repeat(values, 3, axis=-1) if values.shape[-1] == 1 else values


# PNG.

_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
_SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_FROM_P3 = np.array(
    [[1.22494, -0.22494, 0], [-0.04206, 1.04206, 0], [-0.01964, -0.07864, 1.09828]]
)  # linear P3 -> linear sRGB


def _declarations(colour: int) -> Iterator[tuple[str, list[tuple[bytes, bytes]], str]]:
    """Names, the chunks, and what they mean."""
    gama = lambda value: (b"gAMA", struct.pack(">I", value))
    chrm = lambda points: (b"cHRM", struct.pack(">8I", *points))
    icc = lambda profile: (b"iCCP", b"icc\0\0" + zlib.compress(profile))
    own = icc_grey_profile() if colour in (0, 4) else icc_rgb_profile()
    yield "undeclared", [], "srgb"
    yield "sRGB", [(b"sRGB", b"\0")], "srgb"
    yield "sRGB+gAMA1", [(b"sRGB", b"\0"), gama(100000)], "srgb"
    yield "gAMA.45455", [gama(45455)], "srgb"
    yield "gAMA.45455+cHRM", [gama(45455), chrm(_SRGB)], "srgb"
    yield "gAMA1", [gama(100000)], "linear"
    yield "gAMA1+cHRM-P3", [gama(100000), chrm(_P3)], "linear P3"
    yield "iCCP", [icc(own)], "linear"
    yield "iCCP-RGB", [icc(icc_rgb_profile())], "linear"
    yield "cICP-sRGB", [(b"cICP", bytes([1, 13, 0, 1])), icc(own)], "srgb"
    yield "cICP-linear", [(b"cICP", bytes([1, 8, 0, 1]))], "linear"
    yield "cICP-P3", [(b"cICP", bytes([12, 13, 0, 1]))], "P3"
    yield "cICP-PQ", [(b"cICP", bytes([9, 16, 0, 1]))], "unknown"


def _seen(rgb: np.ndarray, meaning: str) -> np.ndarray | None:
    light = rgb if "linear" in meaning else linear(rgb)
    if "P3" in meaning:
        light = light @ _FROM_P3.T
    return None if meaning == "unknown" else rgb if meaning == "srgb" else srgb(light)


def png_cases() -> Iterator[Case]:
    palette = stored(ramp(16, 16, 3).reshape(256, 3), 8)
    for colour, depths in _DEPTHS.items():
        channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
        layouts = itertools.product(depths, (False, True), (False, True), _declarations(colour))
        for bits, interlaced, keyed, (declared, chunks, meaning) in layouts:
            if keyed and colour in (4, 6) or interlaced and meaning not in ("srgb", "P3"):
                continue
            values = stored(ramp(H, W, channels), bits)
            colours, chunks = values[..., :3], list(chunks)
            alpha = None
            if colour in (4, 6):
                colours, alpha = values[..., :-1], _unit(values[..., -1], bits)
            if colour == 3:
                chunks.append((b"PLTE", palette[: 2**bits].tobytes()))
                colours = palette[values[..., 0]]
            if keyed and colour == 3:
                chunks.append((b"tRNS", bytes([0, 51])))
                alpha = np.where(values[..., 0] == 0, 0, np.where(values[..., 0] == 1, 0.2, 1.0))
            elif keyed:
                key = values[5, 7]
                chunks.append((b"tRNS", key.astype(">u2").tobytes()))
                alpha = np.where((values == key).all(axis=-1), 0.0, 1.0)
            rgb = _seen(_rgb(_unit(colours, 8 if colour == 3 else bits)), meaning)
            name = f"PNG colour {colour}, {bits} bits, {declared}{', tRNS' * keyed}{', interlaced' * interlaced}"
            data = png(values, bits, colour, chunks, interlaced)
            yield Case(name, data, rgb, alpha, rgb is not None, values, 1.0 if meaning == "srgb" else 2.0)


# TIFF.

_TIFF_CHANNELS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3, None: 1}  # by photometric interpretation
_DEPTHS_OF_TIFF = [
    *(("u", bits) for bits in (1, 2, 4, 8, 12, 16, 32, 64)),
    *(("i", bits) for bits in (8, 16, 32)),
    *(("f", bits) for bits in (16, 32, 64)),
]
_COMMON = (("u", 8), ("u", 16))
_PALETTE = stored(ramp(16, 16, 3).reshape(256, 3), 16)
_TO_D50 = np.array(
    [[0.4360657, 0.3851515, 0.1430784], [0.2224932, 0.7168870, 0.0606169], [0.0139239, 0.0970761, 0.7140994]]
)  # linear sRGB -> XYZ, adapted to D50


def _to_lab(rgb: np.ndarray, bits: int, centre: int) -> np.ndarray:
    """The samples of sRGB in L*a*b* of the white D50; `centre`: what stands for 0 of a and b in 8 bits."""
    t = linear(rgb) @ _TO_D50.T / [0.9642, 1, 0.8249]
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    lightness, scale = (1.16 * f[..., 1] - 0.16) * (2**bits - 1), 2 ** (bits - 8)
    a, b = 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])
    samples = np.stack([lightness, (a + centre) * scale, (b + centre) * scale], axis=-1)
    return np.round(samples).astype(np.int64).astype(f"u{bits // 8}")


def _from_lab(samples: np.ndarray, bits: int, centre: int) -> np.ndarray:
    scale = 2 ** (bits - 8)
    others = samples[..., 1:] if centre else samples[..., 1:].astype(f"i{bits // 8}")
    others = others / scale - centre
    middle = (samples[..., 0] / (2**bits - 1) + 0.16) / 1.16
    f = np.stack([middle + others[..., 0] / 500, middle, middle - others[..., 1] / 200], axis=-1)
    t = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    return srgb(t * [0.9642, 1, 0.8249] @ np.linalg.inv(_TO_D50).T)


def _coloured(photometric: int | None, kind: str, bits: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples [H, W, C] with this photometric interpretation, and what they show in sRGB."""
    picture = ramp(H, W, _TIFF_CHANNELS[photometric])
    if photometric in (8, 9) and (kind, bits) in _COMMON:
        centre = 0 if photometric == 8 else 128
        lab = _to_lab(picture * 0.6 + 0.2, bits, centre)
        return lab, _from_lab(lab, bits, centre)
    samples = stored(picture, bits, kind)
    if kind == "i" or photometric in (None, 8, 9):
        return samples, None
    unit = _unit(samples, bits, kind)
    if photometric == 3:
        return samples, _PALETTE[samples[..., 0]] / 65535 if kind == "u" and bits <= 8 else None
    if photometric == 5:
        return samples, (1 - unit[..., :3]) * (1 - unit[..., 3:])
    if photometric == 6:  # as in JPEG
        y, cb, cr = np.moveaxis(unit, -1, 0)
        cb, cr = cb - 128 / 255, cr - 128 / 255
        rgb = [y + 1.402 * cr, y - (0.114 * 1.772 * cb + 0.299 * 1.402 * cr) / 0.587, y + 1.772 * cb]
        return samples, np.clip(np.stack(rgb, axis=-1), 0, 1) if bits == 8 else None
    return samples, _rgb(1 - unit if photometric == 0 else unit)


def _with_extra(colours: np.ndarray, rgb: np.ndarray | None, photometric: int | None, bits: int, extra: tuple):
    """Adds extra samples of the common kinds; returns the samples, what they show, and the alpha."""
    opacity = stored((ramp(H, W, 5)[..., 4:] + 1) / 2, bits)
    alpha = _unit(opacity[..., 0], bits) if set(extra) & {1, 2} else None
    if 1 in extra and photometric in (1, 2):  # colours are multiplied by alpha
        colours = stored(_unit(colours, bits) * alpha[..., None], bits)
        rgb = np.clip(_rgb(_unit(colours, bits)) / alpha[..., None], 0, 1)
    elif 1 in extra:
        rgb = None
    return np.concatenate([colours, *[opacity] * len(extra)], axis=-1), rgb, alpha


def tiff_case(photometric: int | None, kind: str, bits: int, *, extra: tuple = (), **options) -> Case:
    """options: as for `tiff_directory`."""
    values, rgb = _coloured(photometric, kind, bits)
    alpha = None
    if extra:
        values, rgb, alpha = _with_extra(values, rgb, photometric, bits, extra)
    tags = {320: ("H", _PALETTE[: 2**bits].T.ravel().tolist())} if photometric == 3 and bits <= 8 else {}
    tags |= {5: {332: ("H", [1])}, 6: {530: ("H", [1, 1])}}.get(photometric, {})
    words = [f"TIFF, photometric {photometric}, {kind}{bits}, extra {extra}"]
    words += [f"{name} {value}" for name, value in options.items() if value and name != "tags"]
    options["tags"] = tags | options.get("tags", {})
    file = tiff([tiff_directory(values, bits, photometric, kind=kind, extra=extra, **options)], options["order"])
    usual = photometric in (1, 2) and bits in (8, 16) or photometric == 3 and bits in (4, 8)
    within = 6.0 if photometric == 6 else 2.0 if photometric in (5, 8, 9) or extra else 1.0
    return Case(", ".join(words), file, rgb, alpha, usual and kind == "u" and not extra, values, within)


def tiff_cases() -> Iterator[Case]:
    extras = [(), (0,), (1,), (2,), (2, 0)]
    for photometric, (kind, bits), extra in itertools.product(_TIFF_CHANNELS, _DEPTHS_OF_TIFF, extras):
        if extra and (kind, bits) not in _COMMON:
            continue
        planars = (False, True) if _TIFF_CHANNELS[photometric] + len(extra) > 1 else (False,)
        for order, planar, compress in itertools.product("<>" if bits > 8 else "<", planars, (False, True)):
            yield tiff_case(photometric, kind, bits, extra=extra, order=order, planar=planar, compress=compress)
    for photometric, bits, order, compress in itertools.product((0, 1, 2), (8, 16), "<>", (False, True)):
        for planar, part in itertools.product((False, True)[: 1 + (photometric == 2)], ({"rows": 5}, {"tile": 16})):
            yield tiff_case(photometric, "u", bits, order=order, planar=planar, compress=compress, **part)
    yield from _lowest_bit_first()
    for photometric, bits, order, own in itertools.product((0, 1, 2), (8, 16), "<>", (True, False)):
        icc = icc_grey_profile() if photometric != 2 and own else icc_rgb_profile()
        case = tiff_case(photometric, "u", bits, order=order, tags={34675: ("s", icc)})
        yield case._replace(rgb=srgb(case.rgb), within=2.0, name=f"{case.name}, profile of its own kind {own}")


def _lowest_bit_first() -> Iterator[Case]:
    for photometric, bits in itertools.product((0, 1), (1, 2, 4, 8, 16)):
        case = tiff_case(photometric, "u", bits, order="<", tags={266: ("H", [2])})
        start, end = 8, 8 + len(packed(case.samples.reshape(H, -1), bits, "<"))
        turned = np.unpackbits(np.frombuffer(case.data[start:end], np.uint8)).reshape(-1, 8)[:, ::-1]
        data = case.data[:start] + np.packbits(turned).tobytes() + case.data[end:]
        yield case._replace(data=data, name=f"{case.name}, lowest bit first", must=False)


# BMP and the PNM family.


def bmp_cases() -> Iterator[Case]:
    palette = stored(ramp(16, 16, 3).reshape(256, 3), 8)
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    tables = (("colours", palette), ("grey", grey), ("spread grey", None))
    for bits, (name, colours), flip in itertools.product((1, 4, 8), tables, (False, True)):
        if colours is None:  # the greys that the bits can express
            colours = np.repeat(np.linspace(0, 255, 2**bits).astype(np.uint8)[:, None], 3, axis=1)
        values = stored(ramp(H, W, 1), bits)
        shown = colours[: 2**bits]
        table = np.pad(shown[:, ::-1], [(0, 0), (0, 1)]).tobytes()
        rows = [packed(row.reshape(1, -1), bits) for row in values]
        data = bmp(rows, W, bits, palette=table, flip=flip)
        yield Case(f"BMP {bits} bits, {name}{', flipped' * flip}", data, shown[values[..., 0]] / 255)
    rgb = stored(ramp(H, W, 4), 8)
    for flip in (False, True):
        rows = [row[:, 2::-1].tobytes() for row in rgb]
        yield Case(f"BMP 24 bits{', flipped' * flip}", bmp(rows, W, 24, flip=flip), rgb[..., :3] / 255, must=True)
    masks = {"BGRA": (0xFF0000, 0xFF00, 0xFF, 0xFF000000), "RGBA": (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
             "GRBA": (0xFF00, 0xFF, 0xFF0000, 0xFF000000), "BGRX": (0xFF0000, 0xFF00, 0xFF, 0)}  # fmt: skip
    for name, mask in masks.items():
        places = [("RGBA" if name[3] == "A" else "RGBX").index(letter) for letter in name]
        rows = [row[:, places].tobytes() for row in rgb]
        extra = struct.pack("<4I", *mask) + bytes(68)
        data = bmp(rows, W, 32, compression=3, header=124, extra=extra)
        yield Case(f"BMP 32 bits {name}", data, rgb[..., :3] / 255, rgb[..., 3] / 255 if name[3] == "A" else None)
    for name, (r, g, b) in {"565": (5, 6, 5), "555": (5, 5, 5)}.items():
        parts = [stored(ramp(H, W, 3)[..., k], n).astype(np.uint16) for k, n in enumerate((r, g, b))]
        words = (parts[0] << (g + b) | parts[1] << b | parts[2]).astype("<u2")
        mask = struct.pack("<3I", (2**r - 1) << (g + b), (2**g - 1) << b, 2**b - 1)
        truth = np.stack([part / (2**n - 1) for part, n in zip(parts, (r, g, b), strict=True)], axis=-1)
        data = bmp([row.tobytes() for row in words], W, 16, compression=3, extra=mask)
        yield Case(f"BMP 16 bits {name}", data, truth)


def pnm_cases() -> Iterator[Case]:
    for magic, most in itertools.product(("P2", "P3", "P5", "P6"), (1, 15, 200, 255, 256, 1023, 65535)):
        values = np.round(ramp(H, W, 3 if magic in ("P3", "P6") else 1) * most).astype(np.uint16)
        if magic in ("P2", "P3"):
            body = " ".join(map(str, values.ravel())).encode() + b"\n"
        else:
            body = values.astype("u1" if most < 256 else ">u2").tobytes()
        data = f"{magic}\n# a comment\n{W} {H}\n{most}\n".encode() + body
        yield Case(f"PNM {magic} up to {most}", data, _rgb(values / most), must=True)
    bit = stored(ramp(H, W, 1), 1)
    plain = "\n".join("".join(map(str, row)) for row in bit[..., 0]).encode() + b"\n"
    yield Case("PNM P1", f"P1\n{W} {H}\n".encode() + plain, _rgb(1.0 - bit), must=True)
    rows = b"".join(packed(row.reshape(1, -1), 1) for row in bit)
    yield Case("PNM P4", f"P4\n{W} {H}\n".encode() + rows, _rgb(1.0 - bit), must=True)
    for magic, order in itertools.product(("Pf", "PF"), "<>"):
        values = ramp(H, W, 3 if magic == "PF" else 1).astype(f"{order}f4")
        scale = "-1.0" if order == "<" else "1.0"
        yield Case(
            f"PNM {magic} {order}", f"{magic}\n{W} {H}\n{scale}\n".encode() + values[::-1].tobytes(), _rgb(values)
        )
