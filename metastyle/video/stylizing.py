"""A clip in a style, without flicker: `metastyle.stylize_video`, and what `metastyle video` does.

    style = metastyle.load().adapt("painting.jpg", support="clip.mp4", phases=4)
    report = metastyle.stylize_video("clip.mp4", "out.mp4", style)

Frames are read, stylised as the mean over phases (`Knobs`), steadied (video/stability.py) and encoded one by one, so
the memory does not grow with the clip. What is done is kept in segments beside the output (video/writing.py); after a
stop or a kill, the same call goes on from the last one, and the output has the same bytes.
"""

import os
from collections.abc import Callable, Sequence
from fractions import Fraction

from metastyle.config import STABILITY
from metastyle.errors import InputError
from metastyle.images import clips, codec
from metastyle.images.codec import Picture
from metastyle.nets import architecture
from metastyle.stylize.style import Style, check_scaled
from metastyle.system import files
from metastyle.system.arguments import check_number
from metastyle.video import writing
from metastyle.video.frames import Options, scaled_size
from metastyle.video.job import Job, Progress, VideoReport
from metastyle.video.look import Look, Weights, region
from metastyle.video.writing import Output


def stylize_video(
    video: str | os.PathLike,
    out: str | os.PathLike,
    style: Style | Sequence[Style],
    *,
    weights: Weights | None = None,
    mask: Picture | None = None,
    stability: float = STABILITY,
    phases: int = 4,
    strength: float = 1.0,
    color: str = "style",
    size: int | None = None,
    start: float = 0.0,
    end: float | None = None,
    fps: float = 25.0,
    feather: float | None = None,
    seed: int = 0,
    backend: str = "auto",
    audio: bool = True,
    crf: int | None = None,
    on_frame: Callable[[Progress], None] | None = None,
) -> VideoReport:
    """Writes a clip in a style.

    Args:
      video: a video file of any kind that FFmpeg reads, or a folder of numbered pictures.
      out: .mp4, .mov, .mkv, .webm, .gif or .webp; any other name is a folder for numbered pictures.
      style: one style, or several of one bundle that `weights` mixes.
      weights: pairs of a time in seconds and the weights of the styles then, interpolated between.
      mask: a picture or a clip, white where the style goes, black where the frame stays, grey in between.
      stability: from 0 to 1; 0 stylises frame by frame, and more lets each frame follow the one before.
      phases: 1, 4 or 16 (`Knobs`); 1 is faster and flickers where things move.
      strength, color, feather, seed: as for `Style.stylize`.
      size: px, the shorter side of the output; by default that of the clip.
      start, end: seconds; what lies between them is written.
      fps: frames a second, of a folder of pictures.
      backend: "jax", "onnx" or "onnx-int8"; "auto" takes onnxruntime on CPUs, where it is installed.
      audio: whether the sound is copied; where the format of `out` does not take it, it is encoded again.
      crf: the encoder's constant rate factor, smaller is better; by default 18 for H.264, 24 for VP9.
      on_frame: is called after each frame.

    Frames keep their times, and H.264 gets an even width and height by repeating the last column and row. After a kill
    the same call continues. Needs PyAV and OpenCV: pip install "metastyle[video]".

    Raises InputError or FileNotFoundError, in one line, for bad input.
    """
    options = Options(stability, start, end, phases, strength, color, size, feather, seed, backend, codec.MAX_PIXELS)
    styles = (style,) if isinstance(style, Style) else tuple(style)
    job = prepare(video, Look(styles, weights, mask), Output(os.fspath(out), crf, audio), options, fps)
    return job.run(on_frame)


def prepare(video: str | os.PathLike, look: Look, output: Output, options: Options, fps: float = 25.0) -> Job:
    """Reads the beginning of a clip, and checks everything that can be checked.

    Raises InputError or FileNotFoundError for bad input.
    """
    look.check()
    check_number("fps", fps, 1e-3)
    clip = clips.describe(video, fps=Fraction(fps).limit_denominator(1001))
    if clip.seconds and options.start >= clip.seconds:
        raise InputError(
            f"`start`: expected less than the length of the clip, {clip.seconds:.2f} s, got {options.start:g}"
        )
    if options.size is not None:
        check_scaled(clip.size, options.size, options.max_pixels, "size")
    size = scaled_size(clip.size, options.size)
    architecture.check_size(*size, least=max(architecture.parse(x.config.generator.arch).min_side for x in look.styles))
    region(look.mask, size, options.feather, options.max_pixels)
    if not output.is_folder:
        files.check_output(output.path, suffixes=writing.SUFFIXES, name="out", inputs=(video, look.mask))
    else:
        files.check_new_folder(output.path, "out")
    return Job(clip, look, output, options, size)
