"""Files of photographs in, files of stylised ones out: one, or folders of them in many styles."""

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from metastyle.errors import Adjusted, InputError, one_line
from metastyle.images import codec, contact_sheet
from metastyle.images.codec import Picture
from metastyle.images.resize import resize
from metastyle.stylize import stylizer
from metastyle.stylize.style import Knobs, Style, blend, record, stylized
from metastyle.system import files
from metastyle.system.optional import need

STANDARD = "-"  # standard input, or standard output
_MADE = "_stylized_"  # in the names of files that `many` writes


class Look(NamedTuple):
    """What is made of every photograph: a style, or several in their regions, and the name that it goes by."""

    name: str
    parts: list[tuple[Style, Picture | None]]


class Output(NamedTuple):
    """How files are written. quality: of JPEG and WebP. overwrite: also those that are there already."""

    suffix: str = ".png"
    quality: int | None = None
    overwrite: bool = False


def styles(names: Sequence[str], bundle: str | None) -> dict[str, Style]:
    """The styles of files and globs (images.expand), by the names of their files without folder and suffix."""
    found = {}
    for path in files.expand(names, {".safetensors"}, "style_file"):
        name = Path(path).stem
        if name in found:
            raise InputError(f"`style_file`: expected files of different names, got two {name}; rename one")
        found[name] = stylizer.load_style(path, bundle)
    return found


def looks(
    found: dict[str, Style], weights: Sequence[str] | None, masks: Sequence[str] | None, knobs: Knobs
) -> list[Look]:
    """What to make of styles: with weights, their blend; with masks, one look of regions; else each by itself.

    Raises InputError for numbers that don't match, and a strength that a style can't be brought to.
    """
    for given, name in ((weights, "weights"), (masks, "mask")):
        if given and len(given) != len(found):
            raise InputError(f"`{name}`: expected one for each of {len(found)} style files, got {len(given)}")
    if weights and masks:
        raise InputError(
            "`mask`: expected --weights (a blend) or --mask (regions), got both; use `metastyle blend` first"
        )
    for style in found.values():
        style.params(knobs.strength)
    if knobs.backend != "jax":
        for package in ("onnx", "onnxruntime"):
            need(package, "`backend`")
    name = "+".join(found)
    if weights:
        parts = zip(found.values(), _numbers("weights", weights), strict=True)
        return [Look(name, [(blend(list(parts)), None)])]
    if masks:
        for mask in masks:  # a mistake in one is told before the work, not for each photograph
            codec.load(mask, name="mask", max_pixels=knobs.max_pixels)
        return [Look(name, list(zip(found.values(), masks, strict=True)))]
    return [Look(name, [(style, None)]) for name, style in found.items()]


def is_folder(out: str) -> bool:
    """Whether `--out` means a folder: one that is there, or a name that ends in "/" or has no suffix."""
    return out != STANDARD and (Path(out).is_dir() or out.endswith("/") or not Path(out).suffix)


def photographs(names: Sequence[str], sheet: str) -> list[str]:
    """The files of photographs and folders (images.expand), without the sheet of an earlier run among them.

    That one is left out, which is said (errors.Adjusted). Raises InputError where it is named itself, or is all.
    """
    files.check_output(sheet, suffixes=codec.IMAGE_SUFFIXES, name="out", inputs=names)
    found = files.expand(names, codec.IMAGE_SUFFIXES, "content")
    left = [x for x in found if not files.same_file(x, sheet)]
    if not left:
        raise InputError(f"`content`: expected photographs, got only the sheet {sheet!r} itself")
    if len(left) < len(found):
        warnings.warn(f"`content`: left out {sheet!r}, which is the sheet itself", Adjusted, stacklevel=2)
    return left


def sheet(
    contents: Sequence[str], found: dict[str, Style], *, strengths: Sequence[str] = ("1",), blend_steps: int = 0,
    cell: int = 256, **knobs: Any,
) -> np.ndarray:  # fmt: skip
    """A contact sheet f32[H, W, 3]: a row for each photograph; columns are the photograph and each style.

    With several strengths, each style at each; with `blend_steps` of at least 2, two styles and the blends between.
    """
    levels = _numbers("strength", strengths)
    if blend_steps:
        if len(found) != 2 or blend_steps < 2:
            raise InputError(
                f"`blend`: expected at least 2 steps between 2 style files, got {blend_steps} between {len(found)}"
            )
        (a, first), (b, second) = found.items()
        weights = np.linspace(0, 1, blend_steps)
        found = {f"{1 - w:.2g} {a} {w:.2g} {b}": blend([(first, 1 - w), (second, w)]) for w in weights}
    columns = [
        (name if len(levels) == 1 else f"{name} {level:g}", style, Knobs(strength=level, **knobs))
        for name, style in found.items()
        for level in levels
    ]
    rows = []
    for content in tqdm(contents, unit="photograph", disable=len(contents) == 1 or not sys.stderr.isatty()):
        picture = read(content)
        made = [stylized(picture, [(style, None)], knobs)[0] for _, style, knobs in columns]
        shown = [codec.load(picture, max_pixels=columns[0][2].max_pixels)[0], *made]
        rows.append([resize(x, contact_sheet.fitted(x.shape[:2], cell)) for x in shown])  # large ones aren't kept
    return contact_sheet.contact_sheet(rows, column_labels=["photograph", *(name for name, *_ in columns)], cell=cell)


