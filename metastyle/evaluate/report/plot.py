"""The curve of an evaluation: loss against steps."""

import io
import itertools
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from metastyle.evaluate.results import BOUNDS, Results
from metastyle.images import labels
from metastyle.system import files
from metastyle.system.optional import need

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

# Okabe and Ito's colours, and two of Tol's
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#882255", "#999933")
_MARKERS = "osD^vPX*"
_LONGEST = 60  # characters of a name in the legend
_BOUND_COLOURS = ("#444444", "#999999")


def plot_curve(results: Results, path: str | os.PathLike) -> None:
    """Draws mean J against steps with its 95 % interval, a line per method, and the two bounds; a PNG at `path`.

    Raises InputError where matplotlib is not installed, or the file can't be written.
    """
    files.write(path, draw_curve(results))


def draw_curve(results: Results) -> bytes:
    """The same as the bytes of a PNG."""
    need("matplotlib.figure", "the curve")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    lines = _draw_bounds(axes, results)
    last = 1  # step
    styles = zip(itertools.cycle(_COLOURS), itertools.cycle(_MARKERS))
    methods = [method.name for method in results.methods if method.name not in BOUNDS]
    for name, (colour, marker) in zip((n for n in methods if n in results.curves), styles, strict=False):
        curve = results.curves[name]
        mean = _with_gaps(curve.J)
        if len(mean) > 1:
            (line,) = axes.plot(curve.steps, mean, marker=marker, markersize=5, color=colour, linewidth=1.8)
            low, high = _with_gaps(curve.low), _with_gaps(curve.high)
            axes.fill_between(curve.steps, low, high, color=colour, alpha=0.1, linewidth=0)
            lines.append((line, name))
            last = max(last, *curve.steps)
        else:  # one pass, however many steps the others take
            line = axes.axhline(mean[-1], linestyle=":", linewidth=1.8, color=colour)
            lines.append((line, f"{name} ({mean[-1]:.2f})"))
    _set_axes(axes, last, f"mean J = C + 5 S of {len(results.curve_pairs)} pairs")
    # A name is no markup, but a legend leaves out _names and reads $ as mathematics: numbers stand in for the names.
    artists = [line for line, _ in lines]
    legend = figure.legend(artists, [str(i) for i in range(len(lines))], loc="outside right upper", frameon=False)
    names = [labels.clip(name, lambda name: len(name) <= _LONGEST) for name in labels.legible([x for _, x in lines])]
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=name, parse_math=False)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=140, format="png")
    return stream.getvalue()


def _draw_bounds(axes: "Axes", results: Results) -> "list[tuple[Artist, str]]":
    """The dashed lines of the bounds, with their labels."""
    lines: list[tuple[Artist, str]] = []
    for name, colour in zip(BOUNDS, _BOUND_COLOURS, strict=True):
        if name in results.curves:
            (level,) = _with_gaps(results.curves[name].J)
            line = axes.axhline(level, linestyle="--", linewidth=1.2, color=colour, zorder=1)
            lines.append((line, f"{name} ({level:.2f})"))
    return lines


def _set_axes(axes: "Axes", last: int, ylabel: str) -> None:
    """Logarithmic axes with plain numbers; steps are linear up to 1, so that 0 has a place too."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    ticks = [0, *(a * 10**n for n in range(9) for a in (1, 2, 5))]
    axes.set_xticks([t for t in ticks if t <= last])
    axes.set(xlim=(-0.25, 1.2 * last), xlabel="gradient steps", ylabel=ylabel, yscale="log")
    low, high = axes.get_ylim()
    if high < 1.01 * low:  # all lines lie on one another
        axes.set_ylim(low / 1.1, high * 1.1)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(plain)
        axis.set_minor_locator(NullLocator())
    axes.grid(color="#e3e7eb", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def _with_gaps(values: Sequence[float | None]) -> list[float]:
    """NaN, which leaves a gap in a line, for what was not measured."""
    return [math.nan if x is None else x for x in values]
