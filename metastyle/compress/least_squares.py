"""Linear least squares from sums of products, which can be added up batch by batch."""

import numpy as np

_RIDGE = 1e-4  # relative to the mean eigenvalue


def ridge(own: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """Solves a W = b by ridge regression: float64[A, B] from own = a^T a, [A, A], and mixed = a^T b, [A, B].

    W minimises |a W - b|^2 with a small penalty on its size.
    """
    return np.linalg.solve(own + _RIDGE * np.trace(own) / len(own) * np.eye(len(own)), mixed)
