"""Stylises photographs from files into files: one photograph, or folders of them in many styles."""

import dataclasses
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from metastyle.errors import Adjusted, InputError, InUse, one_line, shown
from metastyle.images import codec, contact_sheet, picture_names
from metastyle.images.codec import Picture
from metastyle.images.resize import resize
from metastyle.stylize import stylizer
from metastyle.stylize.style import Knobs, Style, blend, record, stylized
from metastyle.system import files, standard_streams
from metastyle.system.optional import need
from metastyle.system.standard_streams import STANDARD

_LONGEST = 100  # characters of the names of several styles that stand in the name of a file
_MARK = "_stylized_"  # stands in the names of the files that `write_many` writes


class Look(NamedTuple):
    """How every photograph is stylised: in one style, or in several, each in the region of a mask."""

    name: str  # stands in the names of files
    parts: list[tuple[Style, Picture | None]]  # (style, mask), without a mask for the whole picture


class Output(NamedTuple):
    """How files are written."""

    suffix: str = ".png"
    quality: int | None = None  # of JPEG and WebP
    overwrite: bool = False  # replaces files that exist
    keep_exif: bool = False  # copies the photograph's EXIF


class SheetLayout(NamedTuple):
    """What a contact sheet shows beside the photographs."""

    strengths: Sequence[str] = ("1",)  # each style is shown at each of these strengths
    blend_steps: int = 0  # 2 or more: shows two styles and the blends between them, this many columns; 0: no blends
    cell: int = 256  # px, the side of a cell


def load_styles(names: Sequence[str], bundle: str | None) -> dict[str, Style]:
    """Loads the styles of files and globs (files.expand), by the file names without folder and suffix."""
    found = {}
    for path in files.expand(names, {".safetensors"}, "style_file"):
        name = Path(path).stem
        if name in found:
            raise InputError(f"`style_file`: expected files of different names, got two {name}; rename one")
        found[name] = stylizer.load_style(path, bundle)
    return found


def make_looks(
    styles: dict[str, Style], weights: Sequence[str] | None, masks: Sequence[Picture] | None, knobs: Knobs
) -> list[Look]:
    """Combines styles into looks: one blend with weights, one look with regions with masks, else a look per style.

    Raises:
      InputError: the numbers of weights or masks and styles differ, or a style can't have the strength of `knobs`.
    """
    for given, name in ((weights, "weights"), (masks, "mask")):
        if given and len(given) != len(styles):
            raise InputError(f"`{name}`: expected one for each of {len(styles)} style files, got {len(given)}")
    if weights and masks:
        raise InputError(
            "`mask`: expected --weights (a blend) or --mask (regions), got both; use `metastyle blend` first"
        )
    for style in styles.values():
        style.params(knobs.strength)
    if knobs.backend != "jax":
        for package in ("onnx", "onnxruntime"):
            need(package, "`backend`")
    name = joined(list(styles))
    if weights:
        parts = zip(styles.values(), _numbers("weights", weights), strict=True)
        return [Look(name, [(blend(list(parts)), None)])]
    if masks:
        for mask in masks:  # a mistake in a mask is reported before the work, not for each photograph
            codec.load(mask, name="mask", max_pixels=knobs.max_pixels)
        return [Look(name, list(zip(styles.values(), masks, strict=True)))]
    return [Look(name, [(style, None)]) for name, style in styles.items()]


def joined(names: Sequence[str]) -> str:
    """The names of styles that make one picture, as they stand in the name of its file."""
    whole = "+".join(names)
    return whole if len(whole) <= _LONGEST or len(names) == 1 else f"{names[0][:_LONGEST]}+{len(names) - 1}"


def is_folder(out: str, count: int, what: str, instead: str = "") -> bool:
    """Whether `--out` names a folder: one that exists, or a name that ends in "/" or has no suffix.

    Raises InputError where it doesn't and several pictures are to be written.

    count: of them. what: they are, in words. instead: what else may be passed, for the message.
    """
    if out != STANDARD and (os.path.isdir(out) or out.endswith("/") or not Path(out).suffix):
        return True
    if count > 1:
        how = "pass a folder" if out == STANDARD else "pass a folder, with a slash at its end if its name has a dot"
        raise InputError(f"`out`: expected a folder for {what}, got {out!r}; {how}{instead}")
    return False


