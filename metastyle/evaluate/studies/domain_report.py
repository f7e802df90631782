"""The study of domains: which styles bring photographs to a domain, in a table, a page and a sheet of pictures."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metastyle.config import DomainData
from metastyle.data import domains
from metastyle.errors import InputError
from metastyle.evaluate.domains import Measure, Row, table
from metastyle.evaluate.report.html import Case, write_study
from metastyle.evaluate.report.table import markdown
from metastyle.images import codec, contact_sheet
from metastyle.nets import vgg
from metastyle.stylize import stylizer
from metastyle.stylize.style import Style
from metastyle.system import files
from metastyle.weights import style_files

_SHOWN = 8  # photographs on the sheet
_LEAD = (
    "KID is the kernel inception distance between what a method makes of held-out photographs and held-out pictures of "
    "the domain, with its standard error over pictures. C is the content loss, recall the share of outputs that are "
    "nearer to their own photograph than to any other, grid the grid score, and cycle the SSIM of what comes back."
)


class Compared(NamedTuple):
    """Style files, [NAME=]PATH each. back: those of the way back, by the names of the others."""

    styles: Sequence[str]
    back: Sequence[str] = ()


def run(
    data: DomainData,
    compared: Compared,
    bundle: str,
    photographs: int,
    params: vgg.Params,
    out: str | os.PathLike,
) -> str:
    """Measures style files, and the plain guess; writes a page into the folder `out`.

    Returns the table as Markdown. Raises InputError or FileNotFoundError for bad input.
    """
    files.check_new_folder(out, "out")
    start = stylizer.load(bundle)
    learned, back = (_loaded(texts, start) for texts in compared)
    if unknown := sorted(back.keys() - learned.keys()):
        raise InputError(f"`back`: expected names of --style_file, {', '.join(learned) or 'none'}, got {unknown[0]}")
    photos, domain, *_ = domains.open_domains(data, name="domains")
    for found in (photos, domain):
        if len(found.held_out) < 2:
            raise InputError(f"`domains`: expected at least 2 held-out pictures of {found.name}; add more pictures")
    train, held_out = (np.stack(domains.squares(part, data.size)) for part in (domain.train, domain.held_out))
    seen = np.stack(domains.squares(photos.held_out, data.size, photographs))
    chosen = {f"guess for {domain.name}": start.adapt(list(train), steps=0)} | learned
    measure = Measure(params, seen, train, held_out)
    rows = measure.bounds(f"{photos.name} as they are", f"{domain.name} to learn from")
    sheet = {photos.name: seen}
    for name, style in chosen.items():
        ways = [functools.partial(_stylize, way) for way in (style, back.get(name)) if way is not None]
        row, sheet[name] = measure.of(name, *ways)
        rows.append(row)
    _write(out, domain.name, rows, sheet, held_out)
    return markdown(table(rows))


def _loaded(texts: Sequence[str], start: stylizer.Stylizer) -> dict[str, Style]:
    """The styles by name; self-contained ones need no bundle."""
    found = {}
    for name, path in map(_named, texts):
        alone = style_files.load_style(path).config is not None
        found[name] = stylizer.load_style(path, None if alone else start)
    return found


def _named(text: str) -> tuple[str, str]:
    name, given, path = text.partition("=")
    return (name, path) if given else (Path(text).stem, text)


def _stylize(style: Style, picture: np.ndarray) -> np.ndarray:
    return style.stylize(picture).astype(np.float32) / 255


def _write(
    out: str | os.PathLike, domain: str, rows: Sequence[Row], sheet: dict[str, np.ndarray], held_out: np.ndarray
) -> None:
    files.make_folder(out, "out")
    columns = {name: list(pictures[:_SHOWN]) for name, pictures in sheet.items()}
    columns[f"{domain}, held out"] = list(held_out[:_SHOWN])
    shown = [[column[i] if i < len(column) else None for column in columns.values()] for i in range(_SHOWN)]
    picture = contact_sheet.grid(shown, column_labels=list(columns))
    files.write(Path(out, "domains.png"), codec.encode(picture, ".png"))
    write_study(out, "domains.html", f"To {domain}", _LEAD, table(rows), [Case("Outputs", {"domains.png": "Outputs"})])
