"""Chooses the rates for deployment on styles that meta-training did not see.

Meta-training learns rates for its own styles. For unseen styles the encoder guesses worse, so they need larger steps.
And steps beyond the meta-trained ones have no learned rate at all.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metastyle import config
from metastyle.meta import adaptation
from metastyle.meta.parameters import Meta
from metastyle.meta.problem import Problem

GAINS = (1.0, 1.5, 2.0, 3.0, 4.5)
ADAM_LRS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # kernels take smaller ones than norms
_LOOKS = 5


def choose(
    learned: Meta,
    settings: config.Config,
    tasks: Sequence[dict],
    networks: Any,
    problem: Problem,
    beyond: int = 20,
) -> tuple[Meta, float]:
    """Returns `learned` with its rates multiplied by one of GAINS, and one of ADAM_LRS for the steps after the first K.

    K is the number of meta-trained steps. Both choices give the lowest query loss on `tasks`: the geometric mean over
    tasks and over `_LOOKS` steps on the way. The gain is judged by steps 1 ... K, and fixed rates get none. Adam's rate
    is judged by steps K + 1 ... K + `beyond`, for which the support batches are used again.
    """
    inner, query_loss = settings.inner, jax.jit(problem.outer_loss)
    prepared = [jax.tree.map(jnp.asarray, problem.prepare(task, networks)) for task in tasks]

    def walk(begun, query, plan):
        """Takes the plan's steps: the fast parameters after them, and the mean logarithm of the query loss."""
        losses = []

        def look(state):
            if (done := len(state.history)) and done % max(1, plan.steps // _LOOKS) == 0:
                value = query_loss(state.fast, begun.start.slow, query, begun.target, networks)
                losses.append(np.log(float(value)))

        fast, _ = adaptation.adapt(problem.loss, begun, networks, plan, on_state=look)
        return fast, float(np.mean(losses)) if losses else 0.0

    def scaled(gain):
        log_lr = jax.tree.map(lambda x: x + np.float32(np.log(gain)), learned.log_lr)
        return dataclasses.replace(learned, log_lr=log_lr)

    def first(gain):
        """Takes the learned steps with this gain: every task after them, and the mean logarithm of the loss."""
        plan = adaptation.Plan(inner.steps, inner, 0.0)
        begun = [adaptation.begin_prepared(scaled(gain), task) for task in prepared]
        walked = [walk(task, of.query, plan) for task, of in zip(begun, prepared, strict=True)]
        adapted = [dataclasses.replace(x.start, fast=fast) for x, (fast, _) in zip(begun, walked, strict=True)]
        return [x._replace(start=start) for x, start in zip(begun, adapted, strict=True)], _mean(walked)

    tried = {gain: first(gain) for gain in (GAINS if inner.steps and inner.rate_kind != "fixed" else (1.0,))}
    gain = min(tried, key=lambda gain: tried[gain][1])
    after = list(zip(tried[gain][0], (task.query for task in prepared), strict=True))
    plans = {lr: adaptation.Plan(beyond, inner, lr, learned_steps=0) for lr in ADAM_LRS}
    found = {lr: _mean([walk(begun, query, plan) for begun, query in after]) for lr, plan in plans.items()}
    return scaled(gain), min(found, key=lambda lr: found[lr])


def _mean(walked: Sequence[tuple[Any, float]]) -> float:
    """The mean of the losses; infinite where one of them is not finite."""
    mean = float(np.mean([loss for _, loss in walked]))
    return mean if np.isfinite(mean) else np.inf
