"""The live view of an adaptation: an animation of a photograph as it changes, beside the loss so far."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from metastyle.errors import Adjusted
from metastyle.images import codec
from metastyle.nets import architecture
from metastyle.system import files
from metastyle.system.optional import need

SUFFIXES = frozenset({".gif", ".webp"})
MOST = 60  # frames, unless asked otherwise

_WIDEST, _HIGHEST = 512, 768  # px, of the picture in a frame
_BESIDE, _BELOW = (416, 288), (384, 240)  # px, the least size of the panel with the curve
_PLAYED, _HELD = 6000, 2000  # ms: all frames but the last, and the last
_SLOWEST, _FASTEST = 400, 60  # ms a frame
_HEADER = 36  # px above the curve, for the step and its loss
_FINE = 2  # the panel is drawn so many times larger and reduced, since Pillow's lines are jagged
_DONE, _NOW, _TEXT = "#0072B2", "#D55E00", "#222222"
_ENCODING = {".gif": {}, ".webp": {"quality": 85, "method": 2}}


class _Style(Protocol):
    """What of a style a preview needs: `style.Style`, which is far above."""

    history: tuple[float, ...]

    def stylize(self, photograph: np.ndarray) -> np.ndarray: ...


class Preview:
    """The view of one adaptation: its `add` goes to `Stylizer.adapt` as `on_style`, its `write` ends it."""

    def __init__(
        self,
        photograph: codec.Picture,
        out: str | os.PathLike,
        steps: int,
        *,
        inputs: Collection[codec.Picture] = (),
        max_pixels: int = codec.MAX_PIXELS,
    ):
        """photograph: shown at the size of `shrink`; see `images.load`. steps: the most that there may be. inputs:
        other pictures that are worked from; `out` may replace none of them.

        Raises FileNotFoundError or InputError as `check` and `images.load` do, and where it is too small, so shown.
        """
        check(out, inputs=(photograph, *inputs))
        self.out = Path(out)
        self._photograph = shrink(codec.load(photograph, name="preview", max_pixels=max_pixels)[0])
        architecture.check_size(*self._photograph.shape[:2], name="preview")
        self._chosen, self._frames = chosen(steps), {}

    def add(self, style: _Style) -> None:
        """Takes a frame, if this number of steps is one of `chosen`."""
        if len(style.history) in self._chosen:
            self._frames[len(style.history)] = style.stylize(self._photograph)

    def write(self, style: _Style) -> None:
        """Writes the animation; `style`, the one adapted, has the last frame, also where it ended before its time."""
        if len(style.history) not in self._frames:
            self._frames[len(style.history)] = style.stylize(self._photograph)
        if first := min(self._frames):
            told = f"`preview`: {self.out} begins after step {first}, where the work was continued"
            warnings.warn(told, Adjusted, stacklevel=2)
        write(self.out, self._frames, style.history)


class _Panel(NamedTuple):
    empty: Image.Image  # the axes without a curve, `_FINE` times as large
    points: list[tuple[float, float]]  # where the losses are in it


def beside(out: str | os.PathLike) -> Path:
    """Where the animation of the adaptation to the style file `out` goes, unless asked otherwise."""
    return Path(out).with_suffix(".preview.webp")  # church.webp may be the painting that church.safetensors is of


def chosen(steps: int, most: int = MOST) -> set[int]:
    """After which numbers of steps a picture gets a frame: at most `most` of 0 ... steps, evenly, both ends included.

    most: 2 or more.
    """
    count = min(most, steps + 1)
    return {i * steps // max(count - 1, 1) for i in range(count)}


def shrink(picture: np.ndarray) -> np.ndarray:
    """A picture as frames show it: uint8 [h, w, 3], at most 512 px wide and 768 high; never enlarged.

    `write` does it to every frame; done as soon as a picture is there, frames take little memory.

    Args:
      picture: [H, W, 3], uint8 or floats in [0, 1].
    """
    image = Image.fromarray(picture if picture.dtype == np.uint8 else codec.to_uint8(picture))
    scale = min(_WIDEST / image.width, _HIGHEST / image.height)
    if scale < 1:
        size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(image)


def check(path: str | os.PathLike, *, name: str = "preview_out", inputs: Collection[codec.Picture] = ()) -> None:
    """Raises now, before the work, if `write` couldn't write to `path` after it, or would replace one of `inputs`.

    Raises:
      FileNotFoundError, InputError: as `images.check_output` for the suffixes SUFFIXES.
      InputError: matplotlib is not installed.
    """
    files.check_output(path, suffixes=SUFFIXES, name=name, inputs=inputs)
    need("matplotlib.figure", f"`{name}`")


def write(
    path: str | os.PathLike,
    frames: Mapping[int, np.ndarray],
    losses: Sequence[float],
    *,
    name: str = "preview_out",
) -> None:
    """Writes the animation, GIF or WebP by the suffix, all of it or nothing; it plays for ever.

    A frame has the picture after k steps, and the curve of the losses up to there with a dot at its end, on axes that
    are the same in all frames. The losses' axis is logarithmic where the largest is over 5 times the least and that is
    positive. Up to the last frame, which is held for 2 s, the frames take 6 s, yet no less than 60 ms and no more than
    400 ms each. They are laid out by the picture's shape: a panel for the curve below a landscape, else beside it. GIF
    has 256 colours a frame, and takes several times the room of WebP.

    Args:
      path: the file, replaced if it exists; its folder must exist.
      frames: by the number of steps taken, pictures [H, W, 3] of one shape, uint8 or floats in [0, 1].
      losses: losses[k] is that of the picture after k steps; it may end before the last picture, as that of
        `adapt.adapt`, whose losses are those before each step.
      name: the argument that errors name.

    Raises:
      FileNotFoundError, InputError: as `check`, or where the file can't be written.
      ValueError: no frames, or frames of different shapes.
    """
    check(path, name=name)
    shapes = {picture.shape for picture in frames.values()}
    if len(shapes) != 1:
        raise ValueError(f"`frames`: expected pictures of one shape, got {sorted(shapes) or 'none'}")
    steps, losses = sorted(frames), [float(loss) for loss in losses]
    height, width = shrink(frames[steps[0]]).shape[:2]
    canvas, picture_at, panel_at, panel_size = _layout(height, width)
    panel = _panel(panel_size, steps[-1], losses)
    drawn = []
    for step in steps:
        frame = Image.new("RGB", canvas, "white")
        frame.paste(Image.fromarray(shrink(frames[step])), picture_at)
        frame.paste(_curve(panel, step, steps[-1], losses), panel_at)
        drawn.append(frame)
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".gif":
        # Pillow's own way, the median cut, takes half a second a frame, and dithering makes the pictures swarm.
        drawn = [frame.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE) for frame in drawn]
    pace = min(max(_PLAYED // len(drawn), _FASTEST), _SLOWEST) // 10 * 10  # GIF counts in 10 ms
    options = {"save_all": True, "append_images": drawn[1:], "loop": 0, **_ENCODING[suffix]}
    file = io.BytesIO()
    drawn[0].save(file, suffix[1:], duration=[*[pace] * (len(drawn) - 1), _HELD], **options)
    files.write(path, file.getvalue(), name=name)


def _layout(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """The size of a frame, where its picture is, where its panel, and that one's size; all as (across, down)."""
    if width > height:
        panel = max(width, _BELOW[0]), _BELOW[1]
        return (panel[0], height + panel[1]), ((panel[0] - width) // 2, 0), (0, height), panel
    panel = _BESIDE[0], max(height, _BESIDE[1])
    return (width + panel[0], panel[1]), (0, (panel[1] - height) // 2), (width, 0), panel


def _panel(size: tuple[int, int], steps: int, losses: Sequence[float]) -> _Panel:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    width, height = size
    figure = Figure(figsize=(width / 100, height / 100), dpi=100 * _FINE, layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - _HEADER / height), w_pad=0.12, h_pad=0.08)
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    low, high = (min(losses), max(losses)) if losses else (0.0, 1.0)
    if 0 < low < high / 5:
        margin = (high / low) ** 0.05
        axes.set(yscale="log", ylim=(low / margin, high * margin))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        margin = 0.05 * (high - low or abs(high) or 1.0)
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.set(xlim=(0, max(steps, 1)), xlabel="gradient steps", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.grid(color="#c8ced4", linewidth=0.72)  # 1 px; any lighter, a GIF would lose parts of it
    axes.spines[["top", "right"]].set_visible(False)
    canvas.draw()
    empty = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    points = axes.transData.transform([*enumerate(losses)]).tolist() if losses else []
    return _Panel(empty, [(x, empty.height - y) for x, y in points])


def _curve(panel: _Panel, step: int, steps: int, losses: Sequence[float]) -> Image.Image:
    image = panel.empty.copy()
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(15 * _FINE)
    top, edge = 20 * _FINE, 16 * _FINE
    draw.text((edge, top), f"step {step} of {steps}", fill=_TEXT, font=font, anchor="lm")
    if losses:
        last = min(step, len(losses) - 1)
        at = "" if last == step else f" at step {last}"
        draw.text((image.width - edge, top), f"loss {losses[last]:.4g}{at}", fill=_NOW, font=font, anchor="rm")
        draw.line(panel.points[: last + 1], fill=_DONE, width=2 * _FINE, joint="curve")
        draw.circle(panel.points[last], 5 * _FINE, fill=_NOW, outline="white", width=_FINE)
    return image.reduce(_FINE)
