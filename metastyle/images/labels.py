"""Labels of pictures: names of files, which may be long and in any script, drawn so that they can be read."""

from __future__ import annotations

import functools
import importlib.util
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import ImageFont, features

_LEAST, _MOST = 8, 24  # px, the size of the font
_LINES = 3  # at most, of a label
_BREAKS = " _-.,+"  # characters after which a line ends, if it can
_WORD = re.compile(rf"[^{re.escape(_BREAKS)}]+")
_UNIT = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})|.", re.DOTALL)  # an escape, or a character
_ELLIPSIS = "…"
_NOWHERE = "\U0010fffe"  # no font has a glyph for this

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Labels(NamedTuple):
    """Texts broken into lines, and the font that they are measured in."""

    lines: list[list[str]]  # of each text
    font: Font
    line: int  # px, the height of a line

    @property
    def width(self) -> int:
        """The length of the longest line, px."""
        return math.ceil(max(self.font.getlength(line) for lines in self.lines for line in lines))

    @property
    def height(self) -> int:
        """The height of the label with the most lines, px."""
        return self.line * max(map(len, self.lines))


def fit(texts: Sequence[str], width: int, size: int, most: int = _LINES) -> Labels:
    """Labels no wider than `width` px, in a font of `size` px or, where a word does not fit, a smaller one.

    A text that does not fit is broken into lines. If it needs more than `most`, its middle gives way to an ellipsis.
    Characters that can't be drawn are replaced as `legible` says.
    """
    file, texts = _file(texts), legible(texts)
    words = [word for text in texts for word in _WORD.findall(text)]
    size = min(max(size, 10), _MOST)
    while size > _LEAST and (
        any(_font(file, size).getlength(word) > width for word in words)
        or any(len(_wrap(text, width, _font(file, size))) > most for text in texts)
    ):
        size -= 1
    font = _font(file, size)
    return Labels([_shorten(text, width, font, most) for text in texts], font, round(1.25 * size))


def legible(texts: Sequence[str]) -> list[str]:
    r"""The texts, with an escape such as \u591c for every character that can't be drawn.

    The font is Pillow's own where it has all glyphs, else the DejaVu Sans of matplotlib, where that is installed. What
    is written from right to left is escaped too, unless Pillow has the library that lays it out.
    """
    file = _file(texts)
    return ["".join(x if _is_drawn(file, x) else _escape(x) for x in text) for text in texts]


def clip(text: str, fits: Callable[[str], bool]) -> str:
    """As much of a text as fits: all of it, or its beginning and its end with an ellipsis between them."""
    units, clipped = _UNIT.findall(text), text
    for kept in range(len(units) - 1, 0, -1):
        if fits(clipped):
            break
        clipped = "".join([*units[: -(-kept // 2)], _ELLIPSIS, *units[len(units) - kept // 2 :]])
    return clipped


def _file(texts: Sequence[str]) -> str:
    """The font file that the texts are drawn with; "" is Pillow's own."""
    needed = {x for text in texts for x in text}
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib is None or matplotlib.origin is None or all(_is_drawn("", x) for x in needed):
        return ""
    file = Path(matplotlib.origin).with_name("mpl-data") / "fonts" / "ttf" / "DejaVuSans.ttf"
    return str(file) if file.is_file() else ""


@functools.cache
def _font(file: str, size: int) -> Font:
    return ImageFont.truetype(file, size) if file else ImageFont.load_default(size)


@functools.cache
def _is_drawn(file: str, character: str) -> bool:
    if character.isascii():
        return character.isprintable()
    if unicodedata.bidirectional(character) in ("R", "AL", "AN") and not features.check("raqm"):
        return False
    return character.isprintable() and _glyph(file, character) != _glyph(file, _NOWHERE)


def _glyph(file: str, character: str) -> tuple[tuple[int, int], bytes]:
    mask: Any = _font(file, _MOST).getmask(character)
    return mask.size, bytes(mask)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _shorten(text: str, width: int, font: Font, most: int) -> list[str]:
    return _wrap(clip(text, lambda clipped: len(_wrap(clipped, width, font)) <= most), width, font)


def _wrap(text: str, width: int, font: Font) -> list[str]:
    """The lines of a text; one that can't end after a character of _BREAKS ends anywhere, but in no escape."""
    rest, lines = _UNIT.findall(text), []
    while rest:
        count = 1
        while count < len(rest) and font.getlength("".join(rest[: count + 1])) <= width:
            count += 1
        if count < len(rest):
            ends = [i + 1 for i in range(count // 2, count) if rest[i] in _BREAKS]
            count = ends[-1] if ends else count
        lines.append("".join(rest[:count]).strip())
        rest = rest[count:]
    return lines or [""]