def find_photographs(names: Sequence[str], sheet: str) -> list[str]:
    """Finds the files of photographs and folders (files.expand); leaves out the sheet of an earlier run among them.

    Warns (errors.Adjusted) if it left out the sheet. Raises InputError if the sheet is named itself, or is the only
    picture.
    """
    check_out(sheet, names)
    found = picture_names.expand(names, "content")
    left = [x for x in found if sheet == STANDARD or not files.same_file(x, sheet)]
    if not left:
        raise InputError(f"`content`: expected photographs, got only the sheet {sheet!r} itself")
    if len(left) < len(found):
        warnings.warn(f"`content`: left out {sheet!r}, which is the sheet itself", Adjusted, stacklevel=2)
    return left


def draw_sheet(contents: Sequence[str], styles: dict[str, Style], layout: SheetLayout, knobs: Knobs) -> np.ndarray:
    """Draws a contact sheet f32[H, W, 3]: a row for each photograph; columns are the photograph and each style.

    The strength of `knobs` does not count, but those of `layout`.
    """
    levels = _numbers("strength", layout.strengths)
    if not levels:
        raise InputError("`strength`: expected at least one number, got none")
    if layout.blend_steps:
        styles = _blends_between(styles, layout.blend_steps)
    columns = [
        (name if len(levels) == 1 else f"{name} {level:g}", style, dataclasses.replace(knobs, strength=level))
        for name, style in styles.items()
        for level in levels
    ]
    rows = []
    for content in tqdm(contents, unit="photograph", disable=len(contents) == 1 or not sys.stderr.isatty()):
        picture = picture_names.read(content, "content")
        made = [stylized(picture, [(style, None)], column)[0] for _, style, column in columns]
        shown = [codec.load(picture, max_pixels=knobs.max_pixels)[0], *made]
        cells = [resize(x, contact_sheet.fit_size(x.shape[:2], layout.cell)) for x in shown]
        rows.append(cells)  # the large pictures are not kept
    labels = ["photograph", *(name for name, *_ in columns)]
    return contact_sheet.contact_sheet(rows, column_labels=labels, cell=layout.cell)


def _blends_between(styles: dict[str, Style], steps: int) -> dict[str, Style]:
    if len(styles) != 2 or steps < 2:
        raise InputError(f"`blend`: expected at least 2 steps between 2 style files, got {steps} between {len(styles)}")
    (a, first), (b, second) = styles.items()
    weights = np.linspace(0, 1, steps)
    return {f"{1 - w:.2g} {a} {w:.2g} {b}": blend([(first, 1 - w), (second, w)]) for w in weights}


def stylize_one(photograph: Picture, look: Look, out: str, knobs: Knobs, output: Output) -> None:
    """Stylises one photograph into the file `out`; "-" is standard output."""
    check_out(out, (photograph, *(mask for _, mask in look.parts)))
    origin = codec.read_origin(photograph, exif=output.keep_exif)
    pixels, alpha = stylized(photograph, look.parts, knobs)
    kept = {"alpha": alpha, "origin": origin, "metadata": record([style for style, _ in look.parts], knobs)}
    write(out, pixels, kept, output)


def check_out(out: str, inputs: Sequence[object] = ()) -> None:
    """Checks before the work that `write` can write to `out` after it, and replaces none of `inputs`."""
    if out == STANDARD:
        standard_streams.check_output("out")
    else:
        files.check_output(out, suffixes=codec.IMAGE_SUFFIXES, name="out", inputs=inputs)


def write(out: str, pixels: np.ndarray, kept: Mapping[str, Any], output: Output) -> None:
    """Writes a picture to the file `out` in the format of its suffix, or to standard output in that of `output`.

    kept: what goes into the file beside the pixels, as codec.save takes it.
    """
    if out == STANDARD:
        standard_streams.write(codec.encode(pixels, output.suffix, quality=output.quality, **kept), "out")
    else:
        codec.save(out, pixels, quality=output.quality, **kept, name="out")


