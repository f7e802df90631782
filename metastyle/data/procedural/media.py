"""Fifteen ways to paint a picture.

Each takes a palette, `colours` f32[n, 3] from dark to light, and a `base` picture f32[S, S, 3], and returns the painted
picture. The functions before `strokes` are their tools.
"""

from functools import partial

import numpy as np

from metastyle.data.procedural.drawing import (
    TAU,
    Rng,
    blur,
    fractal_noise,
    log_uniform,
    mix,
    plane,
    ramp,
    resize,
    soft_noise,
    stamp,
    values_by_owner,
)


def tone_of(base: np.ndarray) -> np.ndarray:
    """The lightness f32[S, S] of a picture, stretched to fill [0, 1]."""
    light = base @ np.array([0.3, 0.59, 0.11], np.float32)
    return np.clip(0.5 + (light - light.mean()) / (4 * light.std() + 0.02), 0, 1)


def outlines(base: np.ndarray, width: float) -> np.ndarray:
    """Ink f32[S, S] in [0, 1] along the edges in the picture."""
    dy, dx = np.gradient(blur(base @ np.array([0.5, 0.3, 0.2], np.float32), width))
    edge = np.hypot(dy, dx)
    return ramp(edge / (edge.mean() + 1e-6) - 2.2, 1.5)


