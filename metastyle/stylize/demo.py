"""A first demonstration: a bundle adapts to two styles and stylises photographs."""

import os
import time
from pathlib import Path

import numpy as np

from metastyle import config
from metastyle.data.procedural.source import ProceduralSource
from metastyle.images import codec, contact_sheet
from metastyle.images.resize import square
from metastyle.stylize import stylizer
from metastyle.system import paths
from metastyle.system.files import atomic
from metastyle.system.optional import need

STEPS = 10
_SIZE = 256  # px, sides of the photographs in the grid
_PAINTING = "the_night_cafe"
_SEED = 1  # of the synthetic style, a mosaic that no run has seen
_PHOTOGRAPHS = ("rocket", "astronaut")


def run_demo(folder: str | os.PathLike, bundle: str = config.DEFAULT_BUNDLE) -> list[Path]:
    """Adapts `bundle` in 10 steps to a packaged painting by van Gogh and to a synthetic style.

    Writes into `folder` a style file for each, a grid of photographs stylised after 0 and 10 steps, and a plot of the
    losses. Returns these files.
    """
    need("matplotlib.figure", "the demo")
    start, out = stylizer.load(bundle), Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    photographs = {path.stem: path for path in paths.demo_pictures("photos")}
    painting = next(path for path in paths.demo_pictures("styles") if path.stem == _PAINTING)
    styles = {_PAINTING: codec.load(painting)[0], "procedural": ProceduralSource("style", _SIZE, _SEED)[1]}

    rows, files, histories = [], [], {}
    for name, picture in styles.items():
        began = time.monotonic()
        learned = {steps: start.adapt(picture, steps=steps) for steps in (0, STEPS)}
        print(f"adapted to {name} in {STEPS} steps: {time.monotonic() - began:.1f} s, compilation included", flush=True)
        histories[name] = learned[STEPS].history
        files.append(out / f"{name}.safetensors")
        learned[STEPS].save(files[-1])
        shown = square(codec.load(picture)[0], _SIZE)
        for photograph in _PHOTOGRAPHS:
            content = square(codec.load(photographs[photograph])[0], _SIZE)
            stylised = [style.stylize(content).astype(np.float32) / 255 for style in learned.values()]
            rows.append([content, shown, *stylised])
    files += [out / "before_after.png", out / "loss_versus_steps.png"]
    codec.save(files[-2], contact_sheet.grid(rows, column_labels=["photograph", "style", "0 steps", f"{STEPS} steps"]))
    _plot_losses(files[-1], histories)
    return files


def _plot_losses(path: Path, histories: dict[str, tuple[float, ...]]) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, history in histories.items():
        axes.plot(range(len(history)), history, "o-", label=name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="gradient steps", ylabel="loss, on another photograph at each step")
    axes.legend()
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=120)
