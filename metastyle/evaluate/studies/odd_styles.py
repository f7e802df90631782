"""Adaptations to styles that nobody paints, to show that no style makes a number infinite or raises an error."""

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from metastyle.images import codec
from metastyle.images.resize import square
from metastyle.nets import generator
from metastyle.stylize.stylizer import Stylizer
from metastyle.system import paths

_SIDE = 160


def _flat(rng: np.random.Generator, level: int | None = None) -> np.ndarray:
    """One grey level, or one random colour."""
    colour = rng.integers(0, 256, 3) if level is None else level
    return np.full((_SIDE, _SIDE, 3), colour, np.uint8)


def _noise(rng: np.random.Generator, size: tuple[int, int] = (_SIDE, _SIDE)) -> np.ndarray:
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8)


def _lines(rng: np.random.Generator) -> np.ndarray:
    """Line art: black strokes on white."""
    page = Image.new("RGB", (_SIDE, _SIDE), "white")
    pen = ImageDraw.Draw(page)
    for _ in range(rng.integers(1, 40)):
        pen.line([tuple(p) for p in rng.integers(0, _SIDE, (2, 2)).tolist()], "black", int(rng.integers(1, 3)))
    return np.asarray(page)


def _checkerboard(rng: np.random.Generator) -> np.ndarray:
    cell = int(rng.integers(1, 4))
    y, x = np.indices((_SIDE, _SIDE)) // cell
    return np.where(((x + y) % 2)[..., None], _flat(rng), _flat(rng))


def _point(rng: np.random.Generator) -> np.ndarray:
    page = _flat(rng, 0)
    page[tuple(rng.integers(0, _SIDE, 2))] = 255
    return page


# Each draws a picture u8[H, W, 3].
KINDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "black": lambda rng: _flat(rng, 0),
    "white": lambda rng: _flat(rng, 255),
    "one colour": _flat,
    "noise": _noise,
    "faint noise": lambda rng: _noise(rng) // 128 + 127,
    "16 px": lambda rng: _noise(rng, (16, 16)),
    "4000 x 100": lambda rng: np.tile(np.linspace(0, 255, 4000, dtype=np.uint8)[:, None], (100, 1, 3)),
    "100 x 4000": lambda rng: _noise(rng, (4000, 100)),
    "line art": _lines,
    "checkerboard": _checkerboard,
    "one white pixel": _point,
}


@dataclasses.dataclass
class Found:
    """The outcome of one kind: how many styles were tried, the largest loss on the way, and what went wrong."""

    tried: int = 0
    largest: float = 0.0
    wrong: list[str] = dataclasses.field(default_factory=list)


def survey_styles(stylizer: Stylizer, count: int, steps: int, seed: int = 0) -> dict[str, Found]:
    """Adapts to `count` odd styles, the kinds in turn, and stylises a packaged photograph with each.

    Returns the outcomes by kind.
    """
    photograph = square(codec.load(paths.demo_pictures("photos")[0])[0], 64)
    found = {kind: Found() for kind in KINDS}
    for i in tqdm(range(count), unit="style"):
        kind = list(KINDS)[i % len(KINDS)]
        entry = found[kind]
        entry.tried += 1
        try:
            style = stylizer.adapt(KINDS[kind](np.random.default_rng((seed, i))), steps=steps, seed=i)
            params = {**style.slow, **style.file.fast}
            out = np.asarray(generator.stylize(style.config.generator, params, photograph[None]))
            numbers = {"a loss": style.history, "a parameter": np.concatenate([x.ravel() for x in params.values()])}
            bad = [name for name, x in (numbers | {"the picture": out}).items() if not np.isfinite(x).all()]
            entry.largest = max(entry.largest, *style.history)
        except Exception as error:  # no error of any kind is allowed
            bad = [f"{type(error).__name__}: {error}"]
        entry.wrong += [f"style {i}: {what}" for what in bad]
    return found


def format_table(found: dict[str, Found]) -> str:
    """The outcomes in lines, for a terminal."""
    lines = [f"{'style':<16}{'tried':>6}{'wrong':>7}{'largest loss':>14}"]
    for kind, entry in found.items():
        if entry.tried:
            lines.append(f"{kind:<16}{entry.tried:>6}{len(entry.wrong):>7}{entry.largest:>14.3g}")
    return "\n".join([*lines, *(line for entry in found.values() for line in entry.wrong)])
