"""The optimisation of pixels, against scipy and by identities."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.errors import InputError
from metastyle.evaluate.baselines import gatys
from metastyle.stylize import pixels
from metastyle.stylize.pixels import Settings
from tests.support.gatys import ADAM, LBFGS, PAINTING, PARAMS, PHOTOGRAPH, every_optimizer, last
from tests.support.trees import assert_trees_equal


@pytest.fixture(scope="module")
def objective():
    return gatys.objective(PARAMS, PHOTOGRAPH, [PAINTING])


def run(objective, photograph, settings):
    """The states of an optimisation from its beginning."""
    return pixels.optimise(objective, settings, pixels.init(objective, photograph, settings))


@every_optimizer
def test_the_loss_goes_down_within_the_bounds(objective, settings):
    states = list(run(objective, PHOTOGRAPH, settings))
    assert [state.iteration for state in states] == list(range(13))
    np.testing.assert_array_equal(states[0].picture, PHOTOGRAPH)
    assert states[-1].loss < 0.7 * states[0].loss
    for state in states:
        assert 0 <= state.picture.min() and state.picture.max() <= 1
        np.testing.assert_allclose(state.loss, objective(state.picture)[0], rtol=1e-6)
    assert settings is ADAM or all(b.loss < a.loss for a, b in zip(states, states[1:], strict=False))


def test_an_iteration_of_lbfgs_takes_about_one_evaluation(objective):
    count = 0

    def counting(x):
        nonlocal count
        count += 1
        return objective(x)

    last(run(counting, PHOTOGRAPH, dataclasses.replace(LBFGS, iterations=40)))
    assert 41 <= count <= 46


def test_lbfgs_gets_lower_than_adam(objective):
    found = {
        name: last(run(objective, PHOTOGRAPH, Settings(iterations=40, optimizer=name))).loss
        for name in ("lbfgs", "adam")
    }
    assert found["lbfgs"] < found["adam"]


@every_optimizer
def test_continued_from_a_copy_is_uninterrupted(objective, settings):
    whole = list(run(objective, PHOTOGRAPH, settings))
    copied = jax.tree.map(lambda x: x if np.isscalar(x) else jnp.asarray(np.array(x)), whole[5])
    rest = list(pixels.optimise(objective, settings, copied))
    assert len(rest) == 8
    for a, b in zip(whole[5:], rest, strict=True):
        assert_trees_equal(a, b)


def quadratic(seed, condition):
    """1/2 (x - a)^T A (x - a) over [0, 1]^(2, 4, 3), with about half of `a` outside: (objective, A, a)."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(24, 24)))
    matrix, lowest = q @ np.diag(np.geomspace(1, condition, 24)) @ q.T, rng.uniform(-0.5, 1.5, 24)

    def objective(x):
        error = np.asarray(x, np.float64).ravel() - lowest
        return 0.5 * error @ matrix @ error, jnp.asarray((matrix @ error).reshape(x.shape), jnp.float32)

    return objective, matrix, lowest


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_quadratic_within_bounds_ends_where_scipy_ends(seed):
    optimize = pytest.importorskip("scipy.optimize")
    objective, matrix, lowest = quadratic(seed, 20)
    expected = optimize.minimize(
        lambda x: (0.5 * (x - lowest) @ matrix @ (x - lowest), matrix @ (x - lowest)),
        np.full(24, 0.5),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, 1)] * 24,
        options={"ftol": 1e-14, "gtol": 1e-9},
    )
    state = last(run(objective, np.full((2, 4, 3), 0.5), Settings(iterations=200)))
    assert 4 <= np.isin(state.picture, (0, 1)).sum() < 24
    np.testing.assert_allclose(state.loss, expected.fun, rtol=1e-5)
    np.testing.assert_allclose(np.ravel(state.picture), expected.x, atol=1e-3)


def test_a_curved_valley_is_followed_with_shorter_steps():
    """Rosenbrock's function of the first two values, lowest at 3/4."""

    @jax.jit
    @jax.value_and_grad
    def rosenbrock(x):
        a, b = 4 * x.ravel()[:2] - 2
        return (1 - a) ** 2 + 100 * (b - a**2) ** 2

    evaluations = []

    def objective(x):
        evaluations.append(x)
        return rosenbrock(x)

    start = np.full(24, 0.5)
    start[:2] = 0.2, 0.75
    states = run(objective, start.reshape(2, 4, 3), Settings(iterations=60))
    counted = [(state, len(evaluations)) for state in states]
    np.testing.assert_allclose(np.ravel(counted[-1][0].picture)[:3], [0.75, 0.75, 0.5], atol=1e-3)
    assert not counted[20][0].converged and counted[20][1] > 21


def test_at_the_minimum_nothing_more_is_computed():
    evaluations = []

    def objective(x):
        evaluations.append(x)
        return jnp.square(x - 0.5).sum(), 2 * (x - 0.5)

    states = list(run(objective, np.full((2, 4, 3), 0.5), Settings(iterations=5)))
    assert [(s.iteration, s.converged) for s in states] == [(0, False), *((k, True) for k in range(1, 6))]
    assert len(evaluations) == 1


@every_optimizer
@pytest.mark.parametrize(("value", "slope", "said"), [(np.nan, 1, "loss is nan"), (1, np.inf, "gradient of the loss")])
def test_what_is_not_finite_is_said_with_its_iteration(settings, value, slope, said):
    def objective(x):
        if x.max() < 0.9:
            return jnp.float32(value), jnp.full(x.shape, slope, jnp.float32)
        return jnp.square(x).sum(), 2 * x

    with pytest.raises(FloatingPointError, match=f"iteration [1-9]: the {said}.*; check the VGG weights"):
        last(run(objective, np.ones((2, 4, 3)), dataclasses.replace(settings, lr=0.05)))


@pytest.mark.parametrize(
    "wrong",
    [{"iterations": -1}, {"optimizer": "sgd"}, {"lr": 0.0}, {"lr": float("nan")}, {"first": 0.0}],
    ids=str,
)
def test_settings_that_make_no_sense(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=re.escape(f"`{name}`: expected ") + ".*" + re.escape(f"got {value!r}")):
        Settings(**wrong)
