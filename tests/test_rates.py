"""Beyond the meta-trained steps, on the toy problem: the rate is chosen on some tasks and holds on others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from metastyle import adapt, meta, rates


@pytest.fixture(scope="module")
def learned():
    """A meta-trained toy: (settings, meta-parameters)."""
    settings = toy.settings(outer={"tasks": 4, "lr": 3e-3, "multi_step": 100}, run={"steps": 100})
    state = meta.initial_state(settings)
    step = jax.jit(functools.partial(meta.outer_step, toy.problem(), settings, True))
    for i in range(100):
        state, _ = step(state, toy.tasks(4, seed=i), toy.VGG)
    return settings, state["meta"]


def some_tasks(count, seed):
    batch = toy.tasks(count, seed=seed)
    return [jax.tree.map(lambda x: x[i], batch) for i in range(count)]  # noqa: B023


def mean_losses(settings, learned, tasks, adam_lr, steps):
    """Mean query loss over `tasks` after 0 ... `steps` steps."""
    problem, curves = toy.problem(), []
    query_loss = jax.jit(problem.loss)
    for task in tasks:
        prepared, curve = problem.prepare(task, toy.VGG), []
        support = {"images": prepared.support["images"].reshape(-1, toy.SIZE, toy.SIZE, 3)}
        fixed = (prepared.target, toy.VGG)
        adapt.adapt(
            problem.loss, learned, support, fixed, steps=steps, inner=settings.inner, adam_lr=adam_lr,
            on_state=lambda state: curve.append(  # noqa: B023
                float(query_loss(state.fast, learned["slow"], prepared.query, *fixed))  # noqa: B023
            ),
        )  # fmt: skip
        curves.append(curve)
    return np.mean(curves, 0)


def test_unseen_tasks_keep_improving_beyond_the_meta_trained_steps(learned):
    settings, start = learned
    rate = rates.choose_adam_lr(start, settings, some_tasks(8, seed=500), toy.VGG, toy.problem())
    curve = mean_losses(settings, start, some_tasks(24, seed=1000), rate, settings.inner.steps + 5)
    after = settings.inner.steps
    assert curve[after] < 0.9 * curve[0]
    assert max(curve[after + 1 :]) <= curve[after]


def test_a_rate_that_makes_things_worse_at_first_is_not_chosen(learned, monkeypatch):
    settings, start = learned
    tasks = some_tasks(4, seed=500)
    monkeypatch.setattr(rates, "ADAM_LRS", (1e-3, 3.0))
    assert rates.choose_adam_lr(start, settings, tasks, toy.VGG, toy.problem()) == 1e-3
    monkeypatch.setattr(rates, "ADAM_LRS", (3.0, 10.0))
    assert rates.choose_adam_lr(start, settings, tasks, toy.VGG, toy.problem()) == 3.0, "none is good: the smallest"


def test_of_the_steady_rates_the_one_that_gets_lowest_is_chosen(monkeypatch):
    """|w - 1|^2 from 0: ten steps of Adam move by about 8 rates; 30 overshoots in the first."""
    loss = lambda fast, slow, batch, target, vgg: jnp.square(fast["w"] - 1).sum() + 0 * batch["images"].sum()
    prepare = lambda task, vgg: adapt.Prepared(jnp.zeros(()), {"images": task["support"]}, {"images": task["query"]})
    start = {"fast": {"w": jnp.zeros(1)}, "slow": {}, "log_lr": {"w": jnp.full((1, 1), np.log(1e-6), jnp.float32)}}
    monkeypatch.setattr(rates, "ADAM_LRS", (1e-3, 1e-2, 30.0))
    settings, problem = toy.settings(inner={"steps": 1}), adapt.Problem(prepare, loss)
    assert rates.choose_adam_lr(start, settings, some_tasks(2, seed=0), toy.VGG, problem) == 1e-2
