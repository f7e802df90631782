"""The method of Gatys et al. (gatys.py) on picture files, with progress; the work can be stopped and continued."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from metastyle.config import LEAST_SEEN
from metastyle.errors import InputError, Stopped
from metastyle.evaluate.baselines import gatys
from metastyle.evaluate.baselines.gatys import Settings
from metastyle.images import codec
from metastyle.images.codec import MAX_PIXELS, Picture
from metastyle.images.resize import resize_short, square
from metastyle.nets import vgg
from metastyle.stylize import pixels
from metastyle.stylize.pixels import State
from metastyle.system import compile_cache, files, lock, resume
from metastyle.system.signals import StopSignal
from metastyle.weights import vgg_files


def stylize_file(
    content: Picture,
    styles: Sequence[Picture],
    out: str | os.PathLike,
    settings: Settings,
    *,
    size: int = 512,
    style_size: int | None = None,
    every: int = 25,
    weights: str | os.PathLike = "vgg16",
    max_pixels: int = MAX_PIXELS,
    keep_exif: bool = False,
) -> None:
    """Writes the photograph in the style of the pictures.

    Where the photograph is transparent, so is the output, which has its resolution (pixels per inch), too.

    Args:
      content: the photograph: a path, PIL image or array (see codec.load).
      styles: one or several pictures of the style.
      out: the picture to write. Its size is that at which the photograph is optimised.
      settings: how to optimise.
      size: the photograph is reduced until its shorter side has this many px; a smaller one stays as it is.
      style_size: px, the side of the square that each style picture is brought to; by default `size`.
      every: after each so many iterations, the picture is written beside `out` as STEM_0025.png, and the state as
        out.png.state. With 0, no pictures are written, and the state only when the work is asked to stop.
      weights: the loss network (vgg_files.load).
      max_pixels: pictures with more pixels are refused.
      keep_exif: whether the output gets the photograph's EXIF.

    The same call continues stopped work from the state file, which is deleted when `out` is written.

    Raises InputError or FileNotFoundError for bad input before anything is written, InputError if the state file
    belongs to another run, errors of pixels.optimise, and Stopped when SIGINT or SIGTERM asks to stop, after saving.
    """
    style_size = size if style_size is None else style_size
    for name, value, low in (("size", size, LEAST_SEEN), ("style_size", style_size, LEAST_SEEN), ("every", every, 0)):
        if value < low:
            raise InputError(f"`{name}`: expected at least {low}, got {value}")
    if not styles:
        raise InputError("`style`: expected at least one picture, got none")
    files.check_output(out, suffixes=codec.IMAGE_SUFFIXES, name="out")
    photograph, alpha = _load_photograph(content, size, max_pixels)
    kept = {"alpha": alpha, "origin": codec.read_origin(content, exif=keep_exif)}
    paintings = [square(codec.load(x, name="style", max_pixels=max_pixels)[0], style_size) for x in styles]
    params = vgg_files.load(weights)

    compile_cache.enable_compile_cache()
    output = _Output(Path(out), every, _identity(settings, size, photograph, paintings, params), kept)
    with lock.beside(out):
        saved = output.read_state(pixels.state_shapes(photograph.shape[:2], settings), settings.iterations)
        objective = gatys.objective(params, photograph, paintings, settings.loss)
        begun = gatys.init(objective, photograph, settings) if saved is None else saved
        state = _optimise(objective, settings, begun, output)
        output.save(output.path, state)
        output.state_file.unlink(missing_ok=True)
    print(f"wrote {out}: J {state.loss:.4f} after {settings.iterations} iterations", flush=True)


def _load_photograph(content: Picture, size: int, max_pixels: int) -> tuple[np.ndarray, np.ndarray | None]:
    photograph, alpha = codec.load(content, max_pixels=max_pixels)
    height, width = photograph.shape[:2]
    if min(height, width) < LEAST_SEEN:
        raise InputError(f"`content`: expected sides of at least {LEAST_SEEN} px, got {width} x {height}")
    if min(height, width) <= size:
        return photograph, alpha
    return resize_short(photograph, size), None if alpha is None else resize_short(alpha, size)


class _Output(NamedTuple):
    """The picture to write, and how its state is kept on the way."""

    path: Path
    every: int  # iterations between pictures and saved states on the way
    identity: dict[str, Any]  # what the state belongs to
    kept: dict[str, Any]  # of the photograph, as codec.save takes it

    def save(self, path: Path, state: State) -> None:
        """Writes the picture of a state."""
        codec.save(path, np.asarray(state.picture), **self.kept, name="out")

    @property
    def state_file(self) -> Path:
        return resume.beside(self.path)

    def read_state(self, shapes: State, end: int) -> State | None:
        """The saved state, None if there is none; InputError if it has done more iterations than `end`."""
        saved = resume.read(self.state_file, self.identity, functools.partial(pixels.from_tensors, shapes))
        if saved and saved.iteration > end:
            raise InputError(
                f"`iterations`: the run that {self.state_file} continues has done {saved.iteration}, got {end}; "
                "use no fewer"
            )
        return saved


def _optimise(objective: pixels.Objective, settings: Settings, begun: State, output: _Output) -> State:
    """Optimises up to the last iteration; shows the progress, and saves pictures and the state on the way."""
    state, start, end, out = begun, begun.iteration, settings.iterations, output.path
    with StopSignal() as stop, tqdm(total=end, initial=start, unit="iteration") as bar:
        for state in pixels.optimise(objective, settings, begun):
            k = state.iteration
            bar.set_postfix_str(f"J {state.loss:.4f}", refresh=False)
            bar.update(k - bar.n)
            if k == end:
                break
            due = output.every and k % output.every == 0 and k > start
            if due:
                output.save(out.with_name(f"{out.stem}_{k:04d}{out.suffix}"), state)
            if due or stop.requested:
                resume.write(output.state_file, output.identity, pixels.to_tensors(state))
            if stop.requested:
                raise Stopped(f"stopped after iteration {k} of {end}; the same line continues")
    return state


def _identity(
    settings: Settings, size: int, photograph: np.ndarray, paintings: list[np.ndarray], params: vgg.Params
) -> dict[str, Any]:
    """What must not change when a run is continued, under the names of the flags."""
    loss = dataclasses.asdict(settings.loss)
    weights = {f"{name}_weight": loss.pop(name) for name in ("content", "style", "tv")}
    return {
        "size": size,
        "style_size": paintings[0].shape[0],
        "content": resume.digest(photograph),
        "style": [resume.digest(painting) for painting in paintings],
        "vgg": resume.digest(*jax.tree.leaves(params)),
        **{name: getattr(settings, name) for name in ("optimizer", "lr", "start", "seed")},
        **weights,
        **loss,
    }
