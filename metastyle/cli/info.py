"""Collects the facts about a bundle or a style file that `metastyle info` prints."""

import os

import numpy as np

from metastyle.nets.params import count_parameters
from metastyle.weights.bundles import load_bundle
from metastyle.weights.format import FORMAT_VERSION
from metastyle.weights.style_files import load_style


def describe_bundle(folder: str | os.PathLike) -> dict[str, str]:
    """Collects facts about a bundle, by name."""
    start = load_bundle(folder)
    encoder = start.meta.encoder or {}
    inner, rates = start.config.inner, np.exp(np.concatenate([x.ravel() for x in start.meta.log_lr.values()]))
    return {
        "bundle": str(start.path),
        "meta-trained": f"{start.config.run.steps:,} steps of {start.config.outer.tasks} tasks",
        "photographs": f"{start.pictures_seen:,} seen",
        "architecture": start.config.generator.arch,
        "parameters": f"{count_parameters(start.meta.fast | start.meta.slow):,}",
        "adapts": f"{inner.scope} ({count_parameters(start.meta.fast):,} parameters)",
        "warm start": f"an encoder of {count_parameters(encoder):,} parameters" if encoder else "none",
        "strength": "any" if start.plain else "1 only: it has no plain parameters (experiments.plain makes them)",
        "inner steps": f"{inner.steps}, {inner.support} support photographs each",
        "learned rates": f"{inner.rate_kind}: {rates.min():.2g} to {rates.max():.2g}",
        "further steps": f"Adam, lr {start.adam_lr:.2g}",
        "picture size": f"{start.config.data.size} px",
        "loss": f"{start.config.loss.kind} {start.config.loss.statistic}",
        "slow tensors": start.slow_sha256,
        "format version": str(FORMAT_VERSION),
    }


def describe_style(path: str | os.PathLike) -> dict[str, str]:
    """Collects facts about a style file, by name."""
    style = load_style(path)
    ends = f", loss {style.history[0]:.4f} to {style.history[-1]:.4f}" if style.history else ""
    return {
        "style file": str(path),
        "architecture": style.arch,
        "adapted": f"{style.scope} ({count_parameters(style.fast):,} parameters)",
        "steps": f"{style.steps}{ends}",
        "style size": f"{style.style_size} px",
        "learned for": f"photographs of {style.output_size} px" if style.output_size else "photographs of any size",
        "phases": str(style.phases),
        "bundle": style.bundle or "none recorded",
        "self-contained": "yes" if style.config else "no",
        "style": style.sha256,
        "slow tensors": style.slow_sha256,
        "format version": str(FORMAT_VERSION),
    }
