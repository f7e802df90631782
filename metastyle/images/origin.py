"""What a picture that is made from another keeps of that one beside its pixels: the resolution, and EXIF if asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
_ORIENTATION, _INCH, _CENTIMETRE = 274, 2, 3
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_KEPT = (271, 272, 306, 315, 33432)  # make, model, date and time, artist, copyright
# Not true of the new picture: the note of the camera's maker, whose offsets are lost, the size, and the colour space.
_UNTRUE = (37500, 40961, 40962, 40963, 40965)
_MAX_DPI = 1e5


@dataclass(frozen=True)
class Origin:
    """What is kept of a picture.

    dpi: pixels per inch to the right and downwards, as the picture is seen, or None. exif: tags of EXIF without those
    that describe the stored pixels, and dictionaries of such tags for its directories.
    """

    dpi: tuple[float, float] | None = None
    exif: Mapping[int, Any] = field(default_factory=dict)

    def tags(self, *, resolution: bool) -> Image.Exif:
        """EXIF for a picture that is made from this one; resolution: whether it says the resolution, too."""
        tags = Image.Exif()
        for tag, value in self.exif.items():
            if isinstance(value, Mapping):
                tags.get_ifd(tag).update(value)
            tags[tag] = value  # of a directory, too: the writer of TIFF goes through these alone
        if resolution and self.dpi:
            tags.update(zip((X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT), (*self.dpi, _INCH), strict=True))
        return tags


NO_ORIGIN = Origin()


def origin_of(image: Image.Image, *, exif: bool = False) -> Origin:
    """Reads what is kept of an opened picture; exif: whether its EXIF is kept, which may say where it was taken."""
    try:
        tags = image.getexif() if image.format != "PNG" or "exif" in image.info else Image.Exif()
        return Origin(_dpi(image, tags), _kept(tags) if exif else {})
    except Exception:  # damaged metadata around sound pixels
        return Origin()


def _dpi(image: Image.Image, tags: Image.Exif) -> tuple[float, float] | None:
    found = image.info.get("dpi")
    if isinstance(image, TiffImageFile) and X_RESOLUTION not in image.tag_v2:
        return None  # Pillow says 1
    if found is None and {X_RESOLUTION, Y_RESOLUTION} <= tags.keys():
        inches = {_INCH: 1, _CENTIMETRE: 2.54}.get(tags.get(RESOLUTION_UNIT, _INCH), math.nan)
        found = tags[X_RESOLUTION] * inches, tags[Y_RESOLUTION] * inches
    if found is None:
        return None
    x, y = (float(value) for value in found)
    if not (1 <= x < _MAX_DPI and 1 <= y < _MAX_DPI):  # also where either is NaN
        return None
    return (y, x) if tags.get(_ORIENTATION, 1) >= 5 else (x, y)  # turned by a quarter


def _kept(tags: Image.Exif) -> dict[int, Any]:
    kept: dict[int, Any] = {tag: tags[tag] for tag in _KEPT if tag in tags}
    for place, left_out in ((_EXIF_IFD, _UNTRUE), (_GPS_IFD, ())):
        inner = {tag: value for tag, value in tags.get_ifd(place).items() if tag not in left_out}
        kept |= {place: inner} if inner else {}
    return kept
