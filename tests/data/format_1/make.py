"""Wrote the files in this folder, once: python tests/data/format_1/make.py

They stay as they are. Every later version must read them and make the same pictures of photograph.png: start.png with
the bundle's start, style.png with either style file. A new format_version gets a folder and a script of its own.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from metastyle import config
from metastyle.images import codec
from metastyle.images.resize import resize
from metastyle.meta import outer_loop
from metastyle.meta.parameters import Meta
from metastyle.stylize.stylizer import Stylizer, load_style
from metastyle.weights import bundles

FOLDER = Path(__file__).parent
SETTINGS = config.from_dict(
    {
        "data": {"content": "procedural", "style": "procedural", "size": 16},
        "generator": {"arch": "s4,c3s1-4,R4x1,p4-3,skip"},
        "inner": {"steps": 2, "support": 2},
        "vgg": "random",
    }
)


def main() -> None:
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: outer_loop.initial_meta(SETTINGS))
    draw = lambda center, spread, flat: {
        path: np.float32(center(path) + spread * rng.normal(size=x.shape)) for path, x in sorted(flat.items())
    }
    start = Meta(
        fast=draw(lambda path: path.endswith("scale"), 0.3, shapes.fast),
        slow=draw(lambda path: 0, 0.2, shapes.slow),
        log_lr=draw(lambda path: np.log(0.05), 0.5, shapes.log_lr),
    )
    bundles.save_bundle(FOLDER / "bundle", bundles.Bundle(SETTINGS, start, 0.01), dtype="float16")
    stylizer = Stylizer(dataclasses.replace(bundles.load_bundle(FOLDER / "bundle"), path=None))
    photograph, painting = (rng.uniform(size=(4, 4, 3)) for _ in range(2))
    photograph = codec.to_uint8(resize(photograph, (22, 30)))
    style = stylizer.adapt(resize(painting, (24, 24)), steps=3, support=[photograph])
    style.save(FOLDER / "style.safetensors")
    style.save(FOLDER / "self_contained.safetensors", self_contained=True)
    codec.save(FOLDER / "photograph.png", photograph)
    codec.save(FOLDER / "start.png", stylizer.adapt(photograph, steps=0).stylize(photograph))
    codec.save(FOLDER / "style.png", load_style(FOLDER / "self_contained.safetensors").stylize(photograph))


if __name__ == "__main__":
    main()
