"""The method of Gatys et al.: what it minimises, and what it starts from."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.config import Loss
from metastyle.errors import InputError
from metastyle.evaluate.baselines import gatys
from metastyle.evaluate.baselines.gatys import Settings
from metastyle.images import codec
from metastyle.images.resize import square
from metastyle.losses import perceptual
from metastyle.stylize import pixels
from metastyle.weights import vgg_files
from tests.support.gatys import PAINTING, PARAMS, PHOTOGRAPH, last, picture
from tests.support.trees import assert_trees_equal


@pytest.fixture(scope="module")
def objective():
    return gatys.objective(PARAMS, PHOTOGRAPH, [PAINTING])


def run(objective, photograph, settings):
    """The states of an optimisation from its beginning."""
    return pixels.optimise(objective, settings, gatys.init(objective, photograph, settings))


@pytest.mark.slow
def test_the_objective_is_j_and_its_gradient(objective):
    other = picture(2, width=32)
    value, gradient = objective(other)
    content = jax.jit(perceptual.content_target, static_argnums=2)(PARAMS, PHOTOGRAPH[None], Loss())
    style = jax.jit(perceptual.style_target, static_argnums=2)(PARAMS, PAINTING[None], Loss())
    parts = jax.jit(perceptual.perceptual, static_argnums=4)(PARAMS, other[None], content, style, Loss())
    np.testing.assert_allclose(value, parts.total[0], rtol=1e-5)
    direction, h = np.sign(gradient), 1e-3
    slope = (objective(other + h * direction)[0] - objective(other - h * direction)[0]) / (2 * h)
    np.testing.assert_allclose(np.vdot(gradient, direction), slope, rtol=1e-2)


def test_the_seed_decides_the_noise(objective):
    noise = Settings(iterations=3, start="noise", seed=1)
    state = last(run(objective, PHOTOGRAPH, noise))
    assert_trees_equal(last(run(objective, PHOTOGRAPH, noise)), state)
    start, other = (gatys.init(objective, PHOTOGRAPH, Settings(start="noise", seed=seed)).picture for seed in (1, 2))
    assert 0 <= start.min() < 0.01 and 0.99 < start.max() <= 1
    assert jnp.abs(start - other).mean() > 0.1


@pytest.mark.parametrize(
    "wrong",
    [{"iterations": -1}, {"start": "style"}, {"seed": -1}],
    ids=str,
)
def test_settings_that_make_no_sense(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=re.escape(f"`{name}`: expected ") + ".*" + re.escape(f"got {value!r}")):
        Settings(**wrong)


@pytest.mark.slow
def test_real_features(sample_data):
    photograph, painting = (
        square(codec.load(sorted((sample_data / folder).glob("*.jpg"))[0])[0], 64)
        for folder in ("data/content/val", "data/style/val")
    )
    objective = gatys.objective(vgg_files.load("vgg16"), photograph, [painting])
    state = last(run(objective, photograph, Settings(iterations=10)))
    seen = codec.to_uint8(np.asarray(state.picture)).astype(np.float32) / 255
    assert objective(seen)[0] < 0.6 * objective(photograph)[0]
