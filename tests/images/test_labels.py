"""Labels that stay in their cells, whatever the names are."""

import pytest
from PIL import ImageFont

from metastyle.images import labels

LONG = "Vincent_van_Gogh_-_The_Night_Cafe_in_the_Place_Lamartine_in_Arles_1888_Yale"
TEXTS = ["short", LONG, "another", "夜のカフェ", "x" * 200, "Ночь", "a\nb", "", "e\u0301"]


@pytest.mark.parametrize("width", [32, 64, 128, 256])
def test_no_line_is_wider_than_its_cell(width):
    fitted = labels.fit(TEXTS, width, 12)
    assert len(fitted.lines) == len(TEXTS)
    for lines in fitted.lines:
        assert len(lines) <= 3 and all(fitted.font.getlength(line) <= width for line in lines)
    assert fitted.width <= width


def test_short_labels_stay_whole_and_long_ones_keep_their_ends():
    fitted = labels.fit(["short", LONG], 128, 12)
    assert fitted.lines[0] == ["short"]
    joined = "".join(fitted.lines[1])
    assert joined.startswith("Vincent") and joined.endswith("Yale")


def test_characters_without_a_glyph_are_escaped():
    (text,) = labels.legible(["café 夜"])
    assert text in ("café \\u591c", "café 夜")  # by what the fonts of this machine have
    drawn = ImageFont.load_default(24).getmask("夜")
    nothing = ImageFont.load_default(24).getmask("\U0010fffe")
    if bytes(drawn) == bytes(nothing):
        assert labels.legible(["夜"]) == ["\\u591c"]
    assert labels.legible(["a\nb"]) == ["a\\nb"]


def test_the_middle_gives_way():
    assert labels.clip("abcdefghij", lambda text: len(text) <= 5) == "ab…ij"
    assert labels.clip("abc", lambda text: True) == "abc"
