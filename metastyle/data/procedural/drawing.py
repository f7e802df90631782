"""The tools that procedural pictures are drawn with: palettes, noise, blends, polygons.

Lengths are fractions of the side of the picture. Pictures are f32[S, S, 3] in [0, 1] or near it.
"""

from typing import NamedTuple, overload

import numpy as np
from PIL import Image, ImageDraw

Rng = np.random.Generator
TAU = 2 * np.pi


class Mood(NamedTuple):
    """The colours of a kind of palette, in OKLCh."""

    hues: tuple[int, ...]  # degrees
    turned: bool  # whether a random angle is added to all hues
    spread: int  # degrees, the standard deviation of a hue
    chroma: tuple[float, float]  # range
    lightness: tuple[float, float]  # range


MOODS = {
    "natural": Mood((55, 70, 85, 110, 130, 250), False, 14, (0.01, 0.14), (0.22, 0.92)),
    "earthy": Mood((40, 65, 80, 100), False, 12, (0.03, 0.11), (0.15, 0.88)),
    "old master": Mood((50, 70, 85, 25), False, 10, (0.02, 0.12), (0.12, 0.80)),
    "pastel": Mood((0, 60, 150, 220, 300), True, 20, (0.03, 0.09), (0.62, 0.96)),
    "complementary": Mood((0, 0, 180), True, 14, (0.05, 0.17), (0.20, 0.93)),
    "analogous": Mood((-30, 0, 30), True, 12, (0.04, 0.15), (0.18, 0.93)),
    "vivid": Mood((0, 120, 240, 60), True, 12, (0.10, 0.24), (0.25, 0.95)),
    "primary": Mood((27, 100, 260), False, 6, (0.00, 0.22), (0.12, 0.96)),
    "nocturne": Mood((250, 270, 290, 80), False, 14, (0.02, 0.13), (0.08, 0.68)),
    "ink": Mood((0,), True, 8, (0.00, 0.04), (0.12, 0.95)),
}


def oklch(lightness: np.ndarray | float, chroma: np.ndarray | float, hue: np.ndarray | float) -> np.ndarray:
    """Converts OKLCh, hue in degrees, to sRGB f32[..., 3] in [0, 1] (Ottosson, "A perceptual color space", 2020).

    images.color converts with more digits of the same matrices, which would change every picture that is drawn here.
    """
    a, b = chroma * np.cos(np.radians(hue)), chroma * np.sin(np.radians(hue))
    cones = np.stack(
        [
            lightness + 0.3963378 * a + 0.2158038 * b,
            lightness - 0.1055613 * a - 0.0638542 * b,
            lightness - 0.0894842 * a - 1.2914855 * b,
        ],
        -1,
    )
    to_rgb = np.array(
        [[4.0767417, -3.3077116, 0.2309699], [-1.2684380, 2.6097574, -0.3413194], [-0.0041961, -0.7034186, 1.7076147]]
    )
    linear = np.clip(cones**3 @ to_rgb.T, 0, 1)
    return np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


def palette(rng: Rng, mood: str) -> np.ndarray:
    """Draws 4 to 8 colours f32[n, 3] of one of `MOODS`, from dark to light."""
    chosen, count = MOODS[mood], int(rng.integers(4, 9))
    hue = rng.choice(chosen.hues, count) + rng.normal(0, chosen.spread, count) + rng.uniform(0, 360) * chosen.turned
    (darkest, lightest), (dullest, purest) = chosen.lightness, chosen.chroma
    lightness = np.linspace(darkest, lightest, count) + rng.uniform(-0.04, 0.04, count)
    return oklch(lightness, rng.uniform(dullest, purest, count), hue)


@overload
def log_uniform(rng: Rng, low: float, high: float) -> float: ...


@overload
def log_uniform(rng: Rng, low: float, high: float, count: int) -> np.ndarray: ...


def log_uniform(rng: Rng, low: float, high: float, count: int | None = None) -> np.ndarray | float:
    """Draws one number, or `count` numbers, whose logarithm is uniform."""
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def plane(size: int, angle: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates u, v f32[size, size] of the pixel centres in the unit square, turned by `angle` (0 gives x, y)."""
    y, x = (np.indices((size, size), np.float32) + 0.5) / size
    return (x, y) if angle == 0 else (x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle))


def resize(array: np.ndarray, size: int) -> np.ndarray:
    """Resamples f32[S, S] or f32[S, S, C] to the side `size`, with antialiasing."""
    if array.ndim == 3:
        return np.stack([resize(channel, size) for channel in np.moveaxis(array, -1, 0)], -1)
    kernel = Image.Resampling.BICUBIC if size > len(array) else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(array).resize((size, size), kernel))


def blur(array: np.ndarray, radius: float) -> np.ndarray:
    """Blurs f32[S, S] or f32[S, S, C] by about `radius`: reduces the array and enlarges it again."""
    return resize(resize(array, int(np.clip(1 / radius, 3, len(array)))), len(array))


def mix(first: np.ndarray | float, second: np.ndarray | float, weight: np.ndarray) -> np.ndarray:
    """Blends colours [..., 3], or greys; weight: that of the second, f32[S, S]."""
    return first + weight[..., None] * (second - first)


def ramp(value: np.ndarray, width: float) -> np.ndarray:
    """Rises from 0, for values below zero, to 1, for values above, linearly over `width`."""
    return np.clip(value / width + 0.5, 0, 1)


def soft_noise(rng: Rng, size: int, cells: int) -> np.ndarray:
    """Draws smooth noise f32[size, size] with a deviation of about 1 and `cells` bumps along a side."""
    return resize(rng.standard_normal((cells, cells), np.float32), size)


def fractal_noise(rng: Rng, size: int, slope: float, stretch: float = 1.0) -> np.ndarray:
    """Draws noise f32[size, size] of amplitude 1 / f**slope, mean 0 and deviation 1.

    stretch: how many times longer its grain is in x than in y.
    """
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], stretch * np.fft.rfftfreq(size)).astype(np.float32)
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size), np.float32)) * frequency**-slope, (size, size))
    return (noise / noise.std()).astype(np.float32)


def stamp(ground: np.ndarray, polygons: np.ndarray, colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Paints polygons f32[n, k, 2] of (x, y) on the ground f32[S, S, 3], each over those before it.

    Returns the picture, and the owner of each pixel, int[S, S]: 1 + the index of the polygon on top, or 0 for the
    ground.
    """
    size = len(ground)
    canvas = Image.new("I", (2 * size, 2 * size))
    draw = ImageDraw.Draw(canvas)
    count, corners, _ = polygons.shape
    for index, outline in enumerate((2 * size * polygons).reshape(count, 2 * corners).tolist(), 1):
        draw.polygon(outline, fill=index)
    # Polygons are drawn at twice the size; the mean colour of each 2 x 2 block smooths their edges.
    owner = np.asarray(canvas)
    table = np.zeros((len(colours) + 1, 4), np.float32)
    table[1:] = np.insert(colours, 3, 1, axis=1)
    blocks = [table.take(owner[row::2, column::2], 0) for row in (0, 1) for column in (0, 1)]
    mean = (blocks[0] + blocks[1] + blocks[2] + blocks[3]) / 4
    return mean[..., :3] + (1 - mean[..., 3:]) * ground, owner[::2, ::2].astype(np.intp)


def values_by_owner(owner: np.ndarray, values: np.ndarray, ground: float = 0.0) -> np.ndarray:
    """Looks up a value f32[S, S] for each pixel: that of the polygon that owns it, of `values` [n], or `ground`."""
    return np.append(ground, values).astype(np.float32).take(owner)
