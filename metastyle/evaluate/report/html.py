"""HTML pages that need no other file: templates and embedded pictures."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from metastyle.system import files, paths

_TEMPLATES = paths.ASSETS / "report"
_BUDGET = 13_000_000  # characters of all pictures of a page
_LADDER = ((512, 90), (256, 85), (256, 75), (192, 75), (160, 70), (128, 60))  # longer side in px, JPEG quality


def encode_pictures(out: str | os.PathLike, files: Iterable[str]) -> dict[str, str]:
    """Each picture file, relative to `out`, as a data URI: JPEG, as large and as good as the budget lets them be."""
    files, found = list(dict.fromkeys(files)), {}
    for side, quality in _LADDER:
        found = {file: _jpeg(Path(out) / file, side, quality) for file in files}
        if sum(map(len, found.values())) <= _BUDGET:
            break
    return found


def _jpeg(path: Path, side: int, quality: int) -> str:
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + to_base64(stream.getvalue())


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def fill_template(template: str, out: str | os.PathLike, parts: dict[str, str]) -> Path:
    """Fills the {{names}} of a template, in one go, so that what is filled in stays as it is."""
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    text = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], text)
    path = Path(out) / template
    with files.atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")  # a file name may not be valid Unicode
    return path
