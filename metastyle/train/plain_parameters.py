"""Plain parameters: fast parameters with which a network reproduces the photograph. Strength 0 (style.py) uses them.

They are trained for the content alone, by Adam, from the bundle's own fast parameters, on the loss

    L = 1 - SSIM(luma) + 100 MSE

(Wang et al. 2004, uniform windows of 7 px). The slow parameters are not trained, so one set serves all styles of the
bundle. The instance norms lose the photograph's own colours; style.py says what strength does about that. The squared
error keeps the colours close: without it, weak strengths would already change them (experiments/results/strength.md).
"""

import dataclasses
import functools
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metastyle import config
from metastyle.data.augment import augment
from metastyle.data.prefetch import Batch
from metastyle.data.sources import open_source
from metastyle.errors import InputError
from metastyle.images import codec
from metastyle.images.resize import square
from metastyle.losses.ssim import LUMA, differentiable_ssim, ssim
from metastyle.nets import generator
from metastyle.nets.params import Flat
from metastyle.train import loop
from metastyle.train.checkpoint import Store
from metastyle.weights import bundles
from metastyle.weights.bundles import Bundle

STEPS, SIZE = 400, 256
_BATCH, _LR = 4, 1e-2
_SQUARED = 100.0  # weight of the squared error
_LOG_EVERY = 20  # steps


class _State(NamedTuple):
    fast: Flat
    optimizer: optax.OptState


def fit(bundle: Bundle, contents: str, steps: int = STEPS) -> dict[str, np.ndarray]:
    """Trains the plain parameters of a bundle on crops of photographs. contents: a spec of sources.open_source."""
    settings, data = bundle.config, bundle.config.data
    source = open_source(contents, "content", size=data.size, name="contents")
    fast, slow = jax.tree.map(jnp.asarray, (bundle.meta.fast, bundle.meta.slow))
    optimizer = optax.adam(optax.cosine_decay_schedule(_LR, steps))

    def task(k: int, _: int) -> Batch:
        rng = np.random.default_rng((settings.run.seed, k))
        drawn = [source[int(i)] for i in rng.integers(len(source), size=_BATCH)]
        crops = [augment(rng, x, data.size, zoom=data.zoom, rotate=0.0, flip=True) for x in drawn]
        return {"photographs": np.stack(crops)}

    @jax.jit
    def step(state: _State, slow: Flat, photographs: jax.Array) -> tuple[_State, loop.Metrics]:
        value, gradient = jax.value_and_grad(functools.partial(loss, settings.generator))(state.fast, slow, photographs)
        updates, memory = optimizer.update(gradient, state.optimizer, state.fast)
        return _State(cast(Flat, optax.apply_updates(state.fast, updates)), memory), {"loss": value}

    training = loop.Training(
        task=task,
        indices=[0],
        columns=["loss"],
        shown="loss",
        prepare=lambda k, state, batch: (state, batch["photographs"][0]),
        compile=lambda *_: loop.Program(lambda state, photographs: step(state, slow, photographs)),
        threads=data.threads,
    )
    times = config.Run(steps=steps, log_every=_LOG_EVERY)
    fast = loop.run(training, _State(fast, optimizer.init(fast)), times, Store()).state.fast
    return {path: np.asarray(x).astype(np.float16).astype(np.float32) for path, x in fast.items()}


def loss(net: config.Generator, fast: Flat, slow: Flat, photographs: jax.Array) -> jax.Array:
    """The loss L of the network's outputs for photographs f32[N, H, W, 3] with sides of at least 16 px."""
    outputs = generator.apply(net, fast | slow, photographs)
    luma = jnp.array(LUMA)
    squared = jnp.square(outputs - photographs).mean()
    return 1 - differentiable_ssim(outputs @ luma, photographs @ luma) + _SQUARED * squared


def judge(bundle: Bundle, contents: str, size: int = SIZE, count: int = 40) -> float:
    """Mean SSIM between photographs, squares of `size` px, and the outputs of the bundle's plain parameters."""
    if bundle.plain is None:
        raise InputError(f"`bundle`: expected one with plain parameters, got {bundle.name}; add them first")
    source = open_source(contents, "content", size=size, name="contents")
    params, scores = bundle.plain | bundle.meta.slow, []
    for i in range(min(count, len(source))):
        photograph = square(codec.load(source[i])[0], size)
        output = np.asarray(generator.stylize(bundle.config.generator, params, photograph[None])[0])
        scores.append(ssim(photograph, output))
    return float(np.mean(scores))


def add_plain_parameters(
    folder: str, contents: str = "", val_contents: str = "", *, steps: int = STEPS, size: int = SIZE
) -> float:
    """Trains the plain parameters of the bundle in `folder` and writes them into it; returns what `judge` finds.

    contents, val_contents: sources of photographs, by default those of the bundle's meta-training.

    Raises FileNotFoundError or InputError if the folder is no bundle, or a source cannot be opened.
    """
    start = bundles.load_bundle(folder)
    contents, val_contents = contents or start.config.data.content, val_contents or start.config.data.val_content
    open_source(val_contents, "content", size=size, name="val_contents")  # a mistake in it is found before the work
    start = dataclasses.replace(start, plain=fit(start, contents, steps))
    found = judge(start, val_contents, size)
    bundles.save_bundle(start.path or folder, start)
    return found
