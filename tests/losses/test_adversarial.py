"""Adversarial losses against their definitions, and the gradient penalty against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.losses import adversarial

R, F = np.float32([-2, 0.3, 1.5]), np.float32([-1.2, 0.1, 2])


def softplus(x):
    return np.log1p(np.exp(x))


@pytest.mark.parametrize(
    "kind, critic, generator, real",
    [
        ("hinge", np.maximum(0, 1 - R) + np.maximum(0, 1 + F), -F, 2 / 3),
        ("least_squares", (R - 1) ** 2 + F**2, (F - 1) ** 2, 1 / 3),
        ("non_saturating", softplus(-R) + softplus(F), softplus(-F), 2 / 3),
    ],
)
def test_kinds(kind, critic, generator, real):
    values = [jnp.asarray(x)[None, :, None] for x in (R, F)]
    assert float(adversarial.critic_loss(kind, values[:1], values[1:])) == pytest.approx(critic.mean(), rel=1e-6)
    assert float(adversarial.generator_loss(kind, values[1:])) == pytest.approx(generator.mean(), rel=1e-6)
    assert float(adversarial.share_called_real(kind, values[:1])) == pytest.approx(real)


def test_scales_count_alike_whatever_their_number_of_values():
    small, large = jnp.zeros((1, 2, 2)), jnp.ones((1, 8, 8))
    assert float(adversarial.generator_loss("hinge", [small, large])) == -0.5


def test_the_gradient_penalty_agrees_with_finite_differences():
    """float64, a critic of two scales that is not linear, two features of two pictures."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        features = {"a": rng.normal(size=(2, 3, 2)), "b": rng.normal(size=(2, 4))}
        weights = rng.normal(size=(4, 5))

        def critic(x):
            return [jnp.tanh(x["a"]).sum(-1), jnp.sin(x["b"] @ weights)]

        found = float(adversarial.gradient_penalty(critic, features))
        total = 0.0
        for name, x in features.items():
            for place in np.ndindex(x.shape):
                values = []
                for step in (1e-5, -1e-5):
                    moved = {key: value.copy() for key, value in features.items()}
                    moved[name][place] += step
                    values.append(sum(float(value.sum()) for value in critic(moved)))
                total += ((values[0] - values[1]) / 2e-5) ** 2
    assert found == pytest.approx(total / 4, rel=1e-6)


def test_the_gradient_of_the_penalty_agrees_with_finite_differences():
    with jax.enable_x64(True):
        features = {"a": np.random.default_rng(0).normal(size=(2, 3))}
        penalty = lambda w: adversarial.gradient_penalty(lambda x: [jnp.tanh(w * x["a"])], features)
        slope = (penalty(0.7 + 1e-5) - penalty(0.7 - 1e-5)) / 2e-5
        assert float(jax.grad(penalty)(0.7)) == pytest.approx(float(slope), rel=1e-6)
