"""The curve of an evaluation: loss against steps."""

from __future__ import annotations

import io
import itertools
import math
import os
from typing import Any

from metastyle.evaluate.report.table import INPUTS
from metastyle.system import files
from metastyle.system.optional import need

_COLOURS = (  # Okabe and Ito, and two of Tol's
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#882255", "#999933",
)  # fmt: skip


def plot_curve(results: dict[str, Any], path: str | os.PathLike) -> None:
    """Draws mean J against steps with its 95 % interval, a line per method, and the two bounds; a PNG at `path`.

    Raises InputError where matplotlib is not installed.
    """
    with files.atomic(path) as temporary:
        temporary.write_bytes(draw_curve(results))


def draw_curve(results: dict[str, Any]) -> bytes:
    need("matplotlib.figure", "the curve")
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    curves, pairs = results["curves"], len(results["curve_pairs"])
    lines, labels, last = [], [], 1
    values = lambda name, key: [math.nan if x is None else x for x in curves[name][key]]
    for name, colour in zip(INPUTS, ("#444444", "#999999"), strict=True):
        if name in curves:
            (level,) = values(name, "J")
            lines.append(axes.axhline(level, linestyle="--", linewidth=1.2, color=colour, zorder=1))
            labels.append(f"{name} ({level:.2f})")
    methods = [m["name"] for m in results["methods"] if m["name"] in curves and m["name"] not in INPUTS]
    styles = zip(itertools.cycle(_COLOURS), itertools.cycle("osD^vPX*"))
    for name, (colour, marker) in zip(methods, styles, strict=False):
        curve = curves[name]
        mean, low, high = (values(name, key) for key in ("J", "low", "high"))
        if len(mean) > 1:
            lines += axes.plot(curve["steps"], mean, marker=marker, markersize=5, color=colour, linewidth=1.8)
            axes.fill_between(curve["steps"], low, high, color=colour, alpha=0.1, linewidth=0)
            labels.append(name)
            last = max(last, *curve["steps"])
        else:  # one pass, however many steps the others take
            lines.append(axes.axhline(mean[-1], linestyle=":", linewidth=1.8, color=colour))
            labels.append(f"{name} ({mean[-1]:.2f})")
    # Logarithmic, but linear up to 1 step: 0 has a place too.
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    ticks = [0, *(a * 10**n for n in range(9) for a in (1, 2, 5))]
    axes.set_xticks([t for t in ticks if t <= last])
    axes.set(
        xlim=(-0.25, 1.2 * last), xlabel="gradient steps", ylabel=f"mean J = C + 5 S of {pairs} pairs", yscale="log"
    )
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(plain)
        axis.set_minor_locator(NullLocator())
    axes.grid(color="#e3e7eb", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    # A name is no markup, but a legend leaves out _names and reads $ as mathematics: numbers stand in for the names.
    legend = figure.legend(lines, [str(i) for i in range(len(lines))], loc="outside right upper", frameon=False)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set(text=label, parse_math=False)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=140, format="png")
    return stream.getvalue()
