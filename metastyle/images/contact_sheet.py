"""Contact sheets: one picture that shows many, in rows and columns with labels."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from metastyle.images.resize import resize


def grid(
    rows: Sequence[Sequence[np.ndarray | None]],
    *,
    pad: int = 4,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
) -> np.ndarray:
    """Arranges pictures of one shape on white, `pad` pixels apart, with labels on the left and above.

    Args:
      rows: pictures f32[h, w, 3] in [0, 1], all of one shape. None gives a blank cell, and so does the end of a short
        row.
      pad: px between pictures, and around them.
      row_labels, column_labels: one text for each row or column.

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

    font, line = _label_font(height, width, column_labels or ())
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


def _label_font(
    height: int, width: int, labels: Sequence[str]
) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, int]:
    """The font of labels beside cells of this size and its line height, px; smaller if a label is wider than a cell."""
    size = min(max(height // 10, 10), 24)
    font = ImageFont.load_default(size)
    while size > 8 and any(font.getlength(text) > width for text in labels):
        size -= 1
        font = ImageFont.load_default(size)
    return font, round(1.25 * size)


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray | None]],
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    cell: int = 256,
) -> np.ndarray:
    """Arranges pictures f32[h, w, 3] of any shapes: each is resized to a longer side of `cell` px and centred.

    Cells are white, as high as the highest resized picture and as wide as the widest. Raises ValueError as `grid`.
    """
    sizes = [fit_size(picture.shape[:2], cell) for row in rows for picture in row if picture is not None]
    height, width = (max(lengths) for lengths in zip(*sizes, strict=True)) if sizes else (0, 0)

    def centred(picture: np.ndarray) -> np.ndarray:
        inner = fit_size(picture.shape[:2], cell)
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        canvas = np.ones((height, width, 3), np.float32)
        canvas[top : top + inner[0], left : left + inner[1]] = resize(picture, inner)
        return canvas

    cells = [[None if picture is None else centred(picture) for picture in row] for row in rows]
    return grid(cells, row_labels=row_labels, column_labels=column_labels)


def fit_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Scales (height, width) so that the longer side is `side` px."""
    height, width = (max(round(length * side / max(size)), 1) for length in size)
    return height, width
