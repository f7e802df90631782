"""The method of Gatys et al.: its optimisation, against scipy and by identities, and its runs from files to a file."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.config import Loss
from metastyle.errors import RETRY, InputError
from metastyle.evaluate.baselines import gatys, gatys_files
from metastyle.evaluate.baselines.gatys import Settings
from metastyle.images import codec
from metastyle.images.resize import resize_short, square
from metastyle.losses import perceptual
from metastyle.nets import vgg
from tests.support.places import ROOT

PARAMS = vgg.random_params()
SIZE = 24  # px; the photograph is 24 x 32, paintings are squares
LBFGS, ADAM = Settings(iterations=12), Settings(iterations=12, optimizer="adam")

every_optimizer = pytest.mark.parametrize("settings", [LBFGS, ADAM], ids=["lbfgs", "adam"])


def picture(seed, height=SIZE, width=SIZE):
    """Noise in one hue, which has values on both bounds."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(rng.uniform(size=3), 0.4, (height, width, 3))
    return np.round(255 * np.clip(noise, 0, 1)).astype(np.float32) / 255


PHOTOGRAPH, PAINTING = picture(0, width=32), picture(1)


@pytest.fixture(scope="module")
def objective():
    return gatys.objective(PARAMS, PHOTOGRAPH, [PAINTING])


def last(states):
    *_, state = states
    return state


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


# The optimisation


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


@every_optimizer
def test_the_loss_goes_down_within_the_bounds(objective, settings):
    states = list(gatys.optimise(objective, PHOTOGRAPH, settings))
    assert [state.iteration for state in states] == list(range(13))
    np.testing.assert_array_equal(states[0].picture, PHOTOGRAPH)
    assert states[-1].loss < 0.7 * states[0].loss
    for state in states:
        assert 0 <= state.picture.min() and state.picture.max() <= 1
        np.testing.assert_allclose(state.loss, objective(state.picture)[0], rtol=1e-6)
    assert settings is ADAM or all(b.loss < a.loss for a, b in zip(states, states[1:], strict=False))


def test_an_iteration_of_lbfgs_takes_about_one_evaluation(objective):
    count = 0

    def counting(x):
        nonlocal count
        count += 1
        return objective(x)

    last(gatys.optimise(counting, PHOTOGRAPH, dataclasses.replace(LBFGS, iterations=40)))
    assert 41 <= count <= 46


def test_lbfgs_gets_lower_than_adam(objective):
    found = {
        name: last(gatys.optimise(objective, PHOTOGRAPH, Settings(iterations=40, optimizer=name))).loss
        for name in ("lbfgs", "adam")
    }
    assert found["lbfgs"] < found["adam"]


def test_the_seed_decides_the_noise(objective):
    noise = Settings(iterations=3, start="noise", seed=1)
    state = last(gatys.optimise(objective, PHOTOGRAPH, noise))
    assert_same(last(gatys.optimise(objective, PHOTOGRAPH, noise)), state)
    start, other = (gatys.init(objective, PHOTOGRAPH, Settings(start="noise", seed=seed)).picture for seed in (1, 2))
    assert 0 <= start.min() < 0.01 and 0.99 < start.max() <= 1
    assert jnp.abs(start - other).mean() > 0.1


@every_optimizer
def test_continued_from_a_copy_is_uninterrupted(objective, settings):
    whole = list(gatys.optimise(objective, PHOTOGRAPH, settings))
    copied = jax.tree.map(lambda x: x if np.isscalar(x) else jnp.asarray(np.array(x)), whole[5])
    rest = list(gatys.optimise(objective, PHOTOGRAPH, settings, copied))
    assert len(rest) == 8
    for a, b in zip(whole[5:], rest, strict=True):
        assert_same(a, b)


