"""Contact sheets."""

import numpy as np
import pytest

from metastyle.images import contact_sheet
from metastyle.images.resize import resize
from tests.support.pictures import noise


def test_grid_places_cells_on_white():
    a, b, c = (np.full((5, 7, 3), v, np.float32) for v in (0.1, 0.2, 0.3))
    sheet = contact_sheet.grid([[a, None, b], [c]], pad=2)
    expected = np.ones((2 * 5 + 3 * 2, 3 * 7 + 4 * 2, 3), np.float32)
    expected[2:7, 2:9] = 0.1
    expected[2:7, 20:27] = 0.2
    expected[9:14, 2:9] = 0.3
    assert sheet.dtype == np.float32
    np.testing.assert_array_equal(sheet, expected)


def test_grid_labels_are_drawn_beside_the_cells():
    cell = noise(40, 60, 3)
    plain = contact_sheet.grid([[cell, cell], [cell, cell]])
    sheet = contact_sheet.grid(
        [[cell, cell], [cell, cell]], row_labels=["van Gogh", "b"], column_labels=["before", "after"]
    )
    height, width = plain.shape[:2]
    assert sheet.shape[0] > height and sheet.shape[1] > width
    np.testing.assert_array_equal(sheet[-height:, -width:], plain)
    top, left = sheet[:-height], sheet[:, :-width]
    middle = left.shape[1] + width // 2
    above = top[:, left.shape[1] : middle], top[:, middle:]
    beside = left[top.shape[0] : -height // 2], left[-height // 2 :]
    assert all(strip.min() < 0.2 for strip in above + beside)
    assert sheet.min() >= 0 and sheet.max() <= 1


def test_grid_keeps_column_labels_apart():
    cell = np.zeros((200, 80, 3), np.float32)
    sheet = contact_sheet.grid([[cell, cell]], column_labels=["MMMMMMMM", "MMMMMMMM"])
    assert (sheet[:, 4 + 80 : 4 + 80 + 4] == 1).all()


def test_grid_refuses():
    cell = np.zeros((4, 4, 3), np.float32)
    for rows, options, reason in [
        ([], {}, "`rows`.*none"),
        ([[None]], {}, "`rows`.*none"),
        ([[cell, np.zeros((4, 5, 3), np.float32)]], {}, r"`rows`.*\(4, 5, 3\)"),
        ([[cell]], {"row_labels": ["a", "b"]}, "`row_labels`: expected 1 labels, got 2"),
        ([[cell, cell]], {"column_labels": ["a"]}, "`column_labels`: expected 2 labels, got 1"),
    ]:
        with pytest.raises(ValueError, match=reason):
            contact_sheet.grid(rows, **options)


def test_contact_sheet_fits_each_picture_into_the_middle_of_its_cell():
    wide, tall, square = (np.full(shape, 0.5, np.float32) for shape in ((10, 40, 3), (64, 16, 3), (7, 7, 3)))
    sheet = contact_sheet.contact_sheet([[wide, tall], [square, None]], cell=32)
    assert sheet.shape == (2 * 32 + 3 * 4, 2 * 32 + 3 * 4, 3) and sheet.dtype == np.float32
    expected = np.ones_like(sheet)
    expected[4 + 12 : 4 + 20, 4:36] = 0.5
    expected[4:36, 40 + 12 : 40 + 20] = 0.5
    expected[40:72, 4:36] = 0.5
    np.testing.assert_allclose(sheet, expected, atol=1e-6)


def test_contact_sheet_resizes_with_lanczos_and_labels_as_grid():
    picture = noise(50, 100, 3)
    cell = resize(picture, (32, 64))  # no higher than the highest
    labels = {"row_labels": ["row"], "column_labels": ["a", "b"]}
    sheet = contact_sheet.contact_sheet([[picture, picture]], ["row"], ["a", "b"], 64)
    np.testing.assert_array_equal(sheet, contact_sheet.grid([[cell, cell]], **labels))


def test_contact_sheet_of_extreme_shapes_and_of_nothing():
    strip = np.zeros((2, 3000, 3), np.float32)
    sheet = contact_sheet.contact_sheet([[strip]], cell=16)
    assert (sheet == 0).all(-1).sum() == 16  # one row of pixels is left
    with pytest.raises(ValueError, match="`rows`.*none"):
        contact_sheet.contact_sheet([[None]])
