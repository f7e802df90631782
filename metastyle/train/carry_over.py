"""Carries a bundle over to another loss network, whose codes its encoder can't read: see `refit_encoder`."""

import dataclasses
import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from metastyle import config
from metastyle.compress import least_squares
from metastyle.data.prefetch import Prefetcher
from metastyle.data.tasks import TaskSampler
from metastyle.errors import InputError
from metastyle.meta.parameters import Meta, guess_start
from metastyle.nets import style_encoder, vgg
from metastyle.nets.params import Flat, split_by_scope
from metastyle.system import files
from metastyle.weights import bundles, loss_network, vgg_files

_KEPT_BACK = 8  # one style in so many is kept back from the fit
_TOGETHER = 8  # styles in a batch that is cut ahead


def carry_over(
    bundle: str | os.PathLike[str],
    vgg_before: str,
    vgg_after: str,
    out: str | os.PathLike[str],
    *,
    hidden: int | None = None,
    styles: int = 4000,
) -> float:
    """Writes to `out` the bundle with its encoder refitted to the codes of `vgg_after`.

    vgg_before: weights of the loss network that the bundle was trained with. hidden: the new width of the encoder, by
    default as it is. styles: how many crops of training styles are fitted. Returns the share of the guesses' variance
    that is lost, measured on every eighth crop, which the fit does not see. Raises InputError or FileNotFoundError for
    arguments that don't fit together, before anything is written.
    """
    files.check_new_folder(out, "out")
    start = bundles.load_bundle(bundle)
    if start.meta.encoder is None:
        raise InputError(
            f"`bundle`: expected one with an encoder, got {bundle}; without an encoder it works with any loss network"
        )
    width = start.config.encoder.hidden if hidden is None else hidden
    _check_hidden(start.meta.encoder, width)  # before the codes, which take minutes
    before, after = vgg_files.load(vgg_before, "vgg_before"), vgg_files.load(vgg_after)
    loss_network.check_reads(start, before, "vgg_before")
    numbers = start.config.encoder.octaves * style_encoder.size(after)
    if styles < 2 * numbers:
        raise InputError(f"`styles`: expected at least {2 * numbers}, twice the numbers of a code, got {styles}")
    old, new = _codes_of_training_styles(start.config, before, after, styles)
    fitted = np.arange(len(old)) % _KEPT_BACK > 0
    carried = refit_encoder(start.meta.encoder, old[fitted], new[fitted], width)
    settings = dataclasses.replace(
        start.config,
        vgg=vgg_after,
        encoder=dataclasses.replace(start.config.encoder, hidden=width, code=numbers),
    )
    digest = loss_network.digest(after)
    meta = dataclasses.replace(start.meta, encoder=carried)
    made = dataclasses.replace(start, config=settings, meta=meta, network_sha256=digest)
    was, now = _guesses(start.meta, old[~fitted]), _guesses(made.meta, new[~fitted])
    bundles.save_bundle(out, made)
    return float(np.square(now - was).sum() / np.square(was - was.mean(0)).sum())


def _codes_of_training_styles(
    settings: config.Config, before: vgg.Params, after: vgg.Params, styles: int
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the codes of crops of training styles by two loss networks, each f32[N, octaves, D], N >= styles."""
    one_photograph = dataclasses.replace(settings, inner=dataclasses.replace(settings.inner, steps=0))
    sampler, count = TaskSampler(one_photograph), -(-styles // _TOGETHER)
    code = jax.jit(functools.partial(style_encoder.code, count=settings.encoder.octaves))
    with Prefetcher(sampler.task, range(_TOGETHER), 0, count, threads=settings.data.threads) as batches:
        crops = (x for _, batch in tqdm(batches, "styles", count) for x in batch["style"])
        codes = [(np.asarray(code(before, x)), np.asarray(code(after, x))) for x in crops]
    old, new = (np.stack(x) for x in zip(*codes, strict=True))
    return old, new


def _guesses(meta: Meta, codes: np.ndarray) -> np.ndarray:
    """Returns the instance norms that the encoder guesses from each code, [N, parameters]."""
    fast = jax.vmap(lambda code: split_by_scope(guess_start(meta, code).fast, "norm")[0])(codes)
    return np.concatenate([np.asarray(x).reshape(len(codes), -1) for _, x in sorted(fast.items())], 1)


def refit_encoder(weights: Flat, before: np.ndarray, after: np.ndarray, hidden: int) -> Flat:
    """Refits the encoder to another loss network's codes by least squares, so that it guesses about the same.

    before, after: f32[N, octaves, D], f32[N, octaves, E], the codes of the same styles by the two networks, with N well
    above the numbers of a code. hidden: the new width of the encoder, at most the present one; the units that move the
    parameters most are kept. Raises InputError for a larger width.
    """
    _check_hidden(weights, hidden)
    kernel, bias, last = (np.asarray(weights[x], np.float64) for x in ("hidden/kernel", "hidden/bias", "out/kernel"))
    normalize = jax.vmap(style_encoder.normalize_code)
    inputs, seen = (np.asarray(normalize(jnp.asarray(x)), np.float64) for x in (before, after))
    units = inputs @ kernel + bias
    lit = np.maximum(units, 0)
    moved = np.square(lit).mean(0) * np.square(last).sum(1)
    kept = np.sort(np.argsort(-moved)[:hidden])
    seen = np.concatenate([seen, np.ones((len(seen), 1))], 1)
    fitted = _fit(seen, units[:, kept])
    out = {
        "hidden/bias": fitted[-1],
        "hidden/kernel": fitted[:-1],
        "out/kernel": _fit(np.maximum(seen @ fitted, 0), lit @ last),
    }
    return {path: jnp.asarray(x, jnp.float32) for path, x in out.items()}


def _check_hidden(weights: Flat, hidden: int) -> None:
    """Raises InputError unless the encoder can be refitted with this width."""
    if not 0 < hidden <= len(weights["hidden/bias"]):
        raise InputError(
            f"`hidden`: expected 1 to {len(weights['hidden/bias'])}, the width of the encoder as it is, got {hidden}"
        )


def _fit(seen: np.ndarray, goal: np.ndarray) -> np.ndarray:
    return least_squares.ridge(seen.T @ seen, seen.T @ goal)
