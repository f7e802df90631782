"""The warm start: what it reads, what it changes, that it begins at nothing and learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.cli import info
from metastyle.config import Deployment
from metastyle.errors import InputError
from metastyle.evaluate import adapting
from metastyle.evaluate.pairs import Pairs
from metastyle.evaluate.starts import Start
from metastyle.meta import outer_loop
from metastyle.meta.parameters import guess_start
from metastyle.nets import style_encoder, vgg
from metastyle.nets.octaves import octaves
from metastyle.stylize import stylizer
from metastyle.weights import bundles, vgg_files
from tests.support import toy
from tests.support.encoders import LENGTH, PARAMS, network_settings, with_weights


def uniform(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


@pytest.mark.slow
def test_a_code_is_the_logarithm_of_means_and_deviations():
    pictures = uniform(2, 16, 24, 3)
    found = style_encoder.code(PARAMS, pictures)
    assert found.shape == (1, style_encoder.size(PARAMS)) == (1, LENGTH)
    expected = []
    for x in vgg.features(PARAMS, pictures).values():
        x = np.asarray(x, np.float64)
        expected += [np.log(x.mean((1, 2)) + 0.01).mean(0), np.log(x.std((1, 2)) + 0.01).mean(0)]
    np.testing.assert_allclose(found[0], np.concatenate(expected), atol=1e-4)
    single = [style_encoder.code(PARAMS, picture[None]) for picture in pictures]
    np.testing.assert_allclose(found, np.mean(single, 0), atol=1e-5)
    assert np.isfinite(style_encoder.code(PARAMS, np.zeros((1, 16, 16, 3), np.float32))).all()


def test_octaves_are_read_and_normalised_one_by_one():
    pictures = uniform(1, 32, 48, 3)
    both = style_encoder.code(PARAMS, pictures, count=2)
    half = style_encoder.code(PARAMS, octaves(jnp.asarray(pictures), 2)[1])
    np.testing.assert_allclose(both, np.concatenate([style_encoder.code(PARAMS, pictures), half]), atol=1e-5)
    normal = np.split(np.asarray(style_encoder.normalize_code(both)), 2)
    for octave in normal:
        np.testing.assert_allclose([octave.mean(), octave.std()], [0, 1], atol=1e-4)
    np.testing.assert_allclose(normal[1], style_encoder.normalize_code(half), atol=1e-5)


def test_it_begins_at_the_fast_parameters():
    start = outer_loop.initial_meta(toy.settings(hidden=4))
    begun = guess_start(start, jnp.asarray([0.1, 0.5, 0.9]))
    assert begun.encoder is None
    jax.tree.map(np.testing.assert_array_equal, begun, dataclasses.replace(start, encoder=None))


def test_without_an_encoder_nothing_changes():
    start = outer_loop.initial_meta(toy.settings())
    assert guess_start(start, jnp.ones(3)) is start


def test_the_guess_is_two_layers_on_the_normalised_code():
    start, code = with_weights(toy.settings(inner={"scope": "all"}, hidden=4)), np.float32([0.1, 0.5, 0.9])
    weights = {path: np.asarray(x, np.float64) for path, x in start.encoder.items()}
    normal = (code - code.mean()) / code.std()
    offsets = np.maximum(normal @ weights["hidden/kernel"] + weights["hidden/bias"], 0) @ weights["out/kernel"]
    begun, place = guess_start(start, code).fast, 0
    for path, x in sorted(start.fast.items()):
        if path.startswith("norm"):
            expected = x + offsets[place : place + x.size].reshape(x.shape)
            np.testing.assert_allclose(begun[path], expected, atol=1e-4)
            place += x.size
        else:
            np.testing.assert_array_equal(begun[path], x)
    assert place == offsets.size > 0


@pytest.mark.slow
def test_the_outer_loop_trains_it():
    """Styles differ in colour: what is guessed from the colour is better than what is the same for all."""
    found = []
    for hidden in (0, 16):
        settings = toy.settings(inner={"steps": 0}, outer={"lr": 1e-2}, run={"steps": 150}, hidden=hidden)
        step = jax.jit(
            lambda state, tasks, s=settings: outer_loop.outer_step(toy.problem(), s, True, state, tasks, toy.VGG)
        )
        state, curve = outer_loop.initial_state(settings), []
        for k in range(150):
            state, metrics = step(state, toy.tasks(8, steps=0, seed=k))
            curve.append(float(metrics["query"]))
        found.append(np.mean(curve[-20:]))
    assert found[1] < 0.8 * found[0]


def test_a_bundle_keeps_it(tmp_path):
    settings = toy.settings(hidden=4)
    start = with_weights(settings)
    bundles.save_bundle(tmp_path / "b", bundles.Bundle(settings, start, 1e-3))
    loaded = bundles.load_bundle(tmp_path / "b")
    jax.tree.map(np.testing.assert_array_equal, loaded.meta, start)
    assert info.describe_bundle(tmp_path / "b")["warm start"] == "an encoder of 48 parameters"


def test_a_bundle_without_its_encoder_is_refused(tmp_path):
    settings = toy.settings(hidden=4)
    bundles.save_bundle(tmp_path / "b", bundles.Bundle(settings, outer_loop.initial_meta(toy.settings()), 1e-3))
    with pytest.raises(InputError, match="got no encoder/hidden/bias"):
        bundles.load_bundle(tmp_path / "b")


@pytest.mark.slow
def test_zero_steps_depend_on_the_style(tmp_path):
    vgg_files.save(tmp_path / "vgg.safetensors", vgg_files.tensors(PARAMS), vgg.TORCHVISION)
    settings = dataclasses.replace(network_settings(), vgg=str(tmp_path / "vgg.safetensors"))
    start = bundles.Bundle(settings, with_weights(settings), 1e-3)
    moved = dataclasses.replace(start, config=dataclasses.replace(settings, vgg="gone.safetensors"))
    styles = [
        stylizer.Stylizer(bundle).adapt(uniform(32, 32, 3, seed=i), steps=0, weights=weights)
        for i, bundle, weights in ((1, start, None), (1, start, "slim"), (1, moved, settings.vgg), (2, start, None))
    ]
    a, *same, other = (style.file.fast for style in styles)
    for one in same:
        jax.tree.map(np.testing.assert_array_equal, a, one)
    assert toy.relative_error(a, other) > 1e-3
    paintings = [uniform(32, 32, 3, seed=i) for i in (1, 2)]
    code = np.mean([style_encoder.code(PARAMS, x[None]) for x in paintings], 0)
    both = stylizer.Stylizer(start).adapt(paintings, steps=0).file.fast
    for path, x in guess_start(start.meta, code).fast.items():
        np.testing.assert_allclose(both[path], x, rtol=2e-3, atol=1e-3)  # half precision


def test_another_loss_network_is_refused():
    settings = dataclasses.replace(network_settings(code=480), vgg="random")
    start = bundles.Bundle(settings, outer_loop.initial_meta(settings), 1e-3)
    message = r"`vgg`: expected the loss network .* codes have 480 numbers .*, got one whose codes have 36"
    with pytest.raises(InputError, match=message):
        adapting.bundle("ours", Start(start), PARAMS, (0,))
    with pytest.raises(InputError, match="`vgg`: expected the loss network that the encoder is for"):
        stylizer.Stylizer(start).adapt(uniform(32, 32, 3), steps=0, weights="slim")


@pytest.mark.slow
def test_it_reads_by_its_own_network_whatever_the_bundle_learns_with():
    settings, pair = network_settings(), Pairs("procedural", "procedural", 1, 32)[0]
    start = Start(bundles.Bundle(settings, with_weights(settings), 1e-3), Deployment(learn_with="random"))
    own, other = (
        {view.steps: view.picture for view in adapting.bundle("ours", start, params, (0, 1), PARAMS).views(pair)}
        for params in (PARAMS, vgg.random_params())
    )
    np.testing.assert_array_equal(own[0], other[0])
    assert np.abs(own[1] - other[1]).max() > 1e-4


def test_reptile_has_none():
    with pytest.raises(InputError, match="`encoder.hidden`: reptile trains no encoder"):
        toy.settings(inner={"scope": "all"}, outer={"update": "reptile"}, hidden=4)
