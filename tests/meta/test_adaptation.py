"""The inner loop at deployment: the meta-trained steps and those that go on from there."""

import numpy as np
import pytest

from metastyle.meta import adaptation, inner_loop, outer_loop
from tests.support import toy


def test_deployment_runs_exactly_what_was_meta_trained_then_adam():
    settings = toy.settings(inner={"support": 2})
    params, task, problem = outer_loop.initial_meta(settings), toy.one_task(), toy.problem()
    prepared = problem.prepare(task, toy.VGG)
    fixed = (prepared.target, toy.VGG)
    trained = inner_loop.inner_loop(problem.loss, params, prepared.support, fixed, settings.inner)
    support = {"images": prepared.support["images"].reshape(-1, toy.SIZE, toy.SIZE, 3)}
    arguments = {"inner": settings.inner, "adam_lr": 1e-2}
    fast, history = adaptation.adapt(problem.loss, params, support, fixed, steps=3, **arguments)
    assert toy.relative_error(fast, trained.fast) < 1e-6
    np.testing.assert_allclose(history, trained.support, rtol=1e-5)
    told, states = [], []
    longer, longer_history = adaptation.adapt(
        problem.loss, params, support, fixed, steps=8, on_step=told.append, on_state=states.append, **arguments
    )
    for k in range(3, 8):  # round and round the support
        batch = {"images": support["images"][np.arange(2 * k, 2 * k + 2) % 6]}
        loss = problem.loss(states[k].fast, params["slow"], batch, *fixed)
        assert longer_history[k] == pytest.approx(float(loss), rel=1e-4)
    assert longer_history[:3] == history and [s.step for s in told] == list(range(8))
    assert toy.relative_error(longer, fast) > 1e-3  # Adam went on from there
    assert adaptation.adapt(problem.loss, params, support, fixed, steps=0, **arguments) == (params["fast"], [])


def test_settled_compares_the_means_of_ten_steps():
    falling = [2.0 - 0.05 * k for k in range(20)]  # means of 1.775 and 1.275
    gain = 1 - np.mean(falling[10:]) / np.mean(falling[:10])
    assert adaptation.settled(falling, gain + 1e-6) and not adaptation.settled(falling, gain - 1e-6)
    assert not adaptation.settled(falling[1:], 0.99) and not adaptation.settled([1.0] * 20, 0.0)
    assert adaptation.settled([9.0] * 5 + falling, gain + 1e-6) and adaptation.settled([1.0] * 20, 0.01)
