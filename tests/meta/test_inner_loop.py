"""Identities of the inner loop, on a small net and a toy loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.meta import inner_loop, outer_loop
from tests.support import toy


def test_normalised_steps_have_the_size_of_their_rate_whatever_the_loss_is_scaled_by():
    gradient = {"a": jnp.array([3.0, -4.0]), "b": jnp.array([0.0])}
    fast, log_lr = jax.tree.map(jnp.zeros_like, gradient), {"a": jnp.log(0.1), "b": jnp.log(0.1)}
    step = inner_loop.descend(fast, gradient, log_lr, normalize=True)
    scaled = inner_loop.descend(fast, jax.tree.map(lambda g: 1e4 * g, gradient), log_lr, normalize=True)
    np.testing.assert_allclose(jnp.sqrt(jnp.square(step["a"]).mean()), 0.1, rtol=1e-6)
    np.testing.assert_allclose(scaled["a"], step["a"], rtol=1e-6)
    assert step["b"] == 0
    np.testing.assert_allclose(inner_loop.descend(fast, gradient, log_lr, normalize=False)["a"], [-0.3, 0.4], rtol=1e-6)


@pytest.mark.slow
def test_support_losses_that_are_not_counted_change_nothing_else():
    settings, problem = toy.settings(inner={"scope": "norm"}), toy.problem()
    params, task = outer_loop.initial_meta(settings), toy.one_task()
    prepared = problem.prepare(task, toy.VGG)

    def query(params, counted, share):
        fixed = (prepared.target, toy.VGG)
        result = inner_loop.inner_loop(
            problem.loss, params, prepared.support, fixed, settings.inner, first_order=True, counted=counted
        )
        return problem.loss(result.fast, params.slow, prepared.query, *fixed) + share * result.support_losses.sum()

    value, gradient = jax.value_and_grad(query)(params, True, 0.0)
    for share in (0.0, 1.0):
        other, same = jax.value_and_grad(query)(params, False, share)
        assert toy.relative_error(same, gradient) < 1e-6
    assert float(other) > float(value)
    assert toy.relative_error(jax.grad(query)(params, True, 1.0), gradient) > 0.1
