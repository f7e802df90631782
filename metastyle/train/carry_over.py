"""A bundle for another loss network than that which it was trained with: see `refit_encoder`."""

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from metastyle.compress import least_squares
from metastyle.data.prefetch import Prefetcher
from metastyle.data.tasks import TaskSampler
from metastyle.errors import InputError
from metastyle.meta.parameters import guess_start
from metastyle.nets import style_encoder
from metastyle.nets.params import Flat, split_by_scope
from metastyle.weights import bundles, loss_network, vgg_files

_KEPT_BACK = 8  # every so many styles
_TOGETHER = 8  # styles that are cut ahead


def carry_over(
    bundle: str | os.PathLike, vgg_before: str, vgg_after: str, out: str | os.PathLike, *,
    hidden: int | None = None, styles: int = 4000,
) -> float:  # fmt: skip
    """Writes the bundle with its encoder fitted to the codes by `vgg_after` of `styles` crops of its training styles.

    hidden: of the encoder, by default as it is. Returns the share of the variance of the guessed parameters that is
    lost, on every eighth crop, which the fit does not see. Raises InputError or FileNotFoundError for what does not
    fit, before anything is written.
    """
    start = bundles.load_bundle(bundle)
    if start.meta.encoder is None:
        raise InputError(f"`bundle`: expected one with an encoder, got {bundle}; without one, any will do")
    width = start.config.encoder.hidden if hidden is None else hidden
    check_hidden(start.meta.encoder, width)  # now, since the codes take minutes
    before, after = vgg_files.load(vgg_before, "vgg_before"), vgg_files.load(vgg_after)
    loss_network.check_reads(start, before, "vgg_before")
    if styles < 2 * style_encoder.size(after):
        raise InputError(
            f"`styles`: expected at least {2 * style_encoder.size(after)}, twice the numbers of a code, got {styles}"
        )
    one_photograph = dataclasses.replace(start.config, inner=dataclasses.replace(start.config.inner, steps=0))
    sampler, code = TaskSampler(one_photograph), jax.jit(style_encoder.code)
    threads = start.config.data.threads
    with Prefetcher(sampler.task, range(_TOGETHER), 0, -(-styles // _TOGETHER), threads=threads) as batches:
        crops = (x for _, batch in tqdm(batches, "styles", -(-styles // _TOGETHER)) for x in batch["style"])
        codes = [(np.asarray(code(before, x)), np.asarray(code(after, x))) for x in crops]
    theirs, ours = (np.stack(x) for x in zip(*codes, strict=True))
    told = np.arange(len(codes)) % _KEPT_BACK > 0
    carried = refit_encoder(start.meta.encoder, theirs[told], ours[told], width)
    settings = dataclasses.replace(
        start.config,
        vgg=vgg_after,
        encoder=dataclasses.replace(start.config.encoder, hidden=width, code=style_encoder.size(after)),
    )
    digest = loss_network.digest(after)
    meta = dataclasses.replace(start.meta, encoder=carried)
    made = dataclasses.replace(start, config=settings, meta=meta, network=digest)
    guesses = [_guesses(b.meta, x[~told]) for b, x in ((start, theirs), (made, ours))]
    bundles.save_bundle(out, made)
    return float(np.square(guesses[1] - guesses[0]).sum() / np.square(guesses[0] - guesses[0].mean(0)).sum())


def _guesses(meta, codes):
    fast = jax.vmap(lambda code: split_by_scope(guess_start(meta, code).fast, "norm")[0])(codes)
    return np.concatenate([np.asarray(x).reshape(len(codes), -1) for _, x in sorted(fast.items())], 1)


def refit_encoder(weights: Flat, before: np.ndarray, after: np.ndarray, hidden: int) -> Flat:
    """Refits the encoder to another loss network's codes by least squares, so that it guesses the same.

    before, after: f32[N, D], f32[N, E], the codes of the same styles by the two networks, N well above E. hidden: of
    the encoder, no larger than now; the units that move the parameters most are kept. Raises InputError for more.
    """
    check_hidden(weights, hidden)
    weights = {path: np.asarray(x, np.float64) for path, x in weights.items()}
    before, after = (np.asarray(jax.vmap(style_encoder.normalize_code)(codes), np.float64) for codes in (before, after))
    units = before @ weights["hidden/kernel"] + weights["hidden/bias"]
    lit = np.maximum(units, 0)
    moved = np.square(lit).mean(0) * np.square(weights["out/kernel"]).sum(1)
    kept = np.sort(np.argsort(-moved)[:hidden])
    seen = np.concatenate([after, np.ones((len(after), 1))], 1)
    fitted = _fit(seen, units[:, kept])
    out = {
        "hidden/bias": fitted[-1],
        "hidden/kernel": fitted[:-1],
        "out/kernel": _fit(np.maximum(seen @ fitted, 0), lit @ weights["out/kernel"]),
    }
    return {path: jnp.asarray(x, jnp.float32) for path, x in out.items()}


def check_hidden(weights: Flat, hidden: int) -> None:
    """Raises InputError unless an encoder can be carried over to this width."""
    if not 0 < hidden <= len(weights["hidden/bias"]):
        raise InputError(
            f"`hidden`: expected 1 to {len(weights['hidden/bias'])}, the width of the encoder as it is, got {hidden}"
        )


def _fit(seen: np.ndarray, goal: np.ndarray) -> np.ndarray:
    return least_squares.ridge(seen.T @ seen, seen.T @ goal)