def quadratic(seed, condition):
    """1/2 (x - a)^T A (x - a) over [0, 1]^(2, 4, 3), with about half of `a` outside: (objective, A, a)."""
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(24, 24)))
    matrix, lowest = q @ np.diag(np.geomspace(1, condition, 24)) @ q.T, rng.uniform(-0.5, 1.5, 24)

    def objective(x):
        error = np.asarray(x, np.float64).ravel() - lowest
        return 0.5 * error @ matrix @ error, jnp.asarray((matrix @ error).reshape(x.shape), jnp.float32)

    return objective, matrix, lowest


@pytest.mark.parametrize("seed", range(3))
def test_a_quadratic_within_bounds_ends_where_scipy_ends(seed):
    optimize = pytest.importorskip("scipy.optimize")
    objective, matrix, lowest = quadratic(seed, 20)
    expected = optimize.minimize(
        lambda x: (0.5 * (x - lowest) @ matrix @ (x - lowest), matrix @ (x - lowest)),
        np.full(24, 0.5), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * 24, options={"ftol": 1e-14, "gtol": 1e-9},
    )  # fmt: skip
    state = last(gatys.optimise(objective, np.full((2, 4, 3), 0.5), Settings(iterations=200)))
    assert 4 <= np.isin(state.picture, (0, 1)).sum() < 24
    np.testing.assert_allclose(state.loss, expected.fun, rtol=1e-5)
    np.testing.assert_allclose(np.ravel(state.picture), expected.x, atol=1e-3)


def test_a_curved_valley_is_followed_with_shorter_steps():
    """Rosenbrock's function of the first two values, lowest at 3/4."""

    @jax.jit
    @jax.value_and_grad
    def rosenbrock(x):
        a, b = 4 * x.ravel()[:2] - 2
        return (1 - a) ** 2 + 100 * (b - a**2) ** 2

    evaluations = []

    def objective(x):
        evaluations.append(x)
        return rosenbrock(x)

    start = np.full(24, 0.5)
    start[:2] = 0.2, 0.75
    run = gatys.optimise(objective, start.reshape(2, 4, 3), Settings(iterations=60))
    counted = [(state, len(evaluations)) for state in run]
    np.testing.assert_allclose(np.ravel(counted[-1][0].picture)[:3], [0.75, 0.75, 0.5], atol=1e-3)
    assert not counted[20][0].converged and counted[20][1] > 21


def test_at_the_minimum_nothing_more_is_computed():
    evaluations = []

    def objective(x):
        evaluations.append(x)
        return jnp.square(x - 0.5).sum(), 2 * (x - 0.5)

    states = list(gatys.optimise(objective, np.full((2, 4, 3), 0.5), Settings(iterations=5)))
    assert [(s.iteration, s.converged) for s in states] == [(0, False), *((k, True) for k in range(1, 6))]
    assert len(evaluations) == 1