def stylize_many(contents: Sequence[str], looks: Sequence[Look], folder: str, knobs: Knobs, output: Output) -> str:
    """Stylises every photograph in every look, as `write_many` says."""
    by_name = {look.name: look for look in looks}

    def write(photograph: Picture, name: str, target: str) -> None:
        stylize_one(photograph, by_name[name], target, knobs, output)

    return write_many(contents, list(by_name), folder, output, write)


def write_many(
    contents: Sequence[str],
    looks: Sequence[str],
    folder: str,
    output: Output,
    write: Callable[[Picture, str, str], None],
) -> str:
    """Calls `write(photograph, look, target)` for each photograph and name of a look.

    The targets are files `PHOTO_stylized_LOOK.png` of `folder`, which is made. Files that exist are skipped, so the
    same command line continues work that was stopped. Pictures among `contents` that an earlier call wrote into
    `folder` are left out, with a warning (errors.Adjusted). A photograph that can't be read or stylised is named on
    standard error and skipped.

    Returns:
      A line that says what was done.

    Raises:
      InputError: photographs were skipped, with that line, after all others were stylised; or, before the work, two
        files would have one name, `folder` can't be created, or no photograph is left.
    """
    contents = _without_own_outputs(contents, folder)
    targets = output_files(contents, looks, Path(folder), output.suffix)
    files.make_folder(folder, "out")
    written = existing = bad = 0
    with tqdm(total=len(contents) * len(looks), unit="picture", mininterval=1.0, file=sys.stderr) as progress:
        for content in contents:
            try:
                photograph = picture_names.read(content, "content")
                for look in looks:
                    target = targets[content, look]
                    if files.stat_mode(target, "out") is not None and not output.overwrite:
                        existing += 1
                    else:
                        write(photograph, look, str(target))
                        written += 1
                        tqdm.write(f"wrote {shown(target)}", file=sys.stdout)
                    progress.update()
            except InUse:  # the same line runs twice
                raise
            except (InputError, OSError) as error:  # such as a name that is too long
                if standard_streams.flush() or files.is_disk_full(error):
                    raise
                tqdm.write(f"skipped {shown(content)}: {one_line(error)}", file=sys.stderr)
                bad += 1
    done = f"wrote {written} pictures into {shown(folder)}"
    done += f", skipped {existing} that are there already (--overwrite replaces them)" if existing else ""
    if bad:
        raise InputError(f"`content`: {bad} of {len(contents)} photographs could not be stylised; {done}")
    return done


def _without_own_outputs(contents: Sequence[str], folder: str) -> list[str]:
    """Leaves out the pictures that `write_many` wrote into `folder`, which it knows by their names."""
    real = os.path.realpath(folder)
    own = {x for x in contents if _MARK in Path(x).stem and os.path.realpath(Path(x).parent) == real}
    if len(own) == len(contents):
        raise InputError(f"`content`: expected photographs, got only pictures that this command wrote into {folder!r}")
    if own:
        message = f"`content`: left out {len(own)} of {len(contents)} pictures, which are stylised ones of {folder!r}"
        warnings.warn(message, Adjusted, stacklevel=2)
    return [x for x in contents if x not in own]


def output_files(
    contents: Sequence[str], looks: Sequence[str], folder: Path, suffix: str
) -> dict[tuple[str, str], Path]:
    """The file for each photograph in each look, by (content, look); InputError if two are the same."""
    targets: dict[tuple[str, str], Path] = {}
    taken: dict[Path, str] = {}
    for content in contents:
        stem = picture_names.stem(content)
        for look in looks:
            target = folder / f"{stem}{_MARK}{look}{suffix}"
            if target in taken:
                raise InputError(
                    f"`content`: {shown(taken[target])} and {shown(content)} in {look} would both be written to "
                    f"{shown(target)}; "
                    "rename one, or stylise them into different folders"
                )
            targets[content, look], taken[target] = target, content
    return targets


def _numbers(name: str, texts: Sequence[str]) -> list[float]:
    try:
        return [float(text) for text in texts]
    except ValueError:
        raise InputError(f"`{name}`: expected numbers such as 0.3,0.7, got {','.join(texts)}") from None
