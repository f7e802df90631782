"""The method of Gatys et al. (gatys.py) from files to a file: progress, pictures on the way, stop and continue."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from metastyle.errors import InputError, Stopped
from metastyle.evaluate.baselines import gatys
from metastyle.evaluate.baselines.gatys import MIN_SIDE, Settings, State
from metastyle.images import codec
from metastyle.images.codec import MAX_PIXELS, Picture
from metastyle.images.resize import resize_short, square
from metastyle.nets import vgg
from metastyle.system import compile_cache, files, resume
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
) -> None:
    """Writes the photograph in the style of the pictures.

    Args:
      content: the photograph: a path, PIL image or array (see images.load).
      styles: one picture of the style or several.
      out: the picture to write, of the photograph's size as it is worked on.
      settings: how to optimise.
      size: px that the photograph's shorter side is brought to; a smaller photograph is not enlarged.
      style_size: px, the side of the square that each style picture is brought to; by default `size`.
      every: iterations after which, each time, the picture is written beside `out` as STEM_0025.png, and the state as
        out.png.state. 0: no pictures, and a state only when asked to stop.
      weights: the loss network (vgg_files.load).
      max_pixels: larger pictures are refused.

    The same call continues stopped work from the state file, which is deleted when `out` is written.

    Raises InputError or FileNotFoundError for bad input before anything is written, InputError where the state file is
    another run's, FloatingPointError as `optimise`, and Stopped where SIGINT or SIGTERM asks to stop, after saving.
    """
    style_size = size if style_size is None else style_size
    for name, value, low in (("size", size, MIN_SIDE), ("style_size", style_size, MIN_SIDE), ("every", every, 0)):
        if value < low:
            raise InputError(f"`{name}`: expected at least {low}, got {value}")
    if not styles:
        raise InputError("`style`: expected at least one picture, got none")
    files.check_output(out, suffixes=codec.IMAGE_SUFFIXES, name="out")
    photograph, _ = codec.load(content, max_pixels=max_pixels)
    if min(photograph.shape[:2]) < MIN_SIDE:
        height, width = photograph.shape[:2]
        raise InputError(f"`content`: expected sides of at least {MIN_SIDE} px, got {width} x {height}")
    if min(photograph.shape[:2]) > size:
        photograph = resize_short(photograph, size)
    paintings = [square(codec.load(x, name="style", max_pixels=max_pixels)[0], style_size) for x in styles]
    params = vgg_files.load(weights)

    out = Path(out)
    state_file = resume.beside(out)
    identity = _identity(settings, photograph, paintings, params)
    compile_cache.enable_compile_cache()
    shapes = gatys.state_shapes(photograph.shape[:2], settings)
    saved = resume.read(state_file, identity, functools.partial(_state, shapes))
    start, end = saved.iteration if saved else 0, settings.iterations
    if start > end:
        raise InputError(f"`iterations`: the run that {state_file} continues has done {start}, got {end}; use no fewer")
    objective = gatys.objective(params, photograph, paintings, settings.loss)
    with StopSignal() as stop, tqdm(total=end, initial=start, unit="iteration") as bar:
        for state in gatys.optimise(objective, photograph, settings, saved):
            k = state.iteration
            bar.set_postfix_str(f"J {state.loss:.4f}", refresh=False)
            bar.update(k - bar.n)
            if k == end:
                break
            due = every and k % every == 0 and k > start
            if due:
                codec.save(out.with_name(f"{out.stem}_{k:04d}{out.suffix}"), np.asarray(state.picture), name="out")
            if due or stop.requested:
                resume.write(state_file, identity, _tensors(state))
            if stop.requested:
                raise Stopped(f"stopped after iteration {k} of {end}; the same line continues")
    codec.save(out, np.asarray(state.picture), name="out")
    state_file.unlink(missing_ok=True)
    print(f"wrote {out}: J {state.loss:.4f} after {end} iterations", flush=True)


def _identity(settings: Settings, photograph: np.ndarray, paintings: list[np.ndarray], params: vgg.Params) -> dict:
    """What a run that is continued must have in common with the one before, under the names of the flags."""
    loss = dataclasses.asdict(settings.loss)
    weights = {f"{name}_weight": loss.pop(name) for name in ("content", "style", "tv")}
    return {
        "size": list(photograph.shape[:2]),
        "style_size": paintings[0].shape[0],
        "content": resume.digest(photograph),
        "style": [resume.digest(painting) for painting in paintings],
        "vgg": resume.digest(*jax.tree.leaves(params)),
        **{name: getattr(settings, name) for name in ("optimizer", "lr", "start", "seed")},
        **weights,
        **loss,
    }


def _tensors(state: State) -> resume.Tensors:
    return {str(i): np.asarray(x) for i, x in enumerate(jax.tree.leaves(state))}


def _state(shapes: State, tensors: resume.Tensors) -> State:
    leaves, structure = jax.tree.flatten(shapes)
    saved = [tensors[str(i)] for i in range(len(leaves))]
    if [x.shape for x in saved] != [x.shape for x in leaves]:
        raise ValueError("other shapes")
    state = jax.tree.unflatten(structure, map(jnp.asarray, saved))
    return state._replace(iteration=int(state.iteration), loss=float(state.loss), converged=bool(state.converged))
