"""The bundles of an evaluation, loaded as they are deployed."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from metastyle.config import Deployment
from metastyle.errors import InputError
from metastyle.meta import inner_loop
from metastyle.weights import bundles, vgg_files

_METASTYLE_ADAM_LR = 1e-3
_VALUES = ("learn_with", "dtype", "backend", "phases", "learn_at")  # options of --bundle that take a value
_SWITCHES = ("judged", "adam_all")  # options of --bundle that take none


class Start(NamedTuple):
    """A bundle that is ready to adapt, and how it is deployed."""

    bundle: bundles.Bundle
    deployment: Deployment = Deployment()


def parse_bundle(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the settings (of config.Deployment) in [NAME=]PATH[,OPTION...], as the flag --bundle has it.

    A PATH alone is its own name. Raises InputError for an unknown option.
    """
    # A folder's name may have a comma or a = in it.
    head, *options = [text] if bundles.exists(text) else text.split(",")
    name, named, path = head.partition("=")
    if not named or bundles.exists(head):
        name, path = head, head
    values: dict[str, Any] = {"path": path}
    for option in options:
        key, given, value = option.partition("=")
        if key in _SWITCHES and not given:
            values[key] = True
        elif key in _VALUES and value:
            values[key] = int(value) if key == "phases" and value.isdigit() else value
        else:
            expected = ", ".join((*_SWITCHES, *(f"{key}=VALUE" for key in _VALUES)))
            raise InputError(f"`bundle`: expected options of {expected}, got {option!r} in {text!r}")
    return name, values


def load_starts(deployments: Mapping[str, Deployment]) -> dict[str, Start]:
    """Loads the bundles of an evaluation, by name.

    Raises FileNotFoundError for a bundle or a loss network that isn't there, and InputError for a damaged bundle.
    """
    return {name: _load_start(name, deployment) for name, deployment in deployments.items()}


def _load_start(name: str, deployment: Deployment) -> Start:
    bundle = bundles.load_bundle(deployment.path)
    if deployment.adam_all:
        bundle = _adapting_all(bundle)
    weights = deployment.learn_with
    if weights and vgg_files.resolve_recorded(weights) != weights:
        raise FileNotFoundError(f"`bundles.{name}.learn_with`: expected the weights of a loss network, got {weights!r}")
    generator = bundle.config.generator
    network = dataclasses.replace(
        generator, dtype=deployment.dtype or generator.dtype, phases=deployment.phases or generator.phases
    )
    settings = dataclasses.replace(bundle.config, generator=network)
    return Start(dataclasses.replace(bundle, config=settings), deployment)


def _adapting_all(bundle: bundles.Bundle) -> bundles.Bundle:
    """The bundle as MetaStyle deploys: without learned steps, all parameters adapting by Adam."""
    inner = dataclasses.replace(bundle.config.inner, scope="all", steps=0)
    fast = bundle.meta.fast | bundle.meta.slow
    log_lr = inner_loop.initial_log_lr(fast, inner)
    learned = dataclasses.replace(bundle.meta, fast=fast, slow={}, log_lr=log_lr)
    deployed = bundles.Bundle(dataclasses.replace(bundle.config, inner=inner), learned, _METASTYLE_ADAM_LR)
    # The photographs of the learned steps were seen in training, although these steps are gone from the settings.
    return dataclasses.replace(deployed, seen_before=bundle.pictures_seen - deployed.pictures_seen)
