"""The folders of the cache, of the sample data and of the files that come with the package."""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path

from metastyle.errors import Adjusted

ASSETS = Path(__file__).resolve().parents[1] / "assets"


def cache_dir() -> Path | None:
    """The folder for downloaded or derived files, which need not exist; None where there is no home folder to hold it.

    It is `METASTYLE_CACHE` if that is set, else `XDG_CACHE_HOME/metastyle`, else `~/.cache/metastyle`.
    """
    cache = os.environ.get("METASTYLE_CACHE") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/metastyle"
    path = os.path.expanduser(cache)
    return None if path.startswith("~") else Path(path)


def cache_folder(name: str) -> Path | None:
    """Makes a folder in the cache; None, with a warning (errors.Adjusted), if nothing can be written there."""
    cache = cache_dir()
    why = "there is no home folder"
    if cache is not None:
        folder, why = cache / name, f"cannot write in {cache}"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    message = f"{why}, so nothing is cached and the next start takes as long; METASTYLE_CACHE can name a folder"
    warnings.warn(message, Adjusted, stacklevel=1)  # always the same place, so that Python shows it once
    return None


def sample_data() -> Path | None:
    """The folder of the sample data: `METASTYLE_SAMPLE_DATA`, else `shared` beside the checkout; None if absent."""
    folder = os.environ.get("METASTYLE_SAMPLE_DATA")
    path = Path(os.path.expanduser(folder)) if folder else Path(__file__).resolve().parents[3] / "shared"
    return path if path.is_dir() else None


def demo_pictures(kind: str) -> list[Path]:
    """The packaged demo pictures of `kind`, "photos" or "styles", sorted by name.

    Raises:
      ValueError: `kind` is something else.
    """
    if kind not in ("photos", "styles"):
        raise ValueError(f'`kind`: expected "photos" or "styles", got {kind!r}')
    return sorted((ASSETS / "demo" / kind).glob("*.jpg"))
