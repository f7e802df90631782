"""What a newcomer sees first: a bundle adapts to a van Gogh and stylises photographs it did not learn on."""

import time
from pathlib import Path

import numpy as np

from metastyle import images, paths, stylizer

STEPS = 10
_SIZE = 256  # px, sides of the photographs in the grid
_PHOTOGRAPHS = ("rocket", "astronaut")
_SUPPORT = ("chelsea", "coffee")


def demo(bundle: str, out: str, style: str = "the_night_cafe") -> list[Path]:
    """Adapts `bundle` to a packaged painting in 10 steps and writes a style file, a grid and the curve into `out`."""
    start, out = stylizer.load(bundle), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    photographs = {path.stem: path for path in paths.demo_pictures("photos")}
    painting = next(path for path in paths.demo_pictures("styles") if path.stem == style)
    support = [photographs[name] for name in _SUPPORT]

    began = time.monotonic()
    styles = {steps: start.adapt(painting, steps=steps, support=support) for steps in (0, STEPS)}
    seconds = time.monotonic() - began

    rows = []
    for name in _PHOTOGRAPHS:
        photograph = images.square(images.load(photographs[name])[0], _SIZE)
        stylised = [style.stylize(photograph).astype(np.float32) / 255 for style in styles.values()]
        rows.append([photograph, images.square(images.load(painting)[0], _SIZE), *stylised])
    files = [out / f"{style}.safetensors", out / "before_after.png", out / "loss_versus_steps.png"]
    styles[STEPS].save(files[0])
    images.save(files[1], images.grid(rows, column_labels=["photograph", "painting", "0 steps", f"{STEPS} steps"]))
    _curve(files[2], styles[STEPS].history)
    print(f"adapted to {painting.stem} in {STEPS} steps ({seconds:.1f} s with compilation)")
    return files


def _curve(path: Path, history: tuple[float, ...]) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(len(history)), history, "o-")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="gradient steps", ylabel="J = C + 5 S on the support photographs")
    with images.atomic(path) as temporary:
        figure.savefig(temporary, dpi=120)