def one(photograph: Picture, look: Look, out: str, knobs: Knobs, output: Output) -> None:
    """Stylises one photograph into the file `out`; "-" is standard output."""
    if out != STANDARD:
        files.check_output(
            out, suffixes=codec.IMAGE_SUFFIXES, name="out", inputs=(photograph, *(mask for _, mask in look.parts))
        )
    pixels, alpha = stylized(photograph, look.parts, knobs)
    made_of = record([style for style, _ in look.parts], knobs)
    options = {"alpha": alpha, "quality": output.quality, "metadata": made_of}
    if out == STANDARD:
        sys.stdout.buffer.write(codec.encode(pixels, output.suffix, **options))
        sys.stdout.buffer.flush()
    else:
        codec.save(out, pixels, name="out", **options)


def many(contents: Sequence[str], looks: Sequence[Look], folder: str, knobs: Knobs, output: Output) -> str:
    """Stylises every photograph in every look, into files `PHOTO_stylized_STYLE.png` of `folder`, which is made.

    Files that are there already are skipped, so the same line continues stopped work; what it made itself in that
    folder is no photograph to it, which is said (errors.Adjusted). A photograph that can't be read or stylised is named
    on standard error and skipped. Returns a line of what was done; raises InputError with that line if photographs were
    bad, and at once where two files would have one name.
    """
    contents = _not_made(contents, folder)
    targets = names(contents, looks, Path(folder), output.suffix)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"`out`: cannot make the folder {folder!r} ({error.strerror}); choose another") from None
    made, there, bad = 0, 0, 0
    with tqdm(total=len(contents) * len(looks), unit="picture", mininterval=1.0, file=sys.stderr) as shown:
        for content in contents:
            try:
                photograph = read(content)
                for look in looks:
                    target = targets[content, look.name]
                    if target.exists() and not output.overwrite:
                        there += 1
                    else:
                        one(photograph, look, str(target), knobs, output)
                        made += 1
                        tqdm.write(f"wrote {target}", file=sys.stdout)
                    shown.update()
            except BrokenPipeError:  # nobody reads what is told
                raise
            except (InputError, OSError) as error:  # such as a name that is too long
                tqdm.write(f"skipped {content}: {one_line(error)}", file=sys.stderr)
                bad += 1
    done = f"wrote {made} pictures into {folder}"
    done += f", skipped {there} that are there already (--overwrite replaces them)" if there else ""
    if bad:
        raise InputError(f"`content`: {bad} of {len(contents)} photographs could not be stylised; {done}")
    return done


def _not_made(contents: Sequence[str], folder: str) -> list[str]:
    """Those that are no pictures of `many` in `folder`, by their names."""
    there = os.path.realpath(folder)
    made = {x for x in contents if _MADE in Path(x).stem and os.path.realpath(Path(x).parent) == there}
    if len(made) == len(contents):
        raise InputError(f"`content`: expected photographs, got only what is named as stylised ones in {folder!r}")
    if made:
        told = f"`content`: left out {len(made)} of {len(contents)} pictures, which are stylised ones of {folder!r}"
        warnings.warn(told, Adjusted, stacklevel=2)
    return [x for x in contents if x not in made]


def names(contents: Sequence[str], looks: Sequence[Look], folder: Path, suffix: str) -> dict[tuple[str, str], Path]:
    """The file of each photograph in each look. Raises InputError where two are one."""
    targets, taken = {}, {}
    for content in contents:
        stem = "stdin" if content == STANDARD else Path(content).stem
        for look in looks:
            target = folder / f"{stem}{_MADE}{look.name}{suffix}"
            if target in taken:
                raise InputError(
                    f"`content`: {taken[target]} and {content} in {look.name} would both be written to {target}; "
                    "rename one, or stylise them into different folders"
                )
            targets[content, look.name], taken[target] = target, content
    return targets


def read(content: str) -> Picture:
    """What images.load takes for a name: the bytes on standard input for "-"."""
    return sys.stdin.buffer.read() if content == STANDARD else content


def _numbers(name: str, texts: Sequence[str]) -> list[float]:
    try:
        return [float(text) for text in texts]
    except ValueError:
        raise InputError(f"`{name}`: expected numbers such as 0.3,0.7, got {','.join(texts)}") from None
