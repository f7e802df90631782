"""Draws scenes of a ground, a sky and objects, and synthetic photographs of them."""

import numpy as np

from metastyle.data.procedural.drawing import (
    TAU,
    Rng,
    blur,
    fractal_noise,
    log_uniform,
    mix,
    oklch,
    palette,
    plane,
    ramp,
    soft_noise,
    stamp,
    values_by_owner,
)


def backdrop(rng: Rng, size: int, colours: np.ndarray, horizon: float) -> np.ndarray:
    """Draws a sky or wall, ground that recedes to the horizon, and ridges between them, f32[size, size, 3]."""
    x, y = plane(size)
    sky, (far, near, wall) = colours[-1], colours[rng.integers(len(colours), size=3)]
    cloud = fractal_noise(rng, size, 1.4, 2.0)
    above = mix(sky, wall, rng.uniform(0, 0.5) * (1 - y / horizon))
    above = mix(above, rng.uniform(0.75, 1), rng.uniform(0, 0.9) * ramp(cloud - rng.uniform(-0.5, 2), 2))
    depth = np.clip((y - horizon) / (1.01 - min(horizon, 1)), 0.02, 1)
    row, column = 0.2 / depth * size, (0.5 + (x - 0.5) / (depth + 0.3)) * size
    noise = fractal_noise(rng, size, rng.uniform(0.8, 1.4), log_uniform(rng, 0.5, 2))
    noise = noise[row.astype(int) % size, column.astype(int) % size] * np.minimum(1, 3 * depth)
    below = mix(far, near, depth) * np.exp(rng.gamma(2, 0.1) * noise)[..., None]
    ground = np.where((y < horizon)[..., None], above, below)

    count, knots = int(rng.integers(0, 4)), 60
    fall = np.arange(count)[:, None]
    jagged = np.cumsum(rng.normal(0, rng.uniform(0, 0.03), (count, knots)), 1)
    swell = np.sin(np.linspace(0, rng.uniform(3, 12), knots) + rng.uniform(0, TAU, (count, 1)))
    crest = horizon - 0.1 + 0.06 * fall + rng.uniform(0, 0.08) * swell + jagged - jagged.mean(1, keepdims=True)
    crest = np.stack([np.broadcast_to(np.linspace(-0.1, 1.1, knots), crest.shape), crest], -1)
    feet = np.broadcast_to([[1.1, horizon + 0.1], [-0.1, horizon + 0.1]], (count, 2, 2))
    hills = colours[rng.integers(len(colours), size=count)]
    tints = hills + 0.7 / (1 + fall) * (sky - hills)
    picture, owner = stamp(ground, np.concatenate([crest, feet], 1), tints)
    return picture * np.exp(0.15 * (owner > 0) * cloud)[..., None]


def blobs(rng: Rng, centre: np.ndarray, radius: np.ndarray, angular: float, upright: bool) -> np.ndarray:
    """Draws outlines f64[n, 36, 2] about `centre` [n, 2]: wavy ovals, and a share `angular` of regular polygons."""
    count = len(centre)
    theta = np.linspace(0, TAU, 36, endpoint=False)
    order = np.arange(2, 6)[:, None]
    waves = rng.normal(0, 0.4, (count, 4, 1)) / order * np.cos(order * theta + rng.uniform(0, TAU, (count, 4, 1)))
    wedge = TAU / rng.choice((3, 4, 4, 4, 6), (count, 1))
    polygon = 1.2 * np.cos(wedge / 2) / np.cos(theta % wedge - wedge / 2)
    reach = np.where(rng.random((count, 1)) < angular, polygon, 1 + waves.sum(1)) * radius[:, None]
    squash, turn = np.exp(rng.normal(0, 0.4, (count, 1))), rng.uniform(0, TAU, (count, 1)) * (not upright)
    x, y = reach * np.cos(theta + np.pi / 4) * squash, reach * np.sin(theta + np.pi / 4) / squash
    return np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], -1) + centre[:, None]


