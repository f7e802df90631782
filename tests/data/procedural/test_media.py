"""The parts that media are made of."""

import numpy as np

from metastyle.data.procedural.drawing import plane
from metastyle.data.procedural.media import cell_means, voronoi


def test_voronoi_without_jitter_is_the_grid():
    u, v = (4 * axis for axis in plane(40))
    key, border = voronoi(np.random.default_rng(0), u, v, 0.0)
    np.testing.assert_array_equal(key, np.floor(v).astype(int) * 64 + np.floor(u).astype(int))
    along, across = np.abs(u % 1 - 0.5), np.abs(v % 1 - 0.5)
    near = np.hypot(1 - np.maximum(along, across), np.minimum(along, across)) - np.hypot(along, across)
    np.testing.assert_allclose(border, near, atol=1e-5)


def test_cell_means_are_the_means_under_each_key():
    rng = np.random.default_rng(0)
    base, key = rng.random((8, 8, 3)).astype(np.float32), rng.integers(0, 5, (8, 8))
    means = cell_means(base, key)
    for cell in range(5):
        np.testing.assert_allclose(means[cell], base[key == cell].mean(0), rtol=1e-5)
