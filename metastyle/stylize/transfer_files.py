"""`transfer` on picture files, with the plan said before, the progress, and files from which stopped work continues."""

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tqdm import tqdm

from metastyle.errors import InputError, shown
from metastyle.images import codec, picture_names
from metastyle.images.codec import Picture
from metastyle.stylize import cost, jobs
from metastyle.stylize.cost import Recipe
from metastyle.stylize.style import check_style_path, record
from metastyle.stylize.transfer import Job, Options, Progress, StateFiles, prepare
from metastyle.system import files, lock, resume
from metastyle.system.standard_streams import STANDARD

_KEPT = ("seconds", "size", "strength", "stroke", "seed", "vgg", "bundle")  # options that stopped work goes on with
_BAR = "{desc}: {percentage:3.0f}% [{elapsed} < {remaining}]"


@dataclass(frozen=True)
class Files:
    """What a transfer reads and writes beside the photographs.

    styles: names of pictures of the style (images/picture_names.py). masks: likewise, at most one. save_style: a style
    file to write, or None.
    """

    styles: Sequence[str]
    masks: Sequence[str] = ()
    save_style: str | None = None
    output: jobs.Output = jobs.Output()


def transfer_files(contents: Sequence[str], out: str, given: Files, options: Options) -> None:
    """Transfers each photograph into the style of the pictures, and prints what it does.

    contents: names of photographs. out: a picture, a folder for several photographs, or "-" for standard output.

    Raises InputError or FileNotFoundError for bad input, before anything is written.
    """
    codec.check_quality(given.output.quality, "jpeg_quality")
    if given.save_style:
        check_style_path(given.save_style, "save_style")
    contents, styles = picture_names.expand(contents, "content"), picture_names.expand(given.styles, "style")
    mask = picture_names.one(given.masks, "mask")
    picture_names.check_standard_input({"content": contents, "style": styles, "mask": [mask]})
    folder = jobs.is_folder(out, len(contents), f"{len(contents)} photographs")
    if folder and given.save_style:
        raise InputError("`save_style`: expected one photograph, for each has a style file of its own; name one")
    read = _Read([picture_names.read(x, "style") for x in styles], mask and picture_names.read(mask, "mask"))
    if folder:
        look = jobs.joined([picture_names.stem(style) for style in styles])
        write = lambda photograph, _, target: _transfer_one(photograph, target, read, given, options)
        print(jobs.write_many(contents, [look], out, given.output, write))
    else:
        _transfer_one(picture_names.read(contents[0], "content"), out, read, given, options)
        if out != STANDARD:
            print(f"wrote {shown(out)}")


class _Read(NamedTuple):
    """The pictures of a transfer beside the photograph."""

    styles: Sequence[Picture]
    mask: Picture | None


def _say(out: str, line: str) -> None:
    """Prints a line: to standard error where the picture goes to standard output."""
    print(line, file=sys.stderr if out == STANDARD else sys.stdout, flush=True)


def _transfer_one(photograph: Picture, out: str, read: _Read, given: Files, options: Options) -> None:
    """Transfers one photograph into the file `out`; the same call continues stopped work.

    Raises errors.InUse while another process does the same.
    """
    jobs.check_out(out, (photograph, read.mask, *read.styles))
    with contextlib.nullcontext() if out == STANDARD else lock.beside(out):
        _transfer_alone(photograph, out, read, given, options)


def _transfer_alone(photograph: Picture, out: str, read: _Read, given: Files, options: Options) -> None:
    state = None if out == STANDARD else StateFiles.beside(out)
    origin = codec.read_origin(photograph, exif=given.output.keep_exif)
    job = _prepare(photograph, read, options, state)
    _say(out, cost.describe(job.work, job.recipe, cost.measure()))
    with tqdm(total=1.0, bar_format=_BAR, file=sys.stderr, leave=False, disable=None) as bar:

        def show(progress: Progress) -> None:
            bar.set_description_str(progress.doing, refresh=False)
            bar.update(progress.share - bar.n)

        try:
            result = job.run(show, state)
        finally:
            if state and not state.are_kept:
                state.begun.unlink(missing_ok=True)
    if given.save_style:
        result.style.save(given.save_style, name="save_style")
        _say(out, f"wrote {shown(given.save_style)}")
    metadata = record([result.style], options.knobs(job.recipe, job.work.size))
    jobs.write(out, result.pixels, {"alpha": result.alpha, "origin": origin, "metadata": metadata}, given.output)
    if state:
        state.delete()


def _prepare(photograph: Picture, read: _Read, options: Options, state: StateFiles | None) -> Job:
    """The job to do, noted in the file `state.begun`.

    Stopped work must be the same, which the file of that time tells by the names of these arguments, and keeps what it
    had chosen for its `seconds`: the machine may be as fast as it was, or not. Without that file it is begun afresh.
    """
    if state is None:
        return prepare(photograph, read.styles, read.mask, options)
    before: dict[str, Any] = {}
    recipe = None
    if state.are_kept and files.stat_mode(state.begun, "out") is not None:
        data = files.read_input(state.begun, "out")
        with resume.reading(state.begun):
            before = json.loads(data.decode())
            recipe = Recipe(*before["recipe"]) if options.seconds is not None else None
    job = prepare(photograph, read.styles, read.mask, options, recipe)
    identity = {name: getattr(options, name) for name in _KEPT}
    identity |= {"quality": options.quality if options.seconds is None else None}
    identity |= {"style": [resume.digest(x) for x in job.paintings], "content": resume.digest(job.scaled)}
    if before:
        resume.check_same(state.begun, before["run"], identity)
    else:
        state.delete()
    files.write(state.begun, json.dumps({"run": identity, "recipe": job.recipe}).encode())
    return job
