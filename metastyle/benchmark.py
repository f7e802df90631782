"""Measurements of this machine and of the identities that the package promises; each section returns plain numbers."""

import functools
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from metastyle.errors import InputError

Numbers = dict[str, float | str]
_DEVICES = 8
_JUDGED = 8


def run(names: list[str], out: str | None = None) -> Numbers:
    """Runs sections, each in a process of its own, printing a line per number; optionally writes them as JSON."""
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        raise InputError(f"`only`: expected some of {', '.join(SECTIONS)}, got {unknown[0]}")
    results: Numbers = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "python": platform.python_version()}
    for name in names or SECTIONS:
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            code = f"from metastyle import benchmark; benchmark.run_section({name!r}, {file.name!r})"
            status = subprocess.run([sys.executable, "-c", code], check=False).returncode
            if status:
                raise InputError(f"`only`: section {name} ended with status {status}; see above")
            results |= {f"{name}: {key}": value for key, value in json.loads(Path(file.name).read_text()).items()}
        for key, value in results.items():
            if key.startswith(f"{name}: "):
                print(f"{key:<78}{value:>12.4g}" if isinstance(value, int | float) else f"{key:<78}{value}", flush=True)
    if out:
        from metastyle.images import atomic

        with atomic(out) as temporary:
            temporary.write_text(json.dumps(results, indent=2) + "\n")
    return results


def run_section(name: str, out: str) -> None:
    """One section in this process; its numbers as JSON into `out`."""
    if name == "devices":
        import jax

        jax.config.update("jax_num_cpu_devices", _DEVICES)
    Path(out).write_text(json.dumps(SECTIONS[name]()))


def small_problem(dtype: Any) -> Any:
    """The real losses on a slim random VGG and a tiny net, in any precision: what identities are checked on."""
    import jax
    import jax.numpy as jnp

    from metastyle import config, generator, losses
    from metastyle.adapt import Prepared, Problem, content_batch

    loss, network = config.Loss(), generator.Network("s4,c3s1-8,p4-3,skip", dtype)

    def prepare(task, vgg):
        support = jax.tree.map(lambda *x: jnp.stack(x), *[content_batch(vgg, x, loss, dtype) for x in task["support"]])
        return Prepared(
            losses.style_target(vgg, task["style"], loss, dtype),
            support,
            content_batch(vgg, task["query"], loss, dtype),
        )

    def style_loss(fast, slow, batch, target, vgg):
        out = network.apply({"params": generator.unflatten({**fast, **slow})}, batch["images"])
        return losses.perceptual(vgg, out, batch["content"], target, loss, dtype).total.mean()

    return Problem(prepare, style_loss)


def _settings(**inner: Any) -> Any:
    from metastyle import config

    outer = {
        "tasks": _DEVICES,
        "optimizer": "sgd",
        "lr": 1.0,
        "lrs_lr": 1.0,
        "decay": "inverse",
        "warmup": 0,
        "clip": 0.0,
    }
    return config.from_dict(
        {
            "generator": {"arch": "s4,c3s1-8,p4-3,skip"},
            "data": {"size": 16},
            "inner": {"steps": 2, **inner},
            "outer": outer,
        }
    )


def _tasks(count: int, steps: int, size: int, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.uniform(size=(count, *shape, size, size, 3)).astype(dtype)
    return {"style": draw(1), "support": draw(steps, 1), "query": draw(1)}


def _first(tree: Any) -> Any:
    import jax

    return jax.tree.map(lambda x: x[0], tree)


def relative_error(a: Any, b: Any) -> float:
    """Norm of the difference over the norm of `b`, over whole trees."""
    import jax

    a, b = (np.concatenate([np.ravel(x).astype(np.float64) for x in jax.tree.leaves(tree)]) for tree in (a, b))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def gradients() -> Numbers:
    """The second-order meta-gradient against central differences, and its two forms against each other (float64)."""
    import jax
    import jax.numpy as jnp

    from metastyle import meta, vgg

    out: Numbers = {}
    with jax.enable_x64(True):
        problem = small_problem(jnp.float64)
        weights = jax.tree.map(lambda x: x.astype(jnp.float64), vgg.random_params())
        for scope in ("norm", "all"):
            both = {}
            for mode in ("forward_over_reverse", "plain"):
                settings = _settings(scope=scope, gradient=mode)
                rng = np.random.default_rng(1)
                moved = lambda x: jnp.asarray(x + 0.1 * rng.normal(size=x.shape), jnp.float64)  # noqa: B023
                params = jax.tree.map(moved, meta.initial_meta(settings))
                task = _first(_tasks(1, 2, 16, np.float64))
                loss = jax.jit(lambda m: meta.task_loss(problem, settings, m, task, weights, 0, False)[0])  # noqa: B023
                both[mode] = jax.jit(jax.grad(loss))(params)
            direction = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), params)  # noqa: B023
            ahead, behind = (jax.tree.map(lambda p, d: p + s * d, params, direction) for s in (1e-6, -1e-6))  # noqa: B023
            numeric = (loss(ahead) - loss(behind)) / 2e-6
            analytic = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, both["forward_over_reverse"], direction)))
            out[f"{scope}: meta-gradient against finite differences, relative"] = float(
                abs(numeric - analytic) / abs(numeric)
            )
            out[f"{scope}: forward over reverse against plain, relative"] = relative_error(*both.values())
    return out


