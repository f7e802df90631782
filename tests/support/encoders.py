"""A tiny loss network, and meta-parameters with an encoder that reads it."""

import jax.numpy as jnp
import numpy as np

from metastyle import config
from metastyle.meta import outer_loop
from metastyle.nets import vgg
from tests.support import toy

WIDTHS = (2, 3, 2, 4, 2, 2, 5, 2, 2, 6)
PARAMS = vgg.random_params(widths=WIDTHS)
LENGTH = 2 * (3 + 4 + 5 + 6)


def with_weights(settings, seed=0):
    """Meta-parameters whose encoder does something."""
    start, rng = outer_loop.initial_meta(settings), np.random.default_rng(seed)
    start.encoder["out/kernel"] = jnp.asarray(rng.normal(size=start.encoder["out/kernel"].shape), jnp.float32)
    return start


def network_settings(code=LENGTH):
    sections = {"generator": {"arch": toy.ARCH}, "data": {"size": 32}, "inner": {"steps": 1}}
    return config.from_dict(sections | {"encoder": {"hidden": 4, "code": code}})
