"""`transfer` on picture files, with the plan said before, the progress, and files from which stopped work continues."""

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from metastyle.errors import InputError
from metastyle.images import codec, picture_names
from metastyle.images.codec import Picture
from metastyle.stylize import cost, jobs
from metastyle.stylize.cost import Recipe
from metastyle.stylize.style import check_style_path, record
from metastyle.stylize.transfer import Options, Progress, StateFiles, prepare
from metastyle.system import files, lock

_BAR = "{desc}: {percentage:3.0f}% [{elapsed} < {remaining}]"


@dataclass(frozen=True)
class Files:
    """What a transfer reads and writes beside the photographs.

    styles: pictures of the style. mask: a picture, or None. save_style: a style file to write, or None.
    """

    styles: Sequence[str]
    mask: str | None = None
    save_style: str | None = None
    output: jobs.Output = jobs.Output()


def transfer_files(contents: Sequence[str], out: str, given: Files, options: Options) -> None:
    """Transfers each photograph into the style of the pictures, and prints what it does.

    contents: photographs, folders or globs. out: a picture, or for several photographs a folder.

    Raises InputError or FileNotFoundError for bad input, before anything is written.
    """
    codec.check_quality(given.output.quality)
    for style in given.styles:
        if os.path.isdir(style):
            raise InputError(f"`style`: expected a picture, got the folder {style!r}; name the pictures in it")
    if given.save_style:
        check_style_path(given.save_style)
    found = picture_names.expand(contents, "content")
    if jobs.is_folder(out):
        if given.save_style:
            raise InputError("`save_style`: expected one photograph, for each has a style file of its own; name one")
        name = "+".join(Path(style).stem for style in given.styles)
        print(jobs.write_many(found, [name], out, given.output, lambda x, _, to: transfer_one(x, to, given, options)))
        return
    if len(found) > 1:
        raise InputError(f"`out`: expected a folder for {len(found)} photographs, got {out!r}; pass a folder")
    transfer_one(jobs.read_content(found[0]), out, given, options)
    print(f"wrote {out}")


def transfer_one(photograph: Picture, out: str, given: Files, options: Options) -> None:
    """Transfers one photograph into the file `out`; the same call continues stopped work.

    Raises errors.InUse while another process does the same.
    """
    inputs = (photograph, given.mask, *given.styles)
    files.check_output(out, suffixes=codec.IMAGE_SUFFIXES, name="out", inputs=inputs)
    with lock.beside(out):
        _transfer_alone(photograph, out, given, options)


def _transfer_alone(photograph: Picture, out: str, given: Files, options: Options) -> None:
    state, origin = StateFiles.beside(out), codec.read_origin(photograph, exif=given.output.keep_exif)
    job = prepare(photograph, given.styles, given.mask, options, _chosen_before(state, options))
    if options.seconds is not None:
        files.write(state.chosen, json.dumps(job.recipe).encode())
    print(cost.describe(job.work, job.recipe, cost.measure()), flush=True)
    with tqdm(total=1.0, bar_format=_BAR, file=sys.stderr, leave=False, disable=None) as bar:

        def show(progress: Progress) -> None:
            bar.set_description_str(progress.doing, refresh=False)
            bar.update(progress.share - bar.n)

        result = job.run(show, state)
    if given.save_style:
        result.style.save(given.save_style)
        print(f"wrote {given.save_style}")
    metadata = record([result.style], options.knobs(job.recipe, job.work.size))
    kept = {"alpha": result.alpha, "quality": given.output.quality, "metadata": metadata, "origin": origin}
    codec.save(out, result.pixels, **kept, name="out")
    state.delete()


def _chosen_before(state: StateFiles, options: Options) -> Recipe | None:
    """What stopped work had chosen for its `seconds`: the machine may be as fast as it was, or not."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Recipe(*json.loads(state.chosen.read_text())) if options.seconds is not None else None
    return None