def speed() -> Numbers:
    """One meta-step, forward over reverse, plain and first order: compact, 128 px, K = 3, real VGG, both scopes."""
    import jax

    from metastyle import adapt, config, meta, vgg

    out: Numbers = {}
    weights, size, steps = vgg.load(), 128, 3
    for scope in ("norm", "all"):
        compiled: dict[str, Callable] = {}
        for name, mode, first in (
            ("forward over reverse", "forward_over_reverse", False),
            ("plain", "plain", False),
            ("first order", "plain", True),
        ):
            inner = {"steps": steps, "gradient": mode, "scope": scope}
            settings = config.from_dict({"data": {"size": size}, "inner": inner})
            problem = adapt.style_problem(settings.generator, settings.loss)
            step = jax.jit(functools.partial(meta.outer_step, problem, settings, first))
            arguments = (meta.initial_state(settings), _tasks(1, steps, size), weights)
            began = time.perf_counter()
            compiled[name] = functools.partial(step.lower(*arguments).compile(), *arguments)
            out[f"{scope}, {name}: trace and compile, s"] = time.perf_counter() - began
            jax.block_until_ready(compiled[name]())
        seconds: dict[str, list[float]] = {name: [] for name in compiled}
        for _ in range(7):  # in turns, so that what else the machine does hits all alike
            for name, step in compiled.items():
                began = time.perf_counter()
                jax.block_until_ready(step())
                seconds[name].append(time.perf_counter() - began)
        for name, values in seconds.items():
            out[f"{scope}, {name}: run, s"] = float(np.median(values))
    return out


def memory() -> Numbers:
    """Temporary memory of the meta-gradient at K = 10 against K = 1, with remat: compact, 128 px, real VGG."""
    import jax

    from metastyle import adapt, config, meta, vgg

    out: Numbers = {}
    weights = vgg.load()
    for multi_step in (0, 100):
        sizes = {}
        for steps in (1, 10):
            settings = config.from_dict(
                {"data": {"size": 128}, "inner": {"steps": steps, "remat": True}, "outer": {"multi_step": multi_step}}
            )
            problem = adapt.style_problem(settings.generator, settings.loss)
            step = jax.jit(functools.partial(meta.outer_step, problem, settings, False))
            compiled = step.lower(meta.initial_state(settings), _tasks(1, steps, 128), weights).compile()
            sizes[steps] = compiled.memory_analysis().temp_size_in_bytes / 2**20
        kind = "multi-step loss" if multi_step else "last query loss"
        out |= {f"{kind}: temporary memory at K = {k}, MiB": v for k, v in sizes.items()}
        out[f"{kind}: K = 10 over K = 1"] = sizes[10] / sizes[1]
    return out


def devices() -> Numbers:
    """The averaged meta-gradient and the loss on 1, 2, 4, 8 simulated devices against one device without a mesh."""
    import jax

    from metastyle import meta, vgg
    from metastyle.mesh import Parallel

    settings, problem, weights = _settings(), small_problem(np.float32), vgg.random_params()
    tasks = _tasks(_DEVICES, 2, 16)
    step = functools.partial(meta.outer_step, problem, settings, False)
    before = meta.initial_state(settings)
    moved = lambda after: jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), before["meta"], after["meta"])
    after, metrics = jax.jit(step)(before, tasks, weights)
    gradient, loss = moved(after), float(metrics["loss"])
    out: Numbers = {}
    for mode in ("shard_map", "pmap"):
        for count in (1, 2, 4, 8):
            parallel = Parallel(mode, _DEVICES, jax.devices()[:count])
            after, metrics = parallel.compile(step)(
                parallel.replicate(before), parallel.split(tasks), parallel.replicate(weights)
            )
            out[f"{mode} on {count}: meta-gradient, relative error"] = relative_error(moved(after), gradient)
            out[f"{mode} on {count}: loss, relative error"] = abs(float(metrics["loss"]) - loss) / abs(loss)
    return out


