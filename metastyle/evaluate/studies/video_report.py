"""What the study of videos shows: a page with its table, and for each clip and painting a curve, a strip and a film."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metastyle.evaluate.report.html import Case, write_study
from metastyle.images import codec
from metastyle.images.clips import Frame, floats
from metastyle.images.codec import Picture
from metastyle.images.contact_sheet import grid
from metastyle.system import files
from metastyle.system.optional import need
from metastyle.video import writing

HEAD = ("clip", "method", "E1", "E10", "measured in", "S", "C", "sharpness")
_NUMBERS = ("E1", "E10", "cover1", "cover10", "S", "C", "sharpness")
_LEAD = (
    "E1 and E10 are the warping error (Lai et al. 2018) to the next frame and to the tenth after it, in thousandths, "
    "in the share of pixels that the fifth column names. S and C are the style and the content loss, means over five "
    "frames. The sharpness is the mean gradient of the luma, in hundredths a pixel."
)
_STRIP = 10  # frames
_COLUMNS = 2  # of clips side by side
_RATE = 25  # frames a second


def name_of(style: Picture) -> str:
    """What a painting is called in the report."""
    return Path(str(style)).stem


def table(rows: Sequence[Any]) -> list[tuple[str, ...]]:
    """HEAD, and the means over paintings: a line for each clip and method. Errors are thousandths."""
    lines: list[tuple[str, ...]] = [HEAD]
    for scene, method in dict.fromkeys((row.scene, row.method) for row in rows):
        mine = [row for row in rows if (row.scene, row.method) == (scene, method)]
        mean = {name: float(np.mean([getattr(row, name) for row in mine])) for name in _NUMBERS}
        covers = f"{mean['cover1']:.0%}, {mean['cover10']:.0%}"
        errors = (f"{1e3 * mean['E1']:.2f}", f"{1e3 * mean['E10']:.2f}")
        lines.append(
            (scene, method, *errors, covers, f"{mean['S']:.3f}", f"{mean['C']:.2f}", f"{100 * mean['sharpness']:.1f}")
        )
    return lines


def show(out: str | os.PathLike, scene: str, style: str, found: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Writes for a clip and a painting what the methods made: a strip of frames, and the clips side by side."""
    chosen = np.linspace(0, len(next(iter(found.values()))) - 1, _STRIP).round().astype(int)
    strip = grid([[floats(outputs[i]) for i in chosen] for outputs in found.values()], row_labels=list(found))
    files.write(Path(out, f"{scene}_{style}.png"), codec.encode(strip, ".png"))
    frames = [Frame(codec.to_uint8(_beside(found, t)), t) for t in range(len(next(iter(found.values()))))]
    height, width = frames[0].pixels.shape[:2]
    writing.write_clip(Path(out, f"{scene}_{style}.mp4"), frames, (height, width), _RATE)


def _beside(found: Mapping[str, Sequence[np.ndarray]], t: int) -> np.ndarray:
    """Frame t of all methods in a grid, each below its name."""
    rows, names = [], list(found)
    for i in range(0, len(names), _COLUMNS):
        labels = names[i : i + _COLUMNS]
        rows.append(grid([[floats(found[name][t]) for name in labels]], column_labels=labels))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=1) for row in rows])


def write_page(rows: Sequence[Any], out: str | os.PathLike) -> Path:
    """Writes OUT/video.html, beside what `show` wrote, and the curve of each clip and painting; returns its path.

    Raises InputError where matplotlib or Jinja2 is not installed.
    """
    cases = []
    for scene, style in dict.fromkeys((row.scene, row.style) for row in rows):
        mine = [row for row in rows if (row.scene, row.style) == (scene, style)]
        files.write(Path(out, f"{scene}_{style}_curve.png"), _draw_curves(mine))
        file = f"{scene}_{style}"
        shown = {
            f"{file}.mp4": "All methods side by side",
            f"{file}_curve.png": "The warping error of each method over the frames",
            f"{file}.png": "Ten frames by each method",
        }
        cases.append(Case(f"{scene}, {style}", shown))
    return write_study(out, "video.html", "Videos: how steady, and in what style", _LEAD, table(rows), cases)


def _draw_curves(rows: Sequence[Any]) -> bytes:
    """E1 over the frames of a clip, a line for each method, as PNG."""
    need("matplotlib.figure", "the curves")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        axes.plot(range(1, len(row.curve) + 1), [1e3 * error for error in row.curve], label=row.method, linewidth=1.6)
    axes.set(xlabel="frame", ylabel="warping error to the next, thousandths", yscale="log")
    axes.grid(color="#e3e7eb", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=120, format="png")
    return stream.getvalue()
