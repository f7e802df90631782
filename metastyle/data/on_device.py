"""Tasks whose crops an accelerator cuts itself, from pictures that it holds, where a host is too slow for it.

The host only names a task: {"draw": i32[2]}, the step and the task's index. In the step, `draw` makes the task of it, a
pure function of (`run.seed`, step, index) as in tasks.py. Four things differ from there: crops are upright, synthetic
styles come from a fixed number of pictures, colours of a recoloured style that are out of gamut are clipped, and
pictures are cut to at most 1.5 times their short side.
"""

import functools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from metastyle.config import Config
from metastyle.data.augment import collage
from metastyle.data.sources import Source
from metastyle.data.tasks import TaskSampler
from metastyle.errors import InputError
from metastyle.images import codec, color
from metastyle.images.resize import resize_short
from metastyle.system import memory

BANK = 256  # synthetic styles, where `data.procedural_styles` asks for any
_ASPECT = 1.5  # longer pictures are cut, because all pictures are held in squares
_SHARE = 0.5  # the share of the accelerator's free memory that pictures may take


class Held(NamedTuple):
    """Pictures that an accelerator holds.

    pixels: u8[N, L, L, 3], each picture in the upper left corner of a square, with its edge repeated beyond. size:
    i32[N, 2], height and width of the pictures.
    """

    pixels: jax.Array | np.ndarray
    size: jax.Array | np.ndarray


Pictures = dict[str, Held]  # "content", "style" and perhaps "procedural"


class DeviceSampler:
    """The sources of a TaskSampler, read once.

    pictures: "content", "style" and, where `data.procedural_styles` asks for it, "procedural", numpy arrays. Pictures
    are reduced to what the largest zoom needs, and never enlarged.
    """

    def __init__(self, settings: Config):
        """Raises as TaskSampler does, and InputError, naming `data.on_device`, where pictures take too much memory."""
        data, sources = settings.data, TaskSampler(settings)
        side = math.ceil(data.size * data.zoom)
        opened: dict[str, tuple[Source, int]] = {
            "content": (sources.content, len(sources.content)),
            "style": (sources.style, len(sources.style)),
        }
        if data.procedural_styles:
            opened["procedural"] = sources.procedural, BANK
        _check_memory(sum(count for _, count in opened.values()) * math.ceil(side * _ASPECT) ** 2 * 3)
        with ThreadPoolExecutor(data.threads) as pool:
            self.pictures = {name: _read(pool, *counted, side, name) for name, counted in opened.items()}

    def task(self, step: int, index: int) -> dict[str, np.ndarray]:
        """Names task `index` of outer step `step`, which `draw` makes."""
        return {"draw": np.array([step, index], np.int32)}


def draw(settings: Config, place: jax.Array, pictures: Pictures) -> dict[str, jax.Array]:
    """The task of `place`, i32[2], with the shapes that TaskSampler gives."""
    data, inner = settings.data, settings.inner
    key = functools.reduce(jax.random.fold_in, place, jax.random.key(settings.run.seed))
    keys = jax.random.split(key, 8)
    more = jax.random.split(jax.random.fold_in(key, 1), 4)
    turning, choosing = (jax.random.split(jax.random.fold_in(key, n), 2) for n in (2, 3))
    support = (inner.steps, inner.support)
    count = math.prod(support) + settings.outer.query
    # The places of the largest of N random numbers, so that no photograph comes twice.
    _, photographs = jax.lax.top_k(jax.random.uniform(keys[0], pictures["content"].pixels.shape[:1]), count)

    def one_of(key, kind):
        return jax.random.randint(key, (), 0, pictures[kind].pixels.shape[0])

    def crops(key, kind, which, flip, zoom=data.zoom):
        pixels, size = pictures[kind]
        cut = jax.vmap(lambda key, i: crop(key, pixels[i], size[i], data.size, zoom, flip))
        return cut(jax.random.split(key, len(which)), which)

    several = lambda i: jnp.full(data.shots, i)
    style = crops(keys[2], "style", several(one_of(keys[1], "style")), data.flip_style)
    if data.photograph_styles:
        photograph = crops(keys[2], "content", several(one_of(choosing[0], "content")), data.flip_style)
        style = jnp.where(jax.random.uniform(choosing[1]) < data.photograph_styles, photograph, style)
    if data.procedural_styles:
        synthetic = crops(keys[2], "procedural", several(one_of(keys[1], "procedural")), data.flip_style)
        style = jnp.where(jax.random.uniform(keys[3]) < data.procedural_styles, synthetic, style)
    if data.quarter_turns:
        turned = jnp.stack([jnp.rot90(style, quarters, (-3, -2)) for quarters in (1, 2, 3)])
        turned = turned[jax.random.randint(turning[0], (), 0, 3)]
        style = jnp.where(jax.random.uniform(turning[1]) < data.quarter_turns, turned, style)
    if data.recolor:
        other = crops(keys[5], "style", one_of(keys[4], "style")[None], flip=False, zoom=1.0)[0]
        style = jnp.where(jax.random.uniform(keys[6]) < data.recolor, recolored(style, other), style)
    if data.collage:
        other = crops(more[0], "style", one_of(more[1], "style")[None], flip=False)[0]
        turn, at = jax.random.uniform(more[2], (2,))
        cut = collage(style, other, turn, at, jnp)
        style = jnp.where(jax.random.uniform(more[3]) < data.collage, cut, style)
    contents = crops(keys[7], "content", photographs, flip=True)
    first, last = contents[: math.prod(support)], contents[math.prod(support) :]
    return {"style": style, "support": first.reshape(*support, *first.shape[1:]), "query": last}


