"""The first-order meta-gradient of `johnson`, and `johnson` alone, timed against the PyTorch twin of torch_twin.py."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from metastyle import config
from metastyle.benchmark import Numbers, timing
from metastyle.benchmark.speed import network_weights, random_tasks
from metastyle.benchmark.timing import Stage
from metastyle.meta import outer_loop
from metastyle.meta.problem import Networks, style_problem
from metastyle.nets import generator, vgg

_SIZE, _STEPS, _TOLERANCE = 128, 1, 1e-3


def time_twins() -> Numbers:
    """Times ours and torch in turns, both in full float32, after checking that both compute the same.

    Raises FloatingPointError if they don't.
    """
    try:
        import torch  # pyright: ignore[reportMissingImports]  # no dependency of the package

        from metastyle.benchmark import torch_twin
    except ImportError:
        return {"skipped": "torch is not installed"}
    jax.config.update("jax_default_matmul_precision", "highest")
    torch.backends.cudnn.allow_tf32 = False
    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        return {"skipped": "torch has no CUDA device"}
    settings = comparison_settings("johnson", _SIZE, _STEPS)
    ours, theirs = build_twins(settings, network_weights(), device)
    differences = relative_differences(ours.call(), theirs.call())
    if max(differences.values()) > _TOLERANCE:
        raise FloatingPointError(f"the twins compute different numbers: {differences}")
    title = f"meta-gradient, first order, {_SIZE} px, K = {_STEPS}"
    out: dict[str, float | str] = {
        f"{title}: {name}, relative difference": value for name, value in differences.items()
    }
    out |= timing.time_stages({f"{title}, ours": ours, f"{title}, torch": theirs})

    params, photograph = generator.initial_params(settings.generator, 0), random_tasks(1, 1, 256)["query"][0]
    arguments = torch_twin.params(params, device), torch_twin.pictures(photograph, device)
    network = functools.partial(generator.stylize, settings.generator)
    stages = {
        "johnson, 256 px, ours": timing.compile_stage(network, params, photograph),
        "johnson, 256 px, torch": Stage(functools.partial(torch_twin.stylize, *arguments)),
    }
    return out | timing.time_stages(stages)


def comparison_settings(arch: str, size: int, steps: int) -> config.Config:
    """Returns settings whose loss is that of the query alone and whose rates don't learn, as in the twin."""
    inner = {"steps": steps, "rate_kind": "fixed"}
    sections = {"data": {"size": size}, "generator": {"arch": arch}, "inner": inner, "outer": {"objective": "mean"}}
    return config.from_dict(sections)


def build_twins(settings: config.Config, weights: vgg.Params, device: str = "cpu") -> tuple[Stage, Stage]:
    """Builds ours and torch's meta-gradient of the same parameters and pictures; calls return `(loss, gradients)`."""
    from metastyle.benchmark import torch_twin

    problem, learned = style_problem(settings.generator, settings.loss), outer_loop.initial_meta(settings)
    batch = random_tasks(1, settings.inner.steps, settings.data.size)

    def ours(learned, batch, networks):
        metrics, gradient = outer_loop.meta_gradient(problem, settings, learned, batch, networks, jnp.asarray(0), True)
        return metrics["query"], gradient.fast | gradient.slow

    trees = learned.fast, learned.slow, jax.tree.map(np.exp, learned.log_lr)
    task = {name: torch_twin.pictures(x[0], device) for name, x in batch.items()}
    arguments = *(torch_twin.params(tree, device) for tree in trees), task, torch_twin.params(weights, device)
    theirs = functools.partial(torch_twin.meta_gradient, *arguments, settings.loss)
    return timing.compile_stage(ours, learned, batch, Networks(weights)), Stage(theirs)


def relative_differences(ours: tuple, theirs: tuple) -> dict[str, float]:
    """Returns the relative differences of the loss and of the norm of the gradient."""
    (a, gradient_a), (b, gradient_b) = ours, theirs
    norm_a, norm_b = (math.sqrt(sum(float((g**2).sum()) for g in x.values())) for x in (gradient_a, gradient_b))
    return {"loss": abs(float(a) / float(b) - 1), "gradient norm": abs(norm_a / norm_b - 1)}
