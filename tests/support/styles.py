"""Styles on a net of 4 channels, made without adaptation, and pictures to stylise."""

import dataclasses

import numpy as np

from metastyle.images import codec
from metastyle.images.resize import resize
from metastyle.stylize import style
from metastyle.weights import bundles, style_files
from tests.support.places import BUNDLE


def picture(height, width, seed=0, channels=3):
    """A blurred random picture, uint8."""
    coarse = np.random.default_rng(seed).uniform(size=(4, 4, channels))
    return codec.to_uint8(resize(coarse, (height, width)))


def moved(fast, seed, by=0.3):
    """Fast parameters some way from these, of half precision as a style file's are."""
    rng = np.random.default_rng(seed)
    return {path: np.float32(np.float16(x + by * rng.normal(size=x.shape))) for path, x in fast.items()}


def bundle_with_plain_parameters():
    """The bundle of format 1 with plain parameters that are not plain, which does not matter here."""
    bundle = bundles.load_bundle(BUNDLE)
    return dataclasses.replace(bundle, plain=moved(bundle.meta.fast, 10))


def made(bundle, seed):
    fast = moved(bundle.meta.fast, seed)
    facts = {"bundle": bundle.name, "scope": "norm", "steps": seed, "style_size": 16, "history": (1.0,)}
    file = style_files.StyleFile(fast, bundle.slow_sha256, bundle.config.generator.arch, **facts)
    return style.Style(bundle.config, bundle.meta.slow, file, bundle.plain)
