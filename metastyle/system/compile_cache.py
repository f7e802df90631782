"""Keeps compiled XLA programs between processes."""

import jax

from metastyle.system import paths


def enable_compile_cache() -> None:
    """Makes JAX keep compiled programs in the user's cache folder, unless another folder is configured."""
    if jax.config.values["jax_compilation_cache_dir"] is None:
        folder = paths.cache_folder("xla")
        if folder:
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
