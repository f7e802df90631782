"""TODO."""

import os

import jax

from metastyle.system import paths


def enable_compile_cache() -> None:
    """Keeps compiled programs in the user's cache folder, unless JAX was told of another."""
    if jax.config.jax_compilation_cache_dir is None:
        folder = paths.cache_dir() / "xla"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return  # a read-only home costs compile time, nothing else
        if os.access(folder, os.W_OK):
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
