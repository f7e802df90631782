"""A small differentiable world for tests: a tiny net, no VGG, tasks that are cheap and not quadratic."""

import jax
import jax.numpy as jnp
import numpy as np

from metastyle import config
from metastyle.benchmark.identities import relative_error as relative_error
from metastyle.meta.problem import Prepared, Problem
from metastyle.nets import generator
from metastyle.nets.params import unflatten

ARCH = "c3s1-4,c3s1-3"
SIZE = 16


def problem(dtype=jnp.float32) -> Problem:
    """Keep the photograph, meet the style's channel means: `vgg` is one number that weighs the style."""
    network = generator.Network(ARCH, dtype)

    def prepare(task, vgg):
        tint = task["style"].mean((0, 1, 2))
        return Prepared(tint, {"images": task["support"]}, {"images": task["query"]}, code=tint)

    def loss(fast, slow, batch, target, vgg):
        out = network.apply({"params": unflatten(fast | slow)}, batch["images"])
        moved = jnp.square(out.mean((1, 2)) - target).sum() + jnp.square(out.std((1, 2)) - 0.2).sum()
        return jnp.square(out - batch["images"]).mean() + vgg * moved

    return Problem(prepare, loss)


VGG = np.float32(3.0)


def settings(*, inner=None, outer=None, run=None, hidden: int = 0) -> config.Config:
    """A config whose meta-parameters fit the toy network."""
    return config.from_dict(
        {
            "generator": {"arch": ARCH},
            "data": {"size": SIZE, "content": "procedural", "style": "procedural"},
            "inner": {"steps": 3, "lr": 0.1} | (inner or {}),
            "encoder": {"hidden": hidden, "code": 3},
            "outer": {"tasks": 8, "warmup": 0, "clip": 0.0} | (outer or {}),
            "run": {"steps": 20} | (run or {}),
        }
    )


def tasks(count: int, steps: int = 3, seed: int = 0, dtype=np.float32) -> dict[str, np.ndarray]:
    """`count` random tasks: styles that differ in colour, support of 2 and query of 1 photograph."""
    rng = np.random.default_rng(seed)
    tint = rng.uniform(0.1, 0.9, (count, 1, 1, 1, 3))
    draw = lambda *shape: rng.uniform(size=(count, *shape, SIZE, SIZE, 3))
    batch = {"style": (draw(1) + 3 * tint) / 4, "support": draw(steps, 2), "query": draw(1)}
    return jax.tree.map(lambda x: x.astype(dtype), batch)


def one_task(dtype=np.float32) -> dict[str, jax.Array]:
    """A random task."""
    return jax.tree.map(lambda x: jnp.asarray(x[0]), tasks(1, dtype=dtype))
