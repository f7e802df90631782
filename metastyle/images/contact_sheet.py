"""Contact sheets: one picture that shows many, in rows and columns with labels."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from metastyle.images import labels
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
      row_labels, column_labels: one text for each row or column. Long ones are broken into lines, none wider than a
        cell, and very long ones shortened (images/labels.py).

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
    _check_count("row_labels", row_labels, len(rows))
    _check_count("column_labels", column_labels, columns)

    size = height // 10
    beside = labels.fit(row_labels, width, size, max(1, min(3, height // 16))) if row_labels else None
    above = labels.fit(column_labels, width, size) if column_labels else None
    left, top = pad + beside.width if beside else 0, pad + above.height if above else 0
    canvas = Image.new("L", (left + columns * (width + pad) + pad, top + len(rows) * (height + pad) + pad), color=255)
    draw = ImageDraw.Draw(canvas)
    if beside:
        for r, lines in enumerate(beside.lines):
            _draw_lines(draw, lines, (pad, top + pad + r * (height + pad) + height / 2), beside, "lm")
    if above:
        for c, lines in enumerate(above.lines):
            _draw_lines(draw, lines, (left + pad + c * (width + pad) + width / 2, pad + above.height / 2), above, "mm")

    sheet = np.repeat(np.asarray(canvas, np.float32)[..., None] / 255, 3, axis=-1)
    placed = [(r, c, cell) for r, row in enumerate(rows) for c, cell in enumerate(row) if cell is not None]
    for r, c, cell in placed:
        y, x = top + pad + r * (height + pad), left + pad + c * (width + pad)
        sheet[y : y + height, x : x + width] = cell
    return sheet


def _check_count(name: str, texts: Sequence[str] | None, count: int) -> None:
    if texts is not None and len(texts) != count:
        raise ValueError(f"`{name}`: expected {count} labels, got {len(texts)}")


def _draw_lines(
    draw: ImageDraw.ImageDraw, lines: Sequence[str], place: tuple[float, float], fitted: labels.Labels, anchor: str
) -> None:
    """Draws the lines of a label around a place (x, y), each with Pillow's `anchor`."""
    x, y = place
    for i, text in enumerate(lines):
        draw.text((x, y + (i - (len(lines) - 1) / 2) * fitted.line), text, fill=0, font=fitted.font, anchor=anchor)


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
