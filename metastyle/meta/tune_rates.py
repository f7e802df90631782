"""The rates that a bundle's steps have at deployment, chosen on styles that meta-training did not see.

Learned rates are those of training styles, whose guesses by an encoder are better than those of others: of these there
is more to learn. And steps beyond the meta-trained ones have no learned rate.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metastyle import config
from metastyle.meta import adaptation, outer_loop
from metastyle.meta.problem import Problem
from metastyle.nets import style_encoder

GAINS = (1.0, 1.5, 2.0, 3.0, 4.5)
ADAM_LRS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # kernels take smaller ones than norms
_LOOKS = 5


def choose(
    learned: outer_loop.Meta,
    settings: config.Config,
    tasks: Sequence[dict],
    params: Any,
    problem: Problem,
    beyond: int = 20,
) -> tuple[outer_loop.Meta, float]:
    """`learned` with its rates multiplied by one of GAINS, and one of ADAM_LRS for the steps after the meta-trained K.

    Both are those of the lowest query loss on `tasks`, the geometric mean over tasks and over `_LOOKS` steps on the
    way: over 1 ... K for the gain, which fixed rates don't get, and over K + 1 ... K + `beyond` for Adam's rate. Beyond
    K, the support batches go round again.
    """
    inner, query_loss = settings.inner, jax.jit(problem.outer_loss)
    prepared = [jax.tree.map(jnp.asarray, problem.prepare(task, params)) for task in tasks]

    def walk(task, start, steps, learned_steps, adam_lr):
        """The fast parameters after `steps` steps, and the mean logarithm of the query loss on the way."""
        losses, fixed = [], (task.target, params)

        def look(state):
            if (done := len(state.history)) and done % max(1, steps // _LOOKS) == 0:
                losses.append(np.log(float(query_loss(state.fast, start["slow"], task.query, *fixed))))

        fast, _ = adaptation.adapt(
            problem.loss, start, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), task.support), fixed,
            steps=steps, inner=inner, adam_lr=adam_lr, learned_steps=learned_steps, on_state=look,
        )  # fmt: skip
        return fast, float(np.mean(losses)) if losses else 0.0

    def scaled(gain):
        return learned | {"log_lr": jax.tree.map(lambda x: x + np.float32(np.log(gain)), learned["log_lr"])}

    def first(gain):
        """What the learned steps with this gain lead to, for every task, and the mean logarithm on the way."""
        starts = [style_encoder.start(scaled(gain), task.code) for task in prepared]
        walked = [walk(*begun, inner.steps, inner.steps, 0.0) for begun in zip(prepared, starts, strict=True)]
        adapted = [start | {"fast": fast} for start, (fast, _) in zip(starts, walked, strict=True)]
        return adapted, _mean(walked)

    tried = {gain: first(gain) for gain in (GAINS if inner.steps and inner.lrs != "fixed" else (1.0,))}
    gain = min(tried, key=lambda gain: tried[gain][1])
    after = list(zip(prepared, tried[gain][0], strict=True))
    found = {lr: _mean([walk(*begun, beyond, 0, lr) for begun in after]) for lr in ADAM_LRS}
    return scaled(gain), min(found, key=found.get)


def _mean(walked: Sequence[tuple[Any, float]]) -> float:
    """Of the losses; where one is not finite, the worst there is."""
    mean = float(np.mean([loss for _, loss in walked]))
    return mean if np.isfinite(mean) else np.inf