def importing() -> Numbers:
    """`import metastyle` in a fresh Python; it starts no JAX backend, as it doesn't even import jax."""
    code = (
        "import sys, time; began = time.perf_counter(); import metastyle; print(time.perf_counter() - began); "
        "assert not {'jax', 'orbax', 'tensorflow_datasets'} & set(sys.modules)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True) for _ in range(5)]
    return {"import metastyle, s": float(np.median([float(run.stdout) for run in runs]))}


def _command(*arguments: str, **environment: str) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} exited with {done.returncode}: {done.stderr[-500:]}")
    return time.perf_counter() - began


_META_TRAIN = ("-m", "experiments.meta_train", "--config=configs/tiny_cpu.py")
_ADAPT = ("-c", "from metastyle.cli import main; main()", "adapt")


def tiny() -> Numbers:
    """`tiny_cpu` from nothing: wall time with a cold compile cache, and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = _command(*_META_TRAIN, f"--workdir={folder}/run", METASTYLE_CACHE=f"{folder}/cache", **_weights())
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"wall, s": seconds, "peak memory, GiB": peak}


def adaptation() -> Numbers:
    """`metastyle adapt`, 10 steps, compact, one 256 px photograph per step, real VGG, with a warm compile cache."""
    from metastyle import bundles, config, meta, paths

    with tempfile.TemporaryDirectory() as folder:
        settings = config.from_dict({"data": {"size": 256}, "inner": {"steps": 5}})
        start = {
            part: {k: np.asarray(v) for k, v in flat.items()} for part, flat in meta.initial_meta(settings).items()
        }
        bundles.save_bundle(f"{folder}/bundle", bundles.Bundle(settings, start, 1e-2))
        style = paths.demo_pictures("styles")[0]
        line = (*_ADAPT, f"--bundle={folder}/bundle", f"--style={style}", "--steps=10", f"--out={folder}/x.safetensors")
        environment = {"METASTYLE_CACHE": f"{folder}/cache", **_weights()}
        cold, *warm = (_command(*line, **environment) for _ in range(4))
    return {"cold cache, s": cold, "warm cache, s": float(np.median(warm))}


def quality() -> Numbers:
    """`tiny_cpu` on the sample data's training pictures, judged on val pictures (experiments.evaluate)."""
    from metastyle import config, evaluate, paths

    data = paths.sample_data()
    if data is None:
        raise InputError("`only`: section quality needs the sample data; set METASTYLE_SAMPLE_DATA")
    with tempfile.TemporaryDirectory() as folder:
        sources = [
            f"--config.data.{field}=folder:{data}/data/{place}"
            for field, place in {
                "content": "content/train", "style": "style/train",
                "val_content": "content/val", "val_style": "style/val",
            }.items()
        ]  # fmt: skip
        seconds = _command(*_META_TRAIN, f"--workdir={folder}/run", *sources)
        settings = config.evaluation({
            "contents": f"{data}/data/content/val", "styles": f"{data}/data/style/val", "pairs": _JUDGED, "size": 128,
            "steps": (0, 3, *range(10, 16)), "methods": ("identity", "random"),
        })  # fmt: skip
        starts = evaluate.load([f"tiny={folder}/run/bundle"])
        summary = evaluate.run(settings, starts, f"{folder}/report")["summary"]
    tiny_j = {line["steps"]: line["J"] for line in summary if line["method"] == "tiny"}
    random_j = [line["J"] for line in summary if line["method"].startswith("random") and line["steps"] == 10]
    return {f"J after {k} steps": j for k, j in tiny_j.items()} | {
        "J of the photograph": next(line["J"] for line in summary if line["method"] == "photograph"),
        "J of a random start after 10 Adam steps, best rate": min(random_j),
        "J after 10 steps over J after 0": tiny_j[10] / tiny_j[0],
        "training, s": seconds,
    }


def _weights() -> dict[str, str]:
    """The VGG in use, for commands whose cache folder is another."""
    from metastyle import vgg

    return {"METASTYLE_VGG16": str(vgg.locate())}


SECTIONS: dict[str, Callable[[], Numbers]] = {
    "gradients": gradients, "speed": speed, "memory": memory, "devices": devices, "import": importing, "tiny": tiny,
    "adapt": adaptation, "quality": quality,
}  # fmt: skip