def nearest(colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """The index int[...] of the palette's colour that is nearest to each colour of `base` f32[..., 3]."""
    return np.argmax(2 * base @ colours.T - (colours**2).sum(1), -1)


def voronoi(rng: Rng, u: np.ndarray, v: np.ndarray, jitter: float) -> tuple[np.ndarray, np.ndarray]:
    """Divides the plane (u, v) into cells around jittered integer points.

    Returns the key of the cell of each pixel, in [0, 4096), and the distance to the border of that cell.
    """
    offset = (rng.random((2, 4096), np.float32) - 0.5) * jitter
    column, row = np.floor(u).astype(int), np.floor(v).astype(int)
    key, first, second = np.zeros(u.shape, int), np.full(u.shape, 9, u.dtype), np.full(u.shape, 9, u.dtype)
    for i, j in np.ndindex(3, 3):
        cell = (row + i - 1) % 64 * 64 + (column + j - 1) % 64
        distance = np.hypot(
            column + np.float32(j - 0.5) + offset[0].take(cell) - u,
            row + np.float32(i - 0.5) + offset[1].take(cell) - v,
        )
        second = np.minimum(second, np.maximum(first, distance))
        key, first = np.where(distance < first, cell, key), np.minimum(first, distance)
    return key, second - first


def cell_means(base: np.ndarray, key: np.ndarray) -> np.ndarray:
    """The mean colour f32[4096, 3] of the pixels of `base` with each key in [0, 4096)."""
    sums = [np.bincount(key.ravel(), channel.ravel(), 4096) for channel in np.moveaxis(base, -1, 0)]
    return (np.stack(sums, -1) / np.maximum(np.bincount(key.ravel(), minlength=4096), 1)[:, None]).astype(np.float32)


def flow_field(rng: Rng, base: np.ndarray) -> np.ndarray:
    """Angles f32[S, S] of strokes that follow the forms in the picture (structure tensor), and swirl between them."""
    dy, dx = np.gradient(blur(tone_of(base), 0.02))
    tensor = blur(np.stack([dx * dx - dy * dy, 2 * dx * dy], -1), 0.08)
    cells, turn = int(rng.integers(2, 6)), rng.uniform(0, TAU)
    swirl = [soft_noise(rng, len(base), cells) + bias for bias in (np.cos(turn), np.sin(turn))]
    tensor = tensor / (np.abs(tensor).mean() + 1e-8) + log_uniform(rng, 0.5, 5) * np.stack(swirl, -1)
    return 0.5 * np.arctan2(tensor[..., 1], tensor[..., 0]) + np.pi / 2


def brushwork(
    rng: Rng,
    base: np.ndarray,
    ground: np.ndarray,
    fine: float,
    aspect: float,
    cover: float,
    blunt: float,
    relief: float,
) -> np.ndarray:
    """Paints strokes along a flow in the colours of the picture: first wide ones, then fine ones where it has detail.

    Args:
      ground: what the strokes are painted on, f32[S, S, 3].
      fine: the half-width of the thinnest strokes.
      aspect: their length / width.
      cover: the painted area over the area of the picture.
      blunt: 2 for ovals, more for square tips.
      relief: the height of the marks of bristles.
    """
    size = len(base)
    fine = max(fine, 0.8 / size)
    count = min(1000, int(10 + cover / (15 * fine**2 * aspect)))
    half, centre = np.sort(fine * log_uniform(rng, 1, 3.5, count))[::-1], rng.random((count, 2))
    row, column = (centre[:, ::-1] * size).astype(int).T
    detail = np.abs(base - blur(base, 0.06)).sum(-1)
    # Below this a picture has no detail but rounding, as one of 16 px, whose blur is itself: that differs by processor.
    least = max(detail.mean(), 1e-4)
    keep = (np.arange(count) < 0.6 * count) | (detail[row, column] > least * rng.random(count))
    half, centre, row, column = half[keep], centre[keep], row[keep], column[keep]
    flow = flow_field(rng, base)
    angle, length = flow[row, column] + rng.normal(0, 0.15, len(half)), aspect * half * rng.uniform(0.6, 1.3, len(half))
    cos, sin = np.cos(angle), np.sin(angle)
    tip = np.clip([row + size * length * sin, column + size * length * cos], 0, size - 1).astype(int)
    bend = 0.4 * length * ((flow[tip[0], tip[1]] - angle + np.pi / 2) % np.pi - np.pi / 2)
    s = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 7))
    rim, spine = half[:, None] * np.sqrt(1 - np.abs(s) ** blunt), bend[:, None] * s**2
    ahead = length[:, None] * np.append(s, s[::-1])
    aside = np.concatenate([spine + rim, (spine - rim)[:, ::-1]], 1)
    polygons = np.stack([ahead * cos[:, None] - aside * sin[:, None], ahead * sin[:, None] + aside * cos[:, None]], -1)
    colours = base[row, column] + rng.normal(0, 0.05, (len(half), 1)) + rng.normal(0, 0.025, (len(half), 3))
    picture, owner = stamp(ground, polygons + centre[:, None], colours)

    share = partial(values_by_owner, owner)
    x, y = plane(size)
    dx, dy, cos, sin = x - share(centre[:, 0]), y - share(centre[:, 1]), share(cos), share(sin)
    ahead = (dx * cos + dy * sin) / share(length, 1)
    across = np.clip((dy * cos - dx * sin - share(bend) * ahead**2) / share(half, 1), -1, 1)
    bristle = rng.standard_normal((len(half) + 1, 24), np.float32)[owner, (11 * across + 12).astype(int)]
    dy, dx = np.gradient((owner > 0) * (0.25 * bristle * (1 + 0.5 * ahead) + 1 - across**2))
    lamp = rng.uniform(0, TAU)
    return picture * np.exp(relief * np.clip(dx * np.cos(lamp) + dy * np.sin(lamp), -1, 1))[..., None]


def line_screen(rng: Rng, darkness: np.ndarray, lines: float, angle: float, bend: float, contour: float) -> np.ndarray:
    """Ink f32[S, S] of parallel lines, thicker in dark areas, bent by noise (`bend`) and by the tone (`contour`)."""
    size = len(darkness)
    lines = min(lines, size / 4)
    path = plane(size, angle)[0] + bend * soft_noise(rng, size, 4) + contour * blur(darkness, 0.04)
    tremor = 0.1 * fractal_noise(rng, size, 0.8)
    return ramp(darkness + tremor - np.abs((lines * path) % 1 - 0.5) * 2, 4 * lines / size)


