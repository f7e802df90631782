"""The live view of an adaptation: an animation of a photograph as it changes, beside the loss so far."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from metastyle.errors import Adjusted
from metastyle.images import codec
from metastyle.nets import architecture
from metastyle.stylize.style import Style
from metastyle.system import files
from metastyle.system.optional import need

SUFFIXES = frozenset({".gif", ".webp"})
MAX_FRAMES = 60

_MAX_WIDTH, _MAX_HEIGHT = 512, 768  # px, of the picture in a frame
_MIN_PANEL_BESIDE, _MIN_PANEL_BELOW = (416, 288), (384, 240)  # px, (width, height) of the panel with the curve
_PLAY_MS, _HOLD_MS = 6000, 2000  # the time for all frames but the last, and that for the last
_MAX_FRAME_MS, _MIN_FRAME_MS = 400, 60
_HEADER = 36  # px above the curve, for the step and its loss
_SCALE = 2  # Pillow's lines are jagged, so the panel is drawn this many times larger and reduced
_CURVE_COLOUR, _DOT_COLOUR, _TEXT_COLOUR = "#0072B2", "#D55E00", "#222222"
_ENCODING: dict[str, dict[str, int]] = {".gif": {}, ".webp": {"quality": 85, "method": 2}}


class Preview:
    """Records one adaptation: pass `add` to `Stylizer.adapt` as `on_style`, and call `write` at the end."""

    def __init__(
        self,
        photograph: codec.Picture,
        out: str | os.PathLike,
        steps: int,
        *,
        inputs: Collection[codec.Picture] = (),
        min_side: int = architecture.MIN_SIDE,
        max_pixels: int = codec.MAX_PIXELS,
    ):
        """Reads the photograph and checks that the animation can be written.

        Args:
          photograph: as for `codec.load`; it is shown at the size of `shrink`.
          out: the file of the animation.
          steps: the largest number of steps that the adaptation may take.
          inputs: other pictures that the adaptation reads; `out` may replace none of them.
          min_side: px, the least side of a picture that the style's network takes.
          max_pixels: a larger photograph is refused.

        Raises:
          FileNotFoundError, InputError: as `check` and `codec.load`, or the shrunk photograph is too small to stylise.
        """
        check(out, inputs=(photograph, *inputs))
        self.out = Path(out)
        self._photograph = shrink(codec.load(photograph, name="preview", max_pixels=max_pixels)[0])
        architecture.check_size(*self._photograph.shape[:2], least=min_side, name="preview")
        self._shown_steps = choose_steps(steps)
        self._frames: dict[int, np.ndarray] = {}

    def add(self, style: Style) -> None:
        """Adds a frame if its number of steps is one of `choose_steps`."""
        if len(style.history) in self._shown_steps:
            self._frames[len(style.history)] = style.stylize(self._photograph)

    def write(self, style: Style) -> None:
        """Writes the animation. Its last frame shows `style`, even if the adaptation ended before all steps.

        Warns (errors.Adjusted) if the frames begin later than step 0, because the adaptation continued earlier work.
        """
        if len(style.history) not in self._frames:
            self._frames[len(style.history)] = style.stylize(self._photograph)
        if first := min(self._frames):
            message = f"`preview`: {self.out} begins after step {first}, where the work was continued"
            warnings.warn(message, Adjusted, stacklevel=2)
        write(self.out, self._frames, style.history)


class _Panel(NamedTuple):
    empty: Image.Image  # the axes without a curve, `_SCALE` times as large
    points: list[tuple[float, float]]  # px in `empty`, one point for each loss


def default_file(out: str | os.PathLike) -> Path:
    """The default file of the animation, beside the style file `out`."""
    return Path(out).with_suffix(".preview.webp")  # church.webp may be the painting that church.safetensors is of


def choose_steps(steps: int, max_frames: int = MAX_FRAMES) -> set[int]:
    """Chooses the numbers of steps that get a frame: evenly spread over 0 ... steps, both ends included.

    max_frames: at most this many are chosen; 2 or more.
    """
    count = min(max_frames, steps + 1)
    return {i * steps // max(count - 1, 1) for i in range(count)}


def shrink(picture: np.ndarray) -> np.ndarray:
    """Reduces a picture to the size of a frame, uint8 [h, w, 3], at most 512 px wide and 768 px high.

    A smaller picture keeps its size. `write` does this to every frame; callers that do it earlier save memory.

    Args:
      picture: [H, W, 3], uint8 or floats in [0, 1].
    """
    image = Image.fromarray(picture if picture.dtype == np.uint8 else codec.to_uint8(picture))
    scale = min(_MAX_WIDTH / image.width, _MAX_HEIGHT / image.height)
    if scale < 1:
        size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(image)


def check(path: str | os.PathLike, *, name: str = "preview_out", inputs: Collection[codec.Picture] = ()) -> None:
    """Checks before the work that `write` can write to `path` after it, and replaces none of `inputs`.

    Raises:
      FileNotFoundError, InputError: as `files.check_output` for the suffixes SUFFIXES.
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
    """Writes an animation that repeats for ever, as GIF or WebP by the suffix of `path`; the file is whole or absent.

    A frame shows the picture after k steps and the curve of the losses up to there, with a dot at its end. The axes are
    the same in all frames; that of the losses is logarithmic if the least loss is positive and the largest is over 5
    times as large. The last frame is held for 2 s, and the frames before it take 6 s, but at least 60 ms and at most
    400 ms each. The panel with the curve lies below a picture that is wider than high, and beside any other. GIF has
    256 colours a frame, and its files are several times as large as those of WebP.

    Args:
      path: the file, replaced if it exists; its folder must exist.
      frames: by the number of steps taken, pictures [H, W, 3] of one shape, uint8 or floats in [0, 1].
      losses: losses[k] is that of the picture after k steps. The last picture may have no loss: an adaptation knows the
        loss before each step only.
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
    layout = _lay_out(height, width)
    panel = _draw_axes(layout.panel_size, steps[-1], losses)
    drawn = []
    for step in steps:
        frame = Image.new("RGB", layout.frame_size, "white")
        frame.paste(Image.fromarray(shrink(frames[step])), layout.picture_at)
        frame.paste(_draw_curve(panel, step, steps[-1], losses), layout.panel_at)
        drawn.append(frame)
    files.write(path, _encode(drawn, os.path.splitext(path)[1].lower()), name=name)


def _encode(frames: list[Image.Image], suffix: str) -> bytes:
    if suffix == ".gif":
        # Pillow's default, the median cut, takes half a second a frame, and dithering makes the pictures flicker.
        frames = [frame.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE) for frame in frames]
    frame_ms = min(max(_PLAY_MS // len(frames), _MIN_FRAME_MS), _MAX_FRAME_MS) // 10 * 10  # GIF counts in 10 ms
    durations = [*[frame_ms] * (len(frames) - 1), _HOLD_MS]
    file = io.BytesIO()
    frames[0].save(
        file,
        suffix[1:],
        save_all=True,
        append_images=frames[1:],
        loop=0,
        duration=durations,
        **_ENCODING[suffix],
    )
    return file.getvalue()


class _Layout(NamedTuple):
    """Sizes (width, height) and positions (left, top) in a frame, px."""

    frame_size: tuple[int, int]
    picture_at: tuple[int, int]
    panel_at: tuple[int, int]
    panel_size: tuple[int, int]


def _lay_out(height: int, width: int) -> _Layout:
    """Lays out a frame for a picture of this size."""
    if width > height:
        panel = max(width, _MIN_PANEL_BELOW[0]), _MIN_PANEL_BELOW[1]
        return _Layout((panel[0], height + panel[1]), ((panel[0] - width) // 2, 0), (0, height), panel)
    panel = _MIN_PANEL_BESIDE[0], max(height, _MIN_PANEL_BESIDE[1])
    return _Layout((width + panel[0], panel[1]), (0, (panel[1] - height) // 2), (width, 0), panel)


def _draw_axes(size: tuple[int, int], steps: int, losses: Sequence[float]) -> _Panel:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    width, height = size
    layout = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - _HEADER / height), w_pad=0.12, h_pad=0.08)
    figure = Figure(figsize=(width / 100, height / 100), dpi=100 * _SCALE, layout=layout)
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
    axes.grid(color="#c8ced4", linewidth=0.72)  # 1 px wide; a GIF would lose parts of a lighter line
    axes.spines[["top", "right"]].set_visible(False)
    canvas.draw()
    empty = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    points = axes.transData.transform([*enumerate(losses)]).tolist() if losses else []
    return _Panel(empty, [(x, empty.height - y) for x, y in points])


def _draw_curve(panel: _Panel, step: int, steps: int, losses: Sequence[float]) -> Image.Image:
    image = panel.empty.copy()
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(15 * _SCALE)
    top, edge = 20 * _SCALE, 16 * _SCALE
    draw.text((edge, top), f"step {step} of {steps}", fill=_TEXT_COLOUR, font=font, anchor="lm")
    if losses:
        last = min(step, len(losses) - 1)
        at = "" if last == step else f" at step {last}"
        draw.text((image.width - edge, top), f"loss {losses[last]:.4g}{at}", fill=_DOT_COLOUR, font=font, anchor="rm")
        draw.line(panel.points[: last + 1], fill=_CURVE_COLOUR, width=2 * _SCALE, joint="curve")
        draw.circle(panel.points[last], 5 * _SCALE, fill=_DOT_COLOUR, outline="white", width=_SCALE)
    return image.reduce(_SCALE)
