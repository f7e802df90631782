"""A new generator imitates a bundle's: where it starts, what it lowers, and that a stopped run goes on exactly."""

import csv
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle import config
from metastyle.errors import InputError, Stopped
from metastyle.meta.parameters import guess_start
from metastyle.nets import generator, style_encoder, vgg
from metastyle.train import imitation
from metastyle.weights import bundles, loss_network, vgg_files
from tests.support.encoders import LENGTH, PARAMS, network_settings, with_weights
from tests.support.numpy_nets import uniform
from tests.support.stopping import stop_at

OLD, NEW = "s4,c3s1-6,R6x1a,p4-3,skip", "c3s1-4,d6.blur,d6.blur,n2x2,R6x1a,u4.bilinear,u4.bilinear,c3s1-3,skip"


@pytest.fixture
def old(tmp_path):
    """A bundle with an encoder of PARAMS."""
    vgg_files.save(tmp_path / "vgg.safetensors", vgg_files.tensors(PARAMS), vgg.TORCHVISION)
    settings = dataclasses.asdict(network_settings()) | {"vgg": str(tmp_path / "vgg.safetensors")}
    settings["generator"]["arch"] = OLD
    settings["inner"] |= {"scope": "norm,adapter,out"}
    settings = config.from_dict(settings)
    digest = loss_network.digest(vgg_files.load(settings.vgg))
    meta = with_weights(settings)
    meta.fast["out/kernel"] *= 20  # its pictures are not grey
    made = bundles.Bundle(settings, meta, 1e-3, network_sha256=digest)
    bundles.save_bundle(tmp_path / "old", made)
    return bundles.load_bundle(tmp_path / "old")


def chosen(old, arch=NEW, **changes):
    values = {
        "run": {"steps": 6, "log_every": 1, "checkpoint_every": 2, "picture_every": 6},
        "data": {"size": 32} | dict.fromkeys(("content", "style", "val_content", "val_style"), "procedural"),
        "generator": {"arch": arch},
        "bundle": str(old.path),
        "keep": "block1,norm_skip",
        "scope": "norm,adapter,noise,out",
        "phases": 4,
        "warmup": 1,
    }
    return config.from_dict(values | changes, config.Imitation)


def begun(old, settings):
    return imitation.begin(settings, imitation.learner_config(settings, old), old.meta)


@pytest.mark.parametrize("octaves", [1, 2])
def test_what_is_kept_is_guessed_as_before_and_the_rest_is_drawn(old, octaves):
    meta = begun(old, chosen(old, octaves=octaves))
    code = jnp.asarray(np.random.default_rng(0).normal(size=(octaves, LENGTH)), jnp.float32)
    ours, theirs = guess_start(meta, code), guess_start(old.meta, code[:1])
    kept = [path for path in {**ours.fast, **ours.slow} if path.startswith(("block1", "norm_skip"))]
    assert len(kept) == 9
    for path in kept:
        np.testing.assert_allclose((ours.fast | ours.slow)[path], (theirs.fast | theirs.slow)[path], rtol=1e-5)
    np.testing.assert_array_equal(ours.fast["norm1/scale"], 1)
    assert set(ours.fast) >= {"noise1/kernel", "out/kernel", "norm2/bias"} and "noise1/seed" in ours.slow


def test_the_same_network_with_everything_kept_has_nothing_to_learn(old, tmp_path):
    everything = chosen(old, OLD, keep="all", phases=1, scope="norm,adapter,out", run={"steps": 1, "log_every": 1})
    imitation.imitate(everything, tmp_path / "run")
    assert float(rows(tmp_path / "run")[1]["loss"]) < 1e-6


def rows(workdir):
    with open(workdir / "metrics.csv", newline="") as file:
        return [None, *csv.DictReader(file)]


def test_the_new_network_comes_nearer_to_the_mean_over_phases(old):
    settings = chosen(old, lr=3e-3, run={"steps": 60}, tasks=1)
    meta, network = begun(old, settings), vgg_files.load(old.config.vgg)
    model = imitation.Model(jax.tree.map(jnp.asarray, old.meta), network)
    task = {name: uniform(1, 1, 32, 32, 3, seed=seed) for seed, name in enumerate(("style", "query"))}
    state = imitation.State(meta, imitation.optimizer(settings).init(meta))
    step, losses = jax.jit(imitation.step, static_argnums=(0, 1)), []
    for _ in range(60):
        state, metrics = step(settings, old.config, state, task, model)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.7 * losses[0]
    code = style_encoder.code(network, task["style"][0])
    start = guess_start(model.meta, code)
    mean = dataclasses.replace(old.config.generator, phases=4)
    goal = generator.apply(mean, start.fast | start.slow, task["query"][0])
    output = imitation.stylised(settings.generator, state.meta, code, task["query"][0])
    error = float(jnp.square(output - goal).mean() / (jnp.square(goal - goal.mean((1, 2))).mean() + 1e-4))
    assert error == pytest.approx(float(metrics["pixels"]), rel=0.2)
    np.testing.assert_array_equal(state.meta.slow["noise1/seed"], meta.slow["noise1/seed"])


@pytest.mark.slow
def test_a_stopped_run_goes_on_as_if_it_had_been_left_alone(old, tmp_path, monkeypatch):
    imitation.imitate(chosen(old), tmp_path / "a")
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(Stopped, match="^stopped after step 3 of 6; the same line continues$"):
            imitation.imitate(chosen(old), tmp_path / "b")
    imitation.imitate(chosen(old), tmp_path / "b")
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    ours, theirs = (bundles.load_bundle(tmp_path / name / "bundle") for name in "ab")
    assert ours == theirs and ours.config.generator.arch == NEW
    assert (tmp_path / "a/pictures/step_0000006.png").exists()


def test_a_run_without_a_step_writes_the_bundle_that_it_starts_with(old, tmp_path):
    settings = chosen(old, run={"steps": 0})
    imitation.imitate(settings, tmp_path / "run")
    made, expected = bundles.load_bundle(tmp_path / "run/bundle"), begun(old, settings)
    jax.tree.map(np.testing.assert_array_equal, made.meta, expected)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"keep": "block9"}, '`keep`: expected norm, adapter, noise, all or prefixes of .*, got "block9"'),
        ({"scope": "norm,block9"}, '`scope`: expected norm, .*, got "block9"'),
        ({"generator": {"arch": "s4"}}, "`generator.arch`: "),
        ({"data": {"size": 8}}, "`data.size`: "),
        ({"bundle": "nowhere"}, "`bundle`: expected a folder"),
    ],
)
def test_bad_settings_are_one_line_and_nothing_is_written(old, tmp_path, changes, message):
    with pytest.raises((InputError, FileNotFoundError), match=message):
        imitation.imitate(chosen(old, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