def objects(rng: Rng, ground: np.ndarray, colours: np.ndarray, horizon: float) -> np.ndarray:
    """Adds lit, textured objects, which hide parts of each other and of `ground` f32[S, S, 3], alone or in groups."""
    size = len(ground)
    least, most = log_uniform(rng, 0.015, 0.12), rng.uniform(0.2, 0.5)
    count = min(300, int(4 + rng.uniform(0.2, 2) / (6 * least**2 * np.log(most / least))))
    # The density r**-3 of radii makes the statistics of the picture independent of scale.
    centre, radius = rng.random((count, 2)), least / np.sqrt(1 - rng.random(count) * (1 - (least / most) ** 2))
    colour = colours[rng.integers(len(colours), size=count)] + rng.normal(0, 0.03, (count, 3))
    if horizon < 1 and rng.random() < 0.6:
        centre[:, 1] = np.sort(horizon + (1 - horizon) * rng.beta(1, 1.5, count))
        radius *= 0.4 + 1.5 * (centre[:, 1] - horizon)
    heading, joined = rng.uniform(0, TAU, count), rng.random(count) < rng.choice((0.0, 0.6, 0.85))
    for index in np.flatnonzero(joined[1:]) + 1:
        radius[index] = max(radius[index - 1] * rng.uniform(0.6, 1.05), 0.012)
        heading[index] = heading[index - 1] + rng.normal(0, 0.8)
        step = np.array([np.cos(heading[index]), np.sin(heading[index])])
        centre[index] = centre[index - 1] + 1.2 * radius[index] * step
        if rng.random() < 0.7:
            colour[index] = colour[index - 1] + rng.normal(0, 0.02, 3)
    upright = rng.random() < 0.4
    picture, owner = stamp(ground, blobs(rng, centre, radius, rng.choice((0.0, 0.2, 0.9)), upright), colour)

    angle = 0.0 if upright else rng.uniform(0, TAU)
    x, y = plane(size)
    u, v = (
        (at - values_by_owner(owner, middle)) / values_by_owner(owner, radius, 1)
        for at, middle in zip((x, y), centre.T, strict=True)
    )
    lit = np.clip(u * np.cos(angle + 0.8) + v * np.sin(angle + 0.8) + 0.2 - 0.3 * (u * u + v * v), -2, 1)
    light = values_by_owner(owner, rng.gamma(2, 0.15, count)) * lit
    stripes = np.sin(rng.uniform(20, 120) * plane(size, angle)[0] + 1.5 * soft_noise(rng, size, 6))
    grains = (
        fractal_noise(rng, size, rng.uniform(0.7, 1.3)),
        np.sign(stripes),
        fractal_noise(rng, size, rng.uniform(0.4, 0.9), log_uniform(rng, 0.1, 10)),
    )
    for grain, sparsity in zip(grains, (0.8, 0.06, 0.4), strict=True):
        light += values_by_owner(owner, rng.gamma(sparsity, 0.2, count)) * grain
    order = values_by_owner(owner, rng.uniform(0.3, 1, count))
    light -= rng.uniform(0, 1) * np.clip(blur(order, 0.05) - order, 0, 1)
    return np.clip(picture * np.exp(light)[..., None], 0, 1)


def random_horizon(rng: Rng) -> float:
    """Draws the height of the horizon, from the top; it lies below the picture for a quarter of scenes."""
    return rng.uniform(0.25, 0.8) if rng.random() < 0.75 else 1.3


def scene(rng: Rng, size: int, colours: np.ndarray) -> np.ndarray:
    """Draws a composition f32[size, size, 3] in [0, 1] in the given colours."""
    horizon = random_horizon(rng)
    return objects(rng, backdrop(rng, size, colours, horizon), colours, horizon)


def photograph(rng: Rng, size: int) -> np.ndarray:
    """Draws a synthetic photograph f32[size, size, 3] in [0, 1]."""
    colours, horizon = palette(rng, "natural"), random_horizon(rng)
    colours[-1] = oklch(rng.uniform(0.7, 0.95), rng.uniform(0, 0.09), float(rng.choice((90, 240, 255))))
    image = backdrop(rng, size, colours, horizon)
    if rng.random() < 0.35:
        image = blur(objects(rng, image, colours, horizon), log_uniform(rng, 0.01, 0.05))
    image = objects(rng, image, colours, horizon)
    x, y = plane(size)
    vignette = np.exp(-rng.uniform(0, 0.8) * ((x - 0.5) ** 2 + (y - 0.5) ** 2))
    image = np.clip(image, 0, 1) ** np.exp(rng.normal(0.05, 0.3)) * vignette[..., None]
    image += rng.uniform(0, 0.02) * rng.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 1).astype(np.float32)
