"""What `load` reads, against the decoders of imagecodecs and tifffile, which share no code with Pillow.

`pytest -s tests/images/test_other_decoders.py` prints how many files of each format were compared.
"""

import io
import itertools
import re
from collections.abc import Iterator

import numpy as np
import pytest

from metastyle.errors import InputError
from metastyle.images import codec
from tests.support.layout_cases import tiff_cases
from tests.support.layouts import ramp, stored

imagecodecs = pytest.importorskip("imagecodecs", reason="needs imagecodecs, of the extra `test`")
tifffile = pytest.importorskip("tifffile", reason="needs tifffile, of the extra `test`")

H, W = 34, 45
Compared = tuple[str, bytes, np.ndarray, np.ndarray | None, float]  # name, file, rgb, alpha, tolerance / 255


def _picture(channels: int, bits: int = 8) -> np.ndarray:
    values = stored(ramp(H, W, channels) * 0.9 + 0.05, bits)
    return values[..., 0] if channels == 1 else values


def _split(decoded: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray | None]:
    """RGB and alpha in [0, 1] of what a decoder returns: [H, W], or [H, W, C] with C = 1, 2 (grey), 3 or 4."""
    unit = np.atleast_3d(decoded) / (2**bits - 1)
    alpha = unit[..., -1] if unit.shape[2] in (2, 4) else None
    rgb = unit[..., : 1 if unit.shape[2] < 3 else 3]
    return np.broadcast_to(rgb, (*rgb.shape[:2], 3)), alpha


def _jpeg() -> Iterator[Compared]:
    for channels, subsampling in itertools.product((1, 3), ("444", "422", "420")):
        data = imagecodecs.jpeg8_encode(_picture(channels), level=95, subsampling=subsampling)
        yield f"JPEG of {channels}, {subsampling}", data, *_split(imagecodecs.jpeg8_decode(data), 8), 4
    data = imagecodecs.jpeg8_encode(_picture(3), level=95, colorspace="RGB", outcolorspace="RGB")
    yield "JPEG in RGB", data, *_split(imagecodecs.jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB"), 8), 4
    for space in ("CMYK", "YCCK"):
        data = imagecodecs.jpeg8_encode(_picture(4), level=95, colorspace="CMYK", outcolorspace=space)
        ink = 1 - imagecodecs.jpeg8_decode(data, outcolorspace="CMYK") / 255  # Adobe stores 255 for no ink
        yield f"JPEG in {space}", data, (1 - ink[..., :3]) * (1 - ink[..., 3:]), None, 4


def _png() -> Iterator[Compared]:
    for channels, bits in itertools.product((1, 2, 3, 4), (8, 16)):
        data = imagecodecs.png_encode(_picture(channels, bits))
        yield f"PNG of {channels}, {bits} bits", data, *_split(imagecodecs.png_decode(data), bits), 0.1


def _webp() -> Iterator[Compared]:
    for channels, lossless in itertools.product((3, 4), (False, True)):
        data = imagecodecs.webp_encode(_picture(channels), level=90, lossless=lossless)
        yield f"WebP of {channels}, lossless {lossless}", data, *_split(imagecodecs.webp_decode(data), 8), 3


def _avif() -> Iterator[Compared]:
    for channels, bits in itertools.product((1, 2, 3, 4), (8, 10, 12)):
        values = _picture(channels, bits)
        data = imagecodecs.avif_encode(values, level=95, bitspersample=bits, speed=8)
        decoded = imagecodecs.avif_decode(data)
        yield f"AVIF of {channels}, {bits} bits", data, *_split(decoded, bits), 4


def _gif() -> Iterator[Compared]:
    data = imagecodecs.gif_encode(_picture(1))
    yield "GIF", data, *_split(imagecodecs.gif_decode(data), 8), 0.1


def _tiff() -> Iterator[Compared]:
    layouts = itertools.product(
        ("lzw", "packbits", "deflate", "zstd", None), (1, 3, 4), (8, 16), (False, True), (None, (16, 16)), "<>"
    )
    for compression, channels, bits, planar, tile, order in layouts:
        if planar and channels == 1:
            continue
        values = _picture(channels, bits)
        values = np.moveaxis(values, -1, 0) if planar else values
        for predictor in (False, True) if compression in ("lzw", "deflate", "zstd") else (False,):
            stream = io.BytesIO()
            tifffile.imwrite(stream, values, photometric="rgb" if channels > 2 else "minisblack", predictor=predictor,
                             planarconfig=("separate" if planar else "contig") if channels > 1 else None, tile=tile,
                             extrasamples=["unassalpha"] if channels == 4 else None, compression=compression,
                             byteorder=order)  # fmt: skip
            decoded = tifffile.imread(io.BytesIO(stream.getvalue()))
            name = f"TIFF {compression} of {channels}, {bits} bits, {order}{', planar' * planar}, tile {tile}"
            decoded = np.moveaxis(decoded, 0, -1) if planar else decoded
            yield name, stream.getvalue(), *_split(decoded, bits), 2.0 if planar else 0.1
    stream = io.BytesIO()
    tifffile.imwrite(stream, _picture(3), photometric="ycbcr", compression="jpeg", compressionargs={"level": 95})
    yield "TIFF jpeg", stream.getvalue(), *_split(tifffile.imread(io.BytesIO(stream.getvalue())), 8), 8


@pytest.mark.parametrize("files", [_jpeg, _png, _webp, _avif, _gif, _tiff], ids=lambda f: f.__name__.strip("_"))
def test_load_agrees_with_another_decoder(files, capsys):
    read, refused, wrong = 0, [], []
    for name, data, rgb, alpha, within in files():
        try:
            found, opacity = codec.load(data)
        except InputError as error:
            assert "\n" not in str(error)
            refused.append(f"{name}: {error}")
            continue
        read += 1
        weight = 1 if alpha is None else alpha[..., None]
        off = np.abs(found - (rgb * weight + 1 - weight)).max() * 255
        off = max(off, np.abs((1 if opacity is None else opacity) - np.squeeze(weight)).max() * 255)
        if off > within + 1e-3:
            wrong.append(f"{name}: {off:.1f} of 255 away")
    with capsys.disabled():
        print(f"\n{files.__name__.strip('_').upper()}: {read} read right, {len(refused)} refused, {len(wrong)} wrong")
    assert not wrong, "\n" + "\n".join(wrong)
    assert read and not [x for x in refused if not re.search("TIFF zstd", x)], "\n".join(refused)


def test_the_layouts_of_tiff_hold_what_they_say():
    """tifffile finds the samples in the files of layout_cases.py that were written there."""
    confirmed = 0
    for case in tiff_cases():
        try:
            found = tifffile.imread(io.BytesIO(case.data))
        except (ValueError, NotImplementedError, tifffile.TiffFileError, imagecodecs.DelayedImportError):
            continue
        if found.size != case.samples.size:
            continue
        planar = "planar" in case.name and found.shape[0] == case.samples.shape[2]
        found = np.moveaxis(found, 0, -1) if planar else found
        np.testing.assert_array_equal(found.reshape(case.samples.shape), case.samples, err_msg=case.name)
        confirmed += 1
    assert confirmed > 800
