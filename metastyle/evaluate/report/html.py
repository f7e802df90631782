"""HTML pages that need no other file: templates of metastyle/assets/report, and pictures embedded in them."""

import base64
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from metastyle.evaluate.report.table import format_number
from metastyle.system import files, paths
from metastyle.system.optional import need

_TEMPLATES = paths.ASSETS / "report"
_BUDGET = 13_000_000  # characters of all pictures of a page
_LADDER = ((512, 90), (256, 85), (256, 75), (192, 75), (160, 70), (128, 60))  # longer side in px, JPEG quality


def encode_pictures(out: str | os.PathLike, names: Iterable[str]) -> dict[str, str]:
    """Each picture file, relative to `out`, as a data URI: JPEG, as large and as good as the budget allows."""
    names, found = list(dict.fromkeys(names)), {}
    for side, quality in _LADDER:
        found = {name: _encode_jpeg(Path(out) / name, side, quality) for name in names}
        if sum(map(len, found.values())) <= _BUDGET:
            break
    return found


def _encode_jpeg(path: Path, side: int, quality: int) -> str:
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + to_base64(stream.getvalue())


def to_base64(data: bytes) -> str:
    """Base64 as text."""
    return base64.b64encode(data).decode()


def fill_template(template: str, out: str | os.PathLike, values: dict[str, Any], name: str | None = None) -> Path:
    """Writes OUT/`name`, the template filled with `values`, which are escaped; returns the path.

    name: by default that of the template. Raises InputError where Jinja2 is not installed.
    """
    jinja2 = need("jinja2", "the report")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": format_number, "number_to_sort_by": _number_to_sort_by}
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    text = environment.get_template(template).render(values)
    path = Path(out) / (name or template)
    files.write(path, text.encode("utf-8", "replace"))  # a file name may not be valid Unicode
    return path


class Case(NamedTuple):
    """A part of the page of a study. files: pictures and videos (.mp4) beside the page, with what they show."""

    title: str
    files: dict[str, str]


def write_study(
    out: str | os.PathLike, name: str, title: str, lead: str, table: Sequence[Sequence[str]], cases: Sequence[Case]
) -> Path:
    """Writes OUT/`name`, the page of a study: a table, whose first line is its head, and its pictures.

    Raises InputError where Jinja2 is not installed.
    """
    head, *lines = table
    values = {"title": title, "lead": lead, "head": head, "lines": lines, "cases": cases}
    return fill_template("study.html", out, values, name)


def _number_to_sort_by(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
