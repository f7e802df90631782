"""The Adam rate for steps beyond those that were meta-trained, chosen on tasks of training styles."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metastyle import adapt, config, encoder, meta

ADAM_LRS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # kernels take smaller ones than norms


def choose_adam_lr(
    learned: meta.Meta,
    settings: config.Config,
    tasks: Sequence[dict],
    params: Any,
    problem: adapt.Problem,
    beyond: int = 10,
) -> float:
    """The Adam rate for steps after the meta-trained K, chosen on `tasks` (of training styles).

    The rate with the lowest mean query loss after K + `beyond` steps, among those whose loss after K + 1 ... K + 5 is
    never above that after K (else the smallest rate). Beyond K, the support batches go round again.
    """
    inner, curves = settings.inner, {lr: [] for lr in ADAM_LRS}
    query_loss = jax.jit(problem.outer_loss)
    for task in tasks:
        prepared = jax.tree.map(jnp.asarray, problem.prepare(task, params))
        fixed = (prepared.target, params)
        support = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), prepared.support)
        start = encoder.start(learned, prepared.code)

        def go_on(fast, steps, learned_steps, lr):
            losses_after = []
            fast, _ = adapt.adapt(
                problem.loss, start | {"fast": fast}, support, fixed, steps=steps, inner=inner, adam_lr=lr,  # noqa: B023
                learned_steps=learned_steps,
                on_state=lambda state: losses_after.append(
                    float(query_loss(state.fast, start["slow"], prepared.query, *fixed))  # noqa: B023
                ),
            )  # fmt: skip
            return fast, losses_after

        adapted, _ = go_on(start["fast"], inner.steps, inner.steps, 0.0)
        for lr, found in curves.items():
            found.append(go_on(adapted, beyond, 0, lr)[1])
    mean = {lr: np.mean(found, 0) for lr, found in curves.items()}
    steady = {lr: m[-1] for lr, m in mean.items() if max(m[1:6]) <= m[0]}
    return min(steady, key=steady.get) if steady else min(ADAM_LRS)
