"""Identities that the package promises: gradients against finite differences, and many devices against one."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metastyle import config
from metastyle.benchmark import Numbers
from metastyle.benchmark.speed import random_tasks
from metastyle.losses import perceptual
from metastyle.meta import outer_loop
from metastyle.meta.problem import Prepared, Problem, content_batch
from metastyle.nets import generator, vgg
from metastyle.nets.params import unflatten
from metastyle.train.mesh import Parallel

DEVICES = 8  # simulated by check_devices
_ARCH = "s4,c3s1-8,p4-3,skip"
_SIZE, _STEPS = 16, 2  # px; inner steps
_DIFFERENCE = 1e-6


def small_problem(dtype: Any) -> Problem:
    """Returns the real losses on a slim random VGG and a tiny network, in any precision."""
    loss, network = config.Loss(), generator.Network(_ARCH, dtype)

    def prepare(task, vgg):
        support = jax.tree.map(lambda *x: jnp.stack(x), *[content_batch(vgg, x, loss, dtype) for x in task["support"]])
        target = perceptual.style_target(vgg, task["style"], loss, dtype)
        return Prepared(target, support, content_batch(vgg, task["query"], loss, dtype))

    def style_loss(fast, slow, batch, target, vgg):
        out = jnp.asarray(network.apply({"params": unflatten({**fast, **slow})}, batch["images"]))
        return perceptual.perceptual(vgg, out, batch["content"], target, loss, dtype).total.mean()

    return Problem(prepare, style_loss)


def _settings(**inner: Any) -> config.Config:
    plain = {"optimizer": "sgd", "lr": 1.0, "rate_lr": 1.0, "decay": "inverse", "warmup": 0, "clip": 0.0}
    sections = {
        "generator": {"arch": _ARCH},
        "data": {"size": _SIZE},
        "inner": {"steps": _STEPS, **inner},
        "outer": {"tasks": DEVICES, **plain},
    }
    return config.from_dict(sections)


def relative_error(a: Any, b: Any) -> float:
    """Returns the norm of the difference over the norm of `b`, taken over all leaves of both trees."""
    a, b = (np.concatenate([np.ravel(x).astype(np.float64) for x in jax.tree.leaves(tree)]) for tree in (a, b))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def check_gradients() -> Numbers:
    """Compares the second-order meta-gradient with central differences, and its two forms with each other (float64)."""
    out: dict[str, float | str] = {}
    with jax.enable_x64(True):
        problem = small_problem(jnp.float64)
        weights = jax.tree.map(lambda x: x.astype(jnp.float64), vgg.random_params())
        for scope in ("norm", "all"):
            out |= {f"{scope}: {name}": value for name, value in _check_scope(problem, weights, scope).items()}
    return out


def _moved_at_random(params: Any, rng: np.random.Generator) -> Any:
    """Adds a little noise to all parameters, since a gradient at the initial values can be zero by symmetry."""
    return jax.tree.map(lambda x: jnp.asarray(x + 0.1 * rng.normal(size=x.shape), jnp.float64), params)


def _query_loss(problem: Problem, settings: config.Config, weights: vgg.Params) -> Callable[[Any], jax.Array]:
    """Returns the function from meta-parameters to the loss of one random task after its inner loop."""
    task = jax.tree.map(lambda x: x[0], random_tasks(1, _STEPS, _SIZE, np.float64))
    return jax.jit(lambda meta: outer_loop.task_loss(problem, settings, meta, task, weights, jnp.asarray(0), False)[0])


def _check_scope(problem: Problem, weights: vgg.Params, scope: str) -> Numbers:
    both = {}
    for mode in ("forward_over_reverse", "plain"):
        settings = _settings(scope=scope, gradient=mode)
        rng = np.random.default_rng(1)
        params = _moved_at_random(outer_loop.initial_meta(settings), rng)
        loss = _query_loss(problem, settings, weights)
        both[mode] = jax.jit(jax.grad(loss))(params)
    direction = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), params)
    shifted = lambda by: jax.tree.map(lambda p, d: p + by * d, params, direction)
    numeric = (loss(shifted(_DIFFERENCE)) - loss(shifted(-_DIFFERENCE))) / (2 * _DIFFERENCE)
    analytic = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, both["forward_over_reverse"], direction)))
    return {
        "meta-gradient against finite differences, relative": float(abs(numeric - analytic) / abs(numeric)),
        "forward over reverse against plain, relative": relative_error(*both.values()),
    }


def check_devices() -> Numbers:
    """Compares the averaged meta-gradient and the loss on 1, 2, 4 and 8 simulated devices with a single device."""
    settings, problem, weights = _settings(), small_problem(np.float32), vgg.random_params()
    tasks = random_tasks(DEVICES, _STEPS, _SIZE)
    step = functools.partial(outer_loop.outer_step, problem, settings, False)
    before = outer_loop.initial_state(settings)
    moved = lambda after: jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), before.meta, after.meta)
    after, metrics = jax.jit(step)(before, tasks, weights)
    gradient, loss = moved(after), float(metrics["loss"])
    out: dict[str, float | str] = {}
    for mode in ("shard_map", "pmap"):
        for count in (1, 2, 4, 8):
            parallel = Parallel(mode, DEVICES, jax.devices()[:count])
            arguments = parallel.replicate(before), parallel.split(tasks), parallel.replicate(weights)
            after, metrics = parallel.wrap(step)(*arguments)
            out[f"{mode} on {count}: meta-gradient, relative error"] = relative_error(moved(after), gradient)
            out[f"{mode} on {count}: loss, relative error"] = abs(float(metrics["loss"]) - loss) / abs(loss)
    return out