@every_optimizer
@pytest.mark.parametrize(("value", "slope", "said"), [(np.nan, 1, "loss is nan"), (1, np.inf, "gradient of the loss")])
def test_what_is_not_finite_is_said_with_its_iteration(settings, value, slope, said):
    def objective(x):
        if x.max() < 0.9:
            return jnp.float32(value), jnp.full(x.shape, slope, jnp.float32)
        return jnp.square(x).sum(), 2 * x

    with pytest.raises(FloatingPointError, match=f"iteration [1-9]: the {said}.*; check the VGG weights"):
        last(gatys.optimise(objective, np.ones((2, 4, 3)), dataclasses.replace(settings, lr=0.05)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": -1}, {"optimizer": "sgd"}, {"lr": 0.0}, {"lr": float("nan")}, {"start": "style"}, {"seed": -1}
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=re.escape(f"`{name}`: expected ") + ".*" + re.escape(f"got {value!r}")):
        Settings(**wrong)


def test_real_features(sample_data):
    photograph, painting = (
        square(codec.load(sorted((sample_data / folder).glob("*.jpg"))[0])[0], 64)
        for folder in ("data/content/val", "data/style/val")
    )
    objective = gatys.objective(vgg.load("vgg16"), photograph, [painting])
    state = last(gatys.optimise(objective, photograph, Settings(iterations=10)))
    seen = codec.to_uint8(np.asarray(state.picture)).astype(np.float32) / 255
    assert objective(seen)[0] < 0.6 * objective(photograph)[0]


# From files to a file


@pytest.fixture
def files(tmp_path):
    """The arguments of a small run: a photograph of 48 x 64 px, a painting, and `out`."""
    codec.save(tmp_path / "photo.png", np.repeat(np.repeat(PHOTOGRAPH, 2, 0), 2, 1))
    codec.save(tmp_path / "painting.png", PAINTING)
    (tmp_path / "results").mkdir()
    return {
        "content": tmp_path / "photo.png", "styles": [tmp_path / "painting.png"], "out": tmp_path / "results/out.png",
        "settings": Settings(iterations=6), "size": SIZE, "every": 2, "weights": "random",
    }  # fmt: skip


def names(files):
    return sorted(path.name for path in files["out"].parent.iterdir())


def pixels(path):
    return codec.load(path)[0]


def stop_after(monkeypatch, iteration):
    """SIGTERM arrives during that iteration."""
    step = gatys.step

    def interrupted(objective, settings, state):
        if state.iteration + 1 == iteration:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(objective, settings, state)

    monkeypatch.setattr(gatys, "step", interrupted)


def test_a_run_writes_its_pictures(files, capsys):
    assert gatys_files.stylize_file(**files)
    assert names(files) == ["out.png", "out_0002.png", "out_0004.png"]
    assert pixels(files["out"]).shape == PHOTOGRAPH.shape
    photograph = resize_short(pixels(files["content"]), SIZE)
    expected = last(gatys.optimise(gatys.objective(PARAMS, photograph, [PAINTING]), photograph, files["settings"]))
    np.testing.assert_array_equal(codec.to_uint8(np.asarray(expected.picture)), codec.to_uint8(pixels(files["out"])))
    assert capsys.readouterr().out == f"wrote {files['out']}: J {expected.loss:.4f} after 6 iterations\n"


def test_a_small_photograph_is_not_enlarged(files):
    assert gatys_files.stylize_file(**files | {"content": PHOTOGRAPH, "size": 100, "style_size": SIZE, "every": 0})
    assert pixels(files["out"]).shape == PHOTOGRAPH.shape
    assert names(files) == ["out.png"]


@every_optimizer
def test_stopped_and_continued_is_uninterrupted(files, settings, monkeypatch, capsys):
    files["settings"] = dataclasses.replace(settings, iterations=6, start="noise")
    assert gatys_files.stylize_file(**files)
    whole = {path.name: path.read_bytes() for path in files["out"].parent.iterdir()}
    for path in files["out"].parent.iterdir():
        path.unlink()

    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        assert not gatys_files.stylize_file(**files)
    assert "stopped after iteration 3 of 6; the same line continues" in capsys.readouterr().out
    assert names(files) == ["out.png.state", "out_0002.png"]
    step, done = gatys.step, []
    monkeypatch.setattr(gatys, "step", lambda *given: done.append(given[2].iteration) or step(*given))
    assert gatys_files.stylize_file(**files)
    assert done == [3, 4, 5]
    assert {path.name: path.read_bytes() for path in files["out"].parent.iterdir()} == whole


@pytest.fixture
def stopped(files, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        assert not gatys_files.stylize_file(**files)
    return files


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"content": PHOTOGRAPH}, "content"),
        ({"styles": [picture(5)]}, "style"),
        ({"styles": [PAINTING, PAINTING]}, "style"),
        ({"size": 16, "style_size": SIZE}, "size"),
        ({"style_size": 16}, "style_size"),
        ({"settings": dataclasses.replace(ADAM, iterations=6)}, "optimizer"),
        ({"settings": Settings(iterations=6, seed=1)}, "seed"),
        ({"settings": Settings(iterations=6, loss=Loss(style=1.0))}, "style_weight"),
        ({"settings": Settings(iterations=2)}, "iterations"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_the_state_of_another_run_is_refused(stopped, change, name):
    before = names(stopped)
    with pytest.raises(InputError, match=f"`{name}`: the run that .*out.png.state continues has .*, got .*; "):
        gatys_files.stylize_file(**stopped | change)
    assert names(stopped) == before


@pytest.mark.parametrize("damage", [b"", b"{}", "half"], ids=["empty", "no state", "half"])
def test_a_damaged_state_is_refused(stopped, damage):
    path = stopped["out"].with_name("out.png.state")
    contents = path.read_bytes()
    path.write_bytes(contents[: len(contents) // 2] if damage == "half" else damage)
    with pytest.raises(InputError, match="`out`: cannot continue .*out.png.state, .*; delete it to start afresh"):
        gatys_files.stylize_file(**stopped)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"content": "nowhere.jpg"}, "`content`: no such file: 'nowhere.jpg'"),
        ({"content": np.zeros((4, 40, 3), np.uint8)}, "`content`: expected sides of at least 8 px, got 40 x 4"),
        ({"max_pixels": 100}, "`content`: expected at most 100 pixels"),
        ({"styles": []}, "`style`: expected at least one picture, got none"),
        ({"styles": ["nowhere.jpg"]}, "`style`: no such file: 'nowhere.jpg'"),
        ({"out": "out.txt"}, "`out`: expected a name that ends in "),
        ({"out": "nowhere/out.png"}, "`out`: no such folder: "),
        ({"size": 7}, "`size`: expected at least 8, got 7"),
        ({"style_size": 0}, "`style_size`: expected at least 8, got 0"),
        ({"every": -1}, "`every`: expected at least 0, got -1"),
        (
            {"weights": "nowhere.safetensors"},
            "`vgg`: expected slim, vgg16, random or a safetensors file, got 'nowhere.safetensors'",
        ),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_bad_input_is_one_line_before_anything_is_written(files, wrong, line):
    with pytest.raises((InputError, FileNotFoundError), match=f"^{re.escape(line)}") as caught:
        gatys_files.stylize_file(**files | wrong)
    assert "\n" not in str(caught.value)
    assert names(files) == []


# The command line


def start(files, *changes):
    line = [
        sys.executable, "-m", "experiments.gatys", f"--content={files['content']}", f"--style={files['styles'][0]}",
        f"--out={files['out']}", f"--size={SIZE}", "--every=10", "--vgg=random", *changes,
    ]  # fmt: skip
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_the_command_line_is_stopped_continued_and_completed(files):
    process = start(files, "--iterations=1000000")
    while process.poll() is None and "out.png.state" not in names(files):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    status, out, err = end(process)
    assert status == RETRY, err
    done = int(re.search(r"^stopped after iteration (\d+) of 1000000; the same line continues$", out, re.M)[1])
    assert "J " in err and not files["out"].exists()

    status, out, err = end(start(files, f"--iterations={done + 1}"))
    assert status == 0, err
    assert re.fullmatch(rf"wrote .*out.png: J 0\.\d{{4}} after {done + 1} iterations\n", out)
    assert pixels(files["out"]).shape == PHOTOGRAPH.shape and "out.png.state" not in names(files)


def test_a_mistake_on_the_command_line_is_one_line(files):
    mistakes = {
        "--style_weight=-1": "error: flag --style_weight=-1: ",
        "--content=nowhere.jpg": "error: `content`: no such file: 'nowhere.jpg'",
    }
    running = {line: start(files, flag) for flag, line in mistakes.items()}
    for line, process in running.items():
        status, out, err = end(process)
        assert (status, out) == (1, "") and err.startswith(line) and err.count("\n") == 1, err
    assert names(files) == []