def crop(
    key: jax.Array,
    pixels: jax.Array | np.ndarray,
    size: jax.Array | np.ndarray,
    out: int,
    zoom: float,
    flip: bool,
) -> jax.Array:
    """A random crop, f32[out, out, 3] in [0, 1], of a picture at a random scale, as by augment.py without a turn.

    pixels: u8[L, L, 3]. The picture is its upper left corner, of `size` (height and width).
    """
    scale, x, y, mirror = jax.random.uniform(key, (4,))
    height, width = size.astype(jnp.float32)
    side = jnp.minimum(height, width) / (1 + (zoom - 1) * scale)
    gain, corner = out / side, jnp.stack([y * (height - side), x * (width - side)])
    image = jax.image.scale_and_translate(
        pixels.astype(jnp.float32), (out, out, 3), (0, 1), jnp.stack([gain, gain]), -corner * gain, "lanczos3"
    )
    image = jnp.clip(image / 255, 0, 1)
    return jnp.where(mirror < 0.5, image[:, ::-1], image) if flip else image


def recolored(picture: jax.Array, like: jax.Array) -> jax.Array:
    """`color.recolor` on an accelerator, f32[..., 3]; colours out of gamut are clipped."""
    mixed = lambda x, matrix: jnp.einsum("...i,ji->...j", x, jnp.float32(matrix), precision="highest")
    lab, goal = (
        mixed(jnp.cbrt(mixed(color.decode(x, jnp), color.TO_CONES)), color.TO_LAB).reshape(-1, 3)
        for x in (picture, like)
    )
    gain = jnp.minimum(goal.std(0) / jnp.maximum(lab.std(0), 1e-6), color.MAX_GAIN)
    moved = (lab - lab.mean(0)) * gain + goal.mean(0)
    linear = jnp.clip(mixed(mixed(moved, color.FROM_LAB) ** 3, color.FROM_CONES), 0, 1)
    return color.encode(linear, jnp).reshape(picture.shape)


def _read(pool: ThreadPoolExecutor, source: Source, count: int, side: int, name: str) -> Held:
    read = pool.map(lambda i: _reduced(source[i], side), range(count))
    pictures = list(tqdm(read, f"reading {name}", count, leave=False, unit="picture"))
    square = max(max(picture.shape) for picture in pictures)
    pixels = np.zeros((count, square, square, 3), np.uint8)
    for squared, picture in zip(pixels, pictures, strict=True):
        height, width = picture.shape[:2]
        squared[:] = np.pad(picture, ((0, square - height), (0, square - width), (0, 0)), "edge")
    return Held(pixels, np.array([picture.shape[:2] for picture in pictures], np.int32))


def _reduced(picture: np.ndarray, side: int) -> np.ndarray:
    """u8[H, W, 3] with both ends of its long side cut to `_ASPECT` times the short one, which is at most `side`."""
    height, width = picture.shape[:2]
    short = min(height, width)
    rows, columns = (min(length, math.floor(short * _ASPECT)) for length in (height, width))
    top, left = (height - rows) // 2, (width - columns) // 2
    cut = picture[top : top + rows, left : left + columns]
    return cut if short <= side else codec.to_uint8(resize_short(cut.astype(np.float32) / 255, side))


def _check_memory(needed: int) -> None:
    device = memory.free_on_device()
    free = memory.free() if device is None else device
    if needed > _SHARE * free:
        raise InputError(
            f"`data.on_device`: expected pictures that take at most {_SHARE:.0%} of the {free / 2**30:.1f} GiB that "
            f"are free, got {needed / 2**30:.1f} GiB of them; use fewer, or set it to False"
        )
