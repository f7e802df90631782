"""Makes a bundle the one in the package."""

import dataclasses
import os
import shutil
from pathlib import Path

from metastyle.config import DEFAULT_BUNDLE
from metastyle.system.files import atomic
from metastyle.weights import vgg_files
from metastyle.weights.bundles import load_bundle, locate, save_bundle
from metastyle.weights.loss_network import check_reads, digest


def ship_bundle(folder: str | os.PathLike) -> list[Path]:
    """Makes a bundle the one in the package, in float16, and its loss network the one named `slim`.

    There it computes in float32, whatever it was trained in: CPUs gain nothing by fewer bits. Returns the files
    written.

    Raises InputError or FileNotFoundError, before anything is written, if `folder` is no sound bundle, or its encoder
    does not read its loss network.
    """
    out, bundle = locate(DEFAULT_BUNDLE), load_bundle(folder)
    weights = bundle.config.vgg
    params = vgg_files.load(weights)
    check_reads(bundle, params)
    computing = dataclasses.replace(bundle.config.generator, dtype="float32")
    settings = dataclasses.replace(bundle.config, generator=computing)
    bundle = dataclasses.replace(bundle, config=settings, network_sha256=digest(params))
    if weights not in vgg_files.NAMES:
        with atomic(vgg_files.SLIM) as temporary:  # `weights` may be this very file
            shutil.copyfile(weights, temporary)
        bundle = dataclasses.replace(bundle, config=dataclasses.replace(bundle.config, vgg="slim"))
    save_bundle(out, bundle, "float16")
    return [*sorted(out.iterdir()), vgg_files.SLIM]
