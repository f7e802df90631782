"""The bundles of an evaluation, and how each is deployed."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from metastyle import config
from metastyle.errors import InputError
from metastyle.meta import inner_loop
from metastyle.weights import bundles, vgg_files

_METASTYLE_ADAM_LR = 1e-3


class Start(NamedTuple):
    """A bundle and how it is deployed.

    judged: learns on the photograph to be judged itself, instead of on others. backend: of config.BACKENDS, stylises.
    learns_with: the loss network that it learns with, where that is not its own.
    """

    bundle: bundles.Bundle
    judged: bool = False
    backend: str = "jax"
    learns_with: str = ""


def load(
    paths: Sequence[str],
    adam_all: Sequence[str] = (),
    learn_with: Sequence[str] = (),
    dtype: Sequence[str] = (),
    judged: Sequence[str] = (),
    backend: Sequence[str] = (),
) -> dict[str, Start]:
    """The bundles of PATH or NAME=PATH, by name; a PATH alone is its own name.

    Those named in `adam_all` are deployed as MetaStyle is: every parameter adapts, by Adam at 1e-3, from step 0, which
    is the encoder's guess where there is one. Those in `learn_with` (NAME=WEIGHTS) learn with another loss network than
    the one they were trained with, those in `dtype` (NAME=DTYPE) with convolutions in that: "float32" or "bfloat16".
    Those in `judged` learn on the photograph that is judged, those in `backend` (NAME=BACKEND) are run by that: see
    Start.
    """
    found, teachers = {}, {}
    for text in paths:
        name, named, path = text.partition("=")
        if not named or bundles.exists(text):  # a folder whose name has a = in it
            name, path = text, text
        if name in found:
            raise InputError(f"`bundle`: expected different names, got {name} twice; pass NAME=PATH")
        found[name] = bundles.load_bundle(path)
    for name in adam_all:
        found[name] = _by_adam(_named(name, found, "adam_all"))
    for text in learn_with:
        name, _, weights = text.partition("=")
        _named(name, found, "learn_with")
        if vgg_files.recorded(weights) != weights:
            raise FileNotFoundError(f"`learn_with`: expected NAME=WEIGHTS, a file, got {text!r}")
        teachers[name] = weights
    for text in dtype:
        name, _, kind = text.partition("=")
        start = _named(name, found, "dtype")
        network = dataclasses.replace(start.config.generator, dtype=kind)
        found[name] = dataclasses.replace(start, config=dataclasses.replace(start.config, generator=network))
    starts = {name: Start(start, learns_with=teachers.get(name, "")) for name, start in found.items()}
    for name in judged:
        starts[name] = _named(name, starts, "judged")._replace(judged=True)
    for text in backend:
        name, _, kind = text.partition("=")
        start = _named(name, starts, "backend")
        if kind not in config.BACKENDS:
            raise InputError(f"`backend`: expected NAME=BACKEND, of {', '.join(config.BACKENDS)}, got {text!r}")
        starts[name] = start._replace(backend=kind)
    return starts


def _named(name: str, found: dict[str, Any], argument: str) -> Any:
    if name not in found:
        names = " or ".join(found) or "of which there is none"
        raise InputError(f"`{argument}`: expected the name of a bundle, {names}, got {name}")
    return found[name]


def _by_adam(start: bundles.Bundle) -> bundles.Bundle:
    inner = dataclasses.replace(start.config.inner, scope="all", steps=0)
    fast = start.meta.fast | start.meta.slow
    log_lr = inner_loop.initial_log_lr(fast, inner)
    learned = dataclasses.replace(start.meta, fast=fast, slow={}, log_lr=log_lr)
    deployed = bundles.Bundle(dataclasses.replace(start.config, inner=inner), learned, _METASTYLE_ADAM_LR)
    # Its training is what it was: the inner steps, which are gone from the settings, saw photographs too.
    return dataclasses.replace(deployed, seen_before=start.pictures_seen - deployed.pictures_seen)
