"""Stylises a photograph by optimising its pixels, the method of Gatys, Ecker and Bethge (2016).

python -m experiments.gatys --content=photo.jpg --style=painting.jpg --out=out.png

The same line again continues a stopped run.
"""

from absl import flags

from metastyle.cli.app import run
from metastyle.cli.lists import define_names
from metastyle.evaluate.baselines.gatys import Settings
from metastyle.evaluate.baselines.gatys_files import stylize_file
from metastyle.images import picture_names
from metastyle.images.codec import MAX_PIXELS

_CONTENT = flags.DEFINE_string("content", None, "the photograph", required=True)
_STYLE = define_names("style", "one picture of the style, or several", required=True)
_OUT = flags.DEFINE_string("out", None, "picture to write, in the format that its suffix names", required=True)
_SIZE = flags.DEFINE_integer("size", 512, "px of the photograph's shorter side; it is never enlarged")
_STYLE_SIZE = flags.DEFINE_integer(
    "style_size", None, "px, the side of the square that the style is brought to; by default --size"
)
_ITERATIONS = flags.DEFINE_integer("iterations", Settings.iterations, "how many iterations to do")
_OPTIMIZER = flags.DEFINE_enum("optimizer", Settings.optimizer, ["lbfgs", "adam"], "the optimiser of the pixels")
_LR = flags.DEFINE_float("lr", Settings.lr, "learning rate of Adam; L-BFGS has none")
_START = flags.DEFINE_enum("start", Settings.start, ["photograph", "noise"], "the picture to start from")
_SEED = flags.DEFINE_integer("seed", Settings.seed, "seed of the noise, where it is the start")
_WEIGHTS = {
    name: flags.DEFINE_float(f"{name}_weight", getattr(Settings.loss, name), f"weight of the {what}", lower_bound=0)
    for name, what in {"content": "content", "style": "style", "tv": "total variation"}.items()
}
_EVERY = flags.DEFINE_integer(
    "every", 25, "iterations between the pictures and states that are saved on the way; 0: none"
)
_VGG = flags.DEFINE_string("vgg", "vgg16", "loss network: vgg16, slim, or a file")
_MAX_PIXELS = flags.DEFINE_integer("max_pixels", MAX_PIXELS, "larger pictures are refused")
_KEEP_EXIF = flags.DEFINE_boolean("keep_exif", False, "copies the photograph's EXIF: date, camera, place, artist")


def main(_: list[str]) -> None:
    weights = {name: flag.value for name, flag in _WEIGHTS.items()}
    settings = Settings(
        iterations=_ITERATIONS.value,
        optimizer=_OPTIMIZER.value,
        lr=_LR.value,
        start=_START.value,
        seed=_SEED.value,
        loss=type(Settings.loss)(**weights),
    )
    styles = picture_names.expand(_STYLE.value, "style")
    picture_names.check_standard_input({"content": [_CONTENT.value], "style": styles})
    stylize_file(
        picture_names.read(_CONTENT.value, "content"),
        [picture_names.read(name, "style") for name in styles],
        _OUT.value,
        settings,
        size=_SIZE.value,
        style_size=_STYLE_SIZE.value,
        every=_EVERY.value,
        weights=_VGG.value,
        max_pixels=_MAX_PIXELS.value,
        keep_exif=_KEEP_EXIF.value,
    )


if __name__ == "__main__":
    run(main)
