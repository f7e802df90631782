"""Spectral normalisation (Miyato et al. 2018): kernels divided by their largest singular value.

The value is estimated by one step of power iteration from a vector that is kept from step to step, so it is part of the
state of a run, beside the parameters.
"""

import jax
import jax.numpy as jnp
import numpy as np

from metastyle.nets.params import Array, Flat

_TINY = 1e-12


def initial_vectors(params: Flat, seed: int) -> Flat:
    """A unit vector for each kernel f32[h, w, C, D] among `params`: f32[D], drawn from a normal distribution."""
    rng = np.random.default_rng(seed)
    drawn = {path: rng.normal(size=x.shape[-1]) for path, x in sorted(params.items()) if _is_kernel(path)}
    return {path: (x / np.linalg.norm(x)).astype(np.float32) for path, x in drawn.items()}


def iterate(params: Flat, vectors: Flat) -> Flat:
    """The vectors after one step of power iteration on these kernels. No gradient flows through it."""
    kernels = jax.lax.stop_gradient({path: _matrix(params[path]) for path in vectors})
    return {path: _unit(kernels[path].T @ _unit(kernels[path] @ v)) for path, v in vectors.items()}


def normalized(params: Flat, vectors: Flat) -> Flat:
    """The parameters with each kernel divided by |W v|, its largest singular value if v is its vector."""
    kernels = {path: params[path] / (jnp.linalg.norm(_matrix(params[path]) @ v) + _TINY) for path, v in vectors.items()}
    return {**params, **kernels}


def _is_kernel(path: str) -> bool:
    return path.endswith("kernel")


def _matrix(kernel: Array) -> jax.Array:
    return jnp.asarray(kernel).reshape(-1, kernel.shape[-1])


def _unit(vector: jax.Array) -> jax.Array:
    return vector / (jnp.linalg.norm(vector) + _TINY)