def strokes(rng: Rng, colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Oil or gouache: long strokes at several scales."""
    fine = log_uniform(rng, 0.005, 0.018)
    return brushwork(rng, base, blur(base, 0.1), fine, rng.uniform(3, 8), 4, 6, rng.uniform(0.1, 0.4))


def impasto(rng: Rng, colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Palette knife: short thick slabs in high relief."""
    fine = log_uniform(rng, 0.01, 0.03)
    return brushwork(rng, base, blur(base, 0.1), fine, rng.uniform(1.5, 3), 4, 12, rng.uniform(0.4, 0.9))


def pointillism(rng: Rng, colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Dots of divided colour over a thin underpainting."""
    other = base + rng.normal(0, 0.2, base.shape).astype(np.float32)
    divided = base + rng.uniform(0.2, 0.7) * (colours[nearest(colours, other)] - base)
    ground = mix(blur(base, 0.05), colours[-1], np.full(base.shape[:2], rng.uniform(0, 0.8)))
    return brushwork(rng, divided, ground, log_uniform(rng, 0.006, 0.014), 1.2, rng.uniform(2, 5), 2, 0.15)


def glaze(rng: Rng, colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Old-master oil: smooth modelling in a pool of light, under a warm varnish."""
    x, y = plane(len(base))
    pool = np.exp(-4 * ((x - rng.uniform(0.3, 0.7)) ** 2 + (y - rng.uniform(0.2, 0.6)) ** 2))
    varnish = np.array([1.05, 0.97, 0.82], np.float32) ** rng.random()
    return mix(base, blur(base, 0.02), np.full(x.shape, 0.5)) * (0.25 + 0.85 * pool)[..., None] * varnish


def pastel(rng: Rng, colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Chalk dragged over the tooth of a coloured paper."""
    chalk = brushwork(rng, base, blur(base, 0.05), 0.008, 6, 4, 4, 0.1)
    tooth = fractal_noise(rng, len(base), 0.4, log_uniform(rng, 0.4, 2.5))
    return mix(colours[rng.integers(len(colours))], 1.05 * chalk, ramp(tooth + rng.uniform(0.3, 1.2), 2.5))


def mosaic(rng: Rng, colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Tesserae laid in waves, in grout."""
    size, bend = len(base), rng.uniform(0, 0.1)
    tiles = min(rng.uniform(12, 40), size / 4)
    u, v = (tiles * (axis + bend * soft_noise(rng, size, 4)) for axis in plane(size, rng.uniform(0, TAU)))
    key, border = voronoi(rng, u, v, rng.choice((0.15, 0.4, 1.0)))
    tile = cell_means(base, key) * np.exp(rng.normal(0, 0.15, (4096, 1))) + rng.normal(0, 0.02, (4096, 3))
    inside = ramp(border - rng.uniform(0.08, 0.2), 3 * tiles / size)
    return mix(0.8 * colours[rng.choice((0, -1))], tile.astype(np.float32)[key], inside)


def stained_glass(rng: Rng, colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Panes of pure colour lit from behind, in lead."""
    size, panes = len(base), rng.uniform(4, 11)
    u, v = (panes * (axis + 0.06 * soft_noise(rng, size, 4)) for axis in plane(size))
    key, border = voronoi(rng, u, v, 1.0)
    cell = nearest(colours, cell_means(base, key) + rng.normal(0, 0.12, (4096, 3)))
    pane = colours[np.where((rng.random(4096) < 0.6)[key], cell[key], nearest(colours, blur(base, 0.03)))]
    lead = ramp(rng.uniform(0.06, 0.14) - border, 3 * panes / size)
    light = np.exp(0.25 * fractal_noise(rng, size, 1.4) + 0.4 * ramp(border, 1.5) - 0.2)[..., None]
    pure = pane.mean(-1, keepdims=True) * -0.4 + 1.4 * pane
    return mix(np.clip(pure * light, 0, 1), 0.04, np.maximum(lead, outlines(pane, 0.008)))


def hatching(rng: Rng, colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Pen or etching: crossed lines that build up the shadows, on plain or washed paper."""
    dark, layers, angle, lines = 1 - tone_of(base), rng.integers(2, 5), rng.uniform(0, np.pi), rng.uniform(25, 64)
    ink, pale = rng.uniform(0.3, 1) * outlines(base, 0.008), rng.uniform(0.2, 0.45)
    for layer in range(layers):
        shadow = 0.7 * np.clip(1.6 * (dark - pale - 0.6 * layer / layers), -0.2, 1)
        ink = np.maximum(ink, line_screen(rng, shadow, lines, angle + 0.8 * layer, rng.uniform(0, 0.03), 0.02))
    wash = np.full(dark.shape, 0.5 * (rng.random() < 0.4))
    return mix(mix(colours[-1], blur(base, 0.03), wash), 0.6 * colours[0], ink)


def woodcut(rng: Rng, colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Relief print: solid blacks, lines gouged along the forms, and sometimes colour blocks."""
    dark, contour = 1 - tone_of(blur(base, 0.012)), rng.uniform(0.05, 0.3)
    carved = line_screen(rng, 2 * dark - 0.5, rng.uniform(14, 40), rng.uniform(0, np.pi), 0.04, contour)
    blocks = colours[nearest(colours[1:], blur(base, 0.02)) + 1] if rng.random() < 0.6 else colours[-1]
    worn = 1 - 0.2 * ramp(fractal_noise(rng, len(base), 0.8) - 1, 0.5)
    return mix(blocks, 0.5 * colours[0], worn * np.maximum(carved, outlines(base, 0.012)))


def halftone(rng: Rng, colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Printed dots: one ink, or three process inks at different angles."""
    size, angle, process = len(base), rng.uniform(0, np.pi), rng.random() < 0.6
    dots, inks = min(rng.uniform(20, 60), size / 4), []
    for channel in range(3):
        u, v = plane(size, angle + 0.5 * channel * process)
        amount = 1 - (base[..., channel] if process else tone_of(base))
        screen = 0.25 * (np.cos(TAU * dots * u) + np.cos(TAU * dots * v))
        inks.append(ramp(amount - 0.5 + screen, 6 * dots / size))
    ink = np.stack(inks, -1)
    return 1 - 0.92 * ink if process else colours[-1] + ink * (colours[0] - colours[-1])


def marbling(rng: Rng, colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Floating inks, warped and combed, in bands of uneven width."""
    size, swirl = len(base), rng.uniform(0.05, 0.3)
    u, v = (axis + swirl * soft_noise(rng, size, 4) for axis in plane(size, rng.uniform(0, TAU)))
    u = u + 0.03 * fractal_noise(rng, size, 2.0) + rng.choice((0, 0.05)) * np.abs((v * rng.uniform(6, 14)) % 2 - 1)
    phase = rng.uniform(2, 7) * u + rng.uniform(0.5, 3) * blur(tone_of(base), 0.05)
    inks = np.resize(rng.permutation(len(colours)), len(colours) + 1)
    edges = np.concatenate([[0], np.cumsum(rng.dirichlet(np.full(len(colours), 2.0)))])
    band = np.interp(phase % 1, edges, np.arange(len(inks))).clip(0, len(colours) - 1e-3)
    low = band.astype(int)
    return mix(colours[inks[low]], colours[inks[low + 1]], ramp(band % 1 - 0.5, log_uniform(rng, 0.2, 1)))


def watercolour(rng: Rng, colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Transparent washes that bleed, with darker rims and granulation, on white paper."""
    size = len(base)
    bleed = [(0.02 * size * fractal_noise(rng, size, 1.5)).astype(int) for _ in range(2)]
    row, column = np.clip(np.indices((size, size)) + bleed, 0, size - 1)
    wash = colours[nearest(colours, blur(base, 0.04))][row, column]
    rim = np.abs(wash - blur(wash, 0.02)).sum(-1)
    pigment = rng.uniform(0.4, 0.9) + 0.15 * fractal_noise(rng, size, 0.8) + rng.uniform(0.3, 1) * rim
    return mix(0.97, 0.5 * (wash + blur(wash, rng.uniform(0.01, 0.05))), np.clip(pigment, 0.05, 1.5))


def facets(rng: Rng, colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Cubist planes: the picture broken along lines and arcs, each plane shaded from one edge."""
    x, y = plane(len(base))
    key, shade = np.zeros(x.shape, int), np.zeros(x.shape)
    for _ in range(rng.integers(7, 15)):
        turn, dx, dy = rng.uniform(0, TAU), x - rng.random(), y - rng.random()
        side = dx * np.cos(turn) + dy * np.sin(turn) if rng.random() < 0.7 else np.hypot(dx, dy) - rng.uniform(0.1, 0.4)
        key = (key + (side > 0) * rng.integers(1, 4096)) % 4096
        shade += rng.normal(0, 0.5) * (side > 0) * np.exp(-np.abs(side) / 0.08)
    means = cell_means(base, key)
    painted = colours[nearest(colours, means + rng.normal(0, 0.2, means.shape))]
    plain = (means + rng.uniform(0.3, 0.9) * (painted - means))[key]
    picture = (0.75 * plain + 0.25 * base) * np.exp(np.clip(shade, -1, 0.8))[..., None]
    return mix(picture, 0.5 * colours[0], rng.choice((0.0, 0.8)) * outlines(plain, 0.006))


def textile(rng: Rng, colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Tapestry: the picture in coarse weft threads over a striped warp."""
    size, twill = len(base), rng.integers(2, 5)
    threads = int(min(rng.uniform(24, 64), size / 4))
    u, v = (threads * axis for axis in plane(size))
    row, column = v.astype(int), u.astype(int)
    weft = (resize(base, threads) * np.exp(rng.normal(0, 0.12, (threads, 1, 1))))[row, column]
    warp = colours[rng.integers(len(colours), size=threads)][column]
    over = (row + column) % twill > 0
    round_thread = np.sin(np.pi * np.where(over, v % 1, u % 1)) * np.exp(0.15 * fractal_noise(rng, size, 0.5))
    warp += rng.random() * (weft - warp)
    return mix(warp, weft, over) * (0.6 + 0.45 * round_thread)[..., None]


def patchwork(rng: Rng, colours: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Cut paper or ornament: flat areas, some filled with patterns, with or without an outline."""
    size = len(base)
    index = nearest(colours, blur(base, rng.uniform(0.012, 0.03)))
    flat = colours[index]
    picture = flat.copy()
    for region in np.flatnonzero(rng.random(len(colours)) < rng.choice((0.0, 0.8))):
        repeat = min(rng.uniform(10, 40), size / 5)
        u, v = (repeat * axis[index == region] for axis in plane(size, rng.uniform(0, np.pi)))
        stripes, zigzags = np.sin(TAU * u), np.sin(TAU * (u + np.abs(v % 2 - 1)))
        checks, dots = np.sin(np.pi * u) * np.sin(np.pi * v), 6 * np.hypot(u % 1 - 0.5, v % 1 - 0.5) - 2
        motif = rng.choice((stripes, zigzags, checks, dots, np.sin(TAU * np.hypot(u % 4 - 2, v % 4 - 2))))
        picture[index == region] = mix(colours[region], rng.choice(colours), ramp(motif, 12 * repeat / size))
    return mix(picture, 0.4 * colours[0], rng.choice((0.0, 0.9)) * outlines(flat, 0.008))
