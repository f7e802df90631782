"""The rates of a bundle, on the toy problem: they are chosen on some tasks and hold on others."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.meta import adaptation, outer_loop, tune_rates
from metastyle.meta.parameters import Meta
from metastyle.meta.problem import Prepared, Problem
from tests.support import toy


@pytest.fixture(scope="module")
def learned():
    """A meta-trained toy: (settings, meta-parameters)."""
    settings = toy.settings(outer={"tasks": 4, "lr": 3e-3, "multi_step": 100}, run={"steps": 100})
    state = outer_loop.initial_state(settings)
    step = jax.jit(functools.partial(outer_loop.outer_step, toy.problem(), settings, True))
    for i in range(100):
        state, _ = step(state, toy.tasks(4, seed=i), toy.VGG)
    return settings, state.meta


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
        begun = adaptation.Begun(learned, prepared.target, support)

        def look(state, prepared=prepared, curve=curve):
            curve.append(float(query_loss(state.fast, learned.slow, prepared.query, prepared.target, toy.VGG)))

        plan = adaptation.Plan(steps, settings.inner, adam_lr)
        adaptation.adapt(problem.loss, begun, toy.VGG, plan, on_state=look)
        curves.append(curve)
    return np.mean(curves, 0)


def choose(settings, start, tasks, **options):
    return tune_rates.choose(start, settings, tasks, toy.VGG, toy.problem(), **options)


def times(start, factor):
    return dataclasses.replace(start, log_lr=jax.tree.map(lambda x: x + np.float32(np.log(factor)), start.log_lr))


@pytest.mark.slow
def test_unseen_tasks_keep_improving_beyond_the_meta_trained_steps(learned):
    settings, start = learned
    start, rate = choose(settings, start, some_tasks(8, seed=500))
    curve = mean_losses(settings, start, some_tasks(24, seed=1000), rate, settings.inner.steps + 20)
    after = settings.inner.steps
    assert curve[after] < 0.9 * curve[0]
    assert np.mean(curve[after + 1 :]) < curve[after] and curve[-1] < curve[after]


def test_rates_that_are_too_small_for_the_tasks_are_multiplied(learned):
    settings, start = learned
    tasks = some_tasks(8, seed=500)
    slow, _ = choose(settings, times(start, 1 / tune_rates.GAINS[-1]), tasks, beyond=1)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), slow.log_lr, start.log_lr)
    fast, _ = choose(settings, times(start, 30), tasks, beyond=1)
    jax.tree.map(np.testing.assert_array_equal, fast.log_lr, times(start, 30).log_lr)
    for part in ("fast", "slow"):
        jax.tree.map(np.testing.assert_array_equal, getattr(fast, part), getattr(start, part))


def test_fixed_rates_stay(learned):
    settings, start = learned
    fixed = toy.settings(inner={"rate_kind": "fixed"})
    slow = times(start, 1 / 3)
    kept, _ = choose(fixed, slow, some_tasks(4, seed=500), beyond=1)
    jax.tree.map(np.testing.assert_array_equal, kept.log_lr, slow.log_lr)


def test_a_rate_that_makes_things_worse_is_not_chosen(learned, monkeypatch):
    settings, start = learned
    monkeypatch.setattr(tune_rates, "ADAM_LRS", (float("nan"), 3.0, 1e-3, 10.0))
    assert choose(settings, start, some_tasks(4, seed=500))[1] == 1e-3


def test_the_rate_that_is_lowest_on_the_way_is_chosen(monkeypatch):
    """|w - 1|^2 from 0: twenty steps of Adam move by about 18 rates; 30 overshoots in the first."""
    loss = lambda fast, slow, batch, target, vgg: jnp.square(fast["w"] - 1).sum() + 0 * batch["images"].sum()
    prepare = lambda task, vgg: Prepared(jnp.zeros(()), {"images": task["support"]}, {"images": task["query"]})
    start = Meta(fast={"w": jnp.zeros(1)}, slow={}, log_lr={"w": jnp.full((1, 1), np.log(1e-6), jnp.float32)})
    monkeypatch.setattr(tune_rates, "ADAM_LRS", (1e-3, 1e-2, 30.0))
    settings, problem = toy.settings(inner={"steps": 1}), Problem(prepare, loss)
    assert tune_rates.choose(start, settings, some_tasks(2, seed=0), toy.VGG, problem)[1] == 1e-2
