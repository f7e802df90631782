"""The folders of the cache, of the sample data and of the files that come with the package."""

from __future__ import annotations

import os
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "assets"


def cache_dir() -> Path:
    """The folder for downloaded or derived files, which need not exist.

    It is `METASTYLE_CACHE` if that is set, else `XDG_CACHE_HOME/metastyle`, else `~/.cache/metastyle`.
    """
    if cache := os.environ.get("METASTYLE_CACHE"):
        return Path(cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "metastyle"


def sample_data() -> Path | None:
    """The folder of the sample data: `METASTYLE_SAMPLE_DATA`, else `shared` beside the checkout; None if absent."""
    folder = os.environ.get("METASTYLE_SAMPLE_DATA")
    path = Path(folder).expanduser() if folder else Path(__file__).resolve().parents[3] / "shared"
    return path if path.is_dir() else None


def demo_pictures(kind: str) -> list[Path]:
    """The packaged demo pictures of `kind`, "photos" or "styles", sorted by name.

    Raises:
      ValueError: `kind` is something else.
    """
    if kind not in ("photos", "styles"):
        raise ValueError(f'`kind`: expected "photos" or "styles", got {kind!r}')
    return sorted((ASSETS / "demo" / kind).glob("*.jpg"))
