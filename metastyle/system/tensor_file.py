"""Tensors on disk: reading a safetensors file, whoever wrote it."""

import os

import numpy as np
from safetensors import SafetensorError, safe_open

from metastyle.errors import InputError, one_line


def read(path: str | os.PathLike, what: str, remedy: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of a safetensors file, in float32, and its metadata.

    Raises InputError, "`what` (the reason); `remedy`", where it can't be read.
    """
    try:
        with safe_open(path, "numpy") as file:
            tensors = {key: np.asarray(file.get_tensor(key), np.float32) for key in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError, TypeError, AttributeError) as error:  # the last two: a type that numpy lacks
        raise InputError(f"{what} ({one_line(error)}); {remedy}") from None
