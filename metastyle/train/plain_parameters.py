"""Plain parameters: fast parameters with which a network gives the photograph back. Strength 0 (style.py) starts there.

They are trained for content alone: by Adam, from a bundle's own fast parameters, on

    L = 1 - SSIM(luma) + 100 MSE

(Wang et al. 2004, uniform windows of 7 px). The slow parameters stay as they are, so one set serves all styles of the
bundle. A photograph's own colours are lost in the instance norms; what strength does about that is said there. The
squared error keeps them near, or weak strengths would begin with a change of colours (experiments/results/strength.md).
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metastyle import config
from metastyle.data.augment import augment
from metastyle.data.prefetch import Batch
from metastyle.data.sources import open_source
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
    """The plain parameters of a bundle, learned on crops of the photographs of a source (sources.open_source)."""
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
        return _State(optax.apply_updates(state.fast, updates), memory), {"loss": value}

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
    return {path: np.float32(np.float16(x)) for path, x in fast.items()}


def loss(net: config.Generator, fast: Flat, slow: Flat, photographs: jax.Array) -> jax.Array:
    """L of photographs f32[N, H, W, 3], sides of at least 16 px, and what the network makes of them."""
    outputs = generator.apply(net, fast | slow, photographs)
    luma = jnp.array(LUMA)
    squared = jnp.square(outputs - photographs).mean()
    return 1 - differentiable_ssim(outputs @ luma, photographs @ luma) + _SQUARED * squared


def judge(bundle: Bundle, contents: str, size: int = SIZE, count: int = 40) -> float:
    """Mean SSIM (ssim) of photographs, squares of `size` px, and what the plain parameters make of them."""
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
    """Makes the plain parameters of the bundle in `folder` and writes them into it; returns what `judge` finds.

    contents, val_contents: sources of photographs, by default those of its meta-training. Raises FileNotFoundError or
    InputError for what is no bundle or source.
    """
    start = bundles.load_bundle(folder)
    contents, val_contents = contents or start.config.data.content, val_contents or start.config.data.val_content
    open_source(val_contents, "content", size=size, name="val_contents")  # a mistake in it is told before the work
    start = dataclasses.replace(start, plain=fit(start, contents, steps))
    found = judge(start, val_contents, size)
    bundles.save_bundle(start.path, start)
    return found
