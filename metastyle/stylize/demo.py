"""A first demonstration: a photograph in the style of a painting, and a bundle that adapts to two styles."""

import os
import time
from pathlib import Path

import numpy as np

from metastyle import config
from metastyle.data.procedural.source import ProceduralSource
from metastyle.images import codec, contact_sheet
from metastyle.images.resize import square
from metastyle.stylize import cost, stylizer
from metastyle.stylize.transfer import QUALITIES, Options, prepare
from metastyle.system import compile_cache, paths
from metastyle.system.files import atomic, make_folder
from metastyle.system.optional import need

STEPS = 10
_SIZE = 256  # px, sides of the photographs in the grid
_PAINTING = "the_night_cafe"
_SEED = 1  # of the synthetic style, a mosaic that no run has seen
_PHOTOGRAPHS = ("rocket", "astronaut")
_TRANSFERRED = "coffee"


def run_demo(folder: str | os.PathLike, bundle: str = config.DEFAULT_BUNDLE) -> list[Path]:
    """Stylises a photograph in the style of a packaged painting by van Gogh; then adapts `bundle` to it in 10 steps.

    The bundle adapts to a synthetic style, too. Writes into `folder` a grid of the photograph at every quality of
    `transfer`, a style file for each of the two styles, a grid of photographs stylised after 0 and 10 steps, and a plot
    of the losses. Returns these files.
    """
    need("matplotlib.figure", "the demo")
    compile_cache.enable_compile_cache()
    start, out = stylizer.load(bundle), Path(folder)
    make_folder(out, "out")
    photographs = {path.stem: path for path in paths.demo_pictures("photos")}
    painting = next(path for path in paths.demo_pictures("styles") if path.stem == _PAINTING)
    transferred = _transfer(photographs[_TRANSFERRED], painting, bundle, out / "transfer.png")
    styles = {_PAINTING: codec.load(painting)[0], "procedural": ProceduralSource("style", _SIZE, _SEED)[1]}

    rows, files, histories = [], [transferred], {}
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


def _transfer(photograph: Path, painting: Path, bundle: str, path: Path) -> Path:
    """Writes a grid of a photograph, a painting, and the photograph in its style at every quality."""
    cells = {"photograph": square(codec.load(photograph)[0], _SIZE), "painting": square(codec.load(painting)[0], _SIZE)}
    for quality in QUALITIES:
        job = prepare(cells["photograph"], painting, None, Options(quality, bundle=bundle))
        print(f"transfer, quality {quality}: {cost.describe(job.work, job.recipe, cost.measure())}", flush=True)
        began = time.monotonic()
        cells[quality] = job.run().pixels
        print(f"transfer, quality {quality}: {time.monotonic() - began:.1f} s, compilation included", flush=True)
    codec.save(path, contact_sheet.grid([list(cells.values())], column_labels=list(cells)))
    return path


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
