"""The inner loop at deployment: the meta-trained steps and those that go on from there."""

import dataclasses

import jax
import numpy as np
import pytest

from metastyle import config
from metastyle.evaluate import adapting, pairs
from metastyle.evaluate.starts import Start
from metastyle.evaluate.studies import compare_losses
from metastyle.meta import adaptation, inner_loop, outer_loop, tune_rates
from metastyle.meta.problem import Networks, style_problem
from metastyle.nets import style_encoder, vgg
from metastyle.stylize.stylizer import Stylizer
from metastyle.train import meta_training
from metastyle.weights import bundles, loss_network, vgg_files
from tests.support import toy
from tests.support.places import FORMAT_1


@pytest.mark.slow
def test_deployment_runs_exactly_what_was_meta_trained_then_adam():
    settings = toy.settings(inner={"support": 2})
    params, task, problem = outer_loop.initial_meta(settings), toy.one_task(), toy.problem()
    prepared = problem.prepare(task, toy.VGG)
    fixed = (prepared.target, toy.VGG)
    trained = inner_loop.inner_loop(problem.loss, params, prepared.support, fixed, settings.inner)
    support = {"images": prepared.support["images"].reshape(-1, toy.SIZE, toy.SIZE, 3)}
    begun, plan = adaptation.Begun(params, prepared.target, support), adaptation.Plan(3, settings.inner, 1e-2)
    fast, history = adaptation.adapt(problem.loss, begun, toy.VGG, plan)
    assert toy.relative_error(fast, trained.fast) < 1e-6
    np.testing.assert_allclose(history, trained.support_losses, rtol=1e-5)
    told, states = [], []
    longer, longer_history = adaptation.adapt(
        problem.loss, begun, toy.VGG, plan._replace(steps=8), on_step=told.append, on_state=states.append
    )
    for k in range(3, 8):  # round and round the support
        batch = {"images": support["images"][np.arange(2 * k, 2 * k + 2) % 6]}
        loss = problem.loss(states[k].fast, params.slow, batch, *fixed)
        assert longer_history[k] == pytest.approx(float(loss), rel=1e-4)
    assert longer_history[:3] == history and [s.step for s in told] == list(range(8))
    assert toy.relative_error(longer, fast) > 1e-3  # Adam went on from there
    assert adaptation.adapt(problem.loss, begun, toy.VGG, plan._replace(steps=0)) == (params.fast, [])


def test_settled_compares_the_means_of_ten_steps():
    falling = [2.0 - 0.05 * k for k in range(20)]  # means of 1.775 and 1.275
    gain = 1 - np.mean(falling[10:]) / np.mean(falling[:10])
    assert adaptation.settled(falling, gain + 1e-6) and not adaptation.settled(falling, gain - 1e-6)
    assert not adaptation.settled(falling[1:], 0.99) and not adaptation.settled([1.0] * 20, 0.0)
    assert adaptation.settled([9.0] * 5 + falling, gain + 1e-6) and adaptation.settled([1.0] * 20, 0.01)


class Captured(Exception):
    """Carries the arguments of the first call of `adaptation.adapt`."""


@pytest.fixture
def begun_by(monkeypatch):
    """`begun_by(call)`: what `call()` begins its first adaptation with."""

    def capture(loss, begun, networks, plan, **_):
        raise Captured(begun)

    def begun_by(call):
        with pytest.raises(Captured) as caught:
            call()
        return caught.value.args[0]

    monkeypatch.setattr(adaptation, "adapt", capture)
    return begun_by


@pytest.fixture
def bundle(tmp_path):
    """A bundle with an encoder that guesses, and its loss network."""
    found, params = bundles.load_bundle(FORMAT_1 / "bundle"), vgg.random_params()
    encoder = config.Encoder(hidden=4, code=style_encoder.size(params))
    weights = style_encoder.initial(encoder, found.meta.fast, seed=0)
    weights["out/kernel"] = 0.1 * np.random.default_rng(0).normal(size=weights["out/kernel"].shape).astype(np.float32)
    settings = dataclasses.replace(found.config, encoder=encoder)
    meta = dataclasses.replace(found.meta, encoder=jax.tree.map(np.asarray, weights))
    return dataclasses.replace(found, config=settings, meta=meta, network_sha256=loss_network.digest(params))


def test_every_user_begins_a_style_alike(begun_by, bundle, monkeypatch):
    settings, params = bundle.config, vgg.random_params()
    size = settings.data.size
    monkeypatch.setattr(vgg_files, "load", lambda *_: params)
    rng = np.random.default_rng(0)
    count = 2 * settings.inner.support
    painting, content, *support = rng.uniform(size=(2 + count, size, size, 3)).astype(np.float32)
    pair = pairs.Pair(0, "photograph", "style", content, painting, support)
    task = {"style": painting[None], "support": np.stack(support)[:, None], "query": content[None]}
    problem = style_problem(settings.generator, settings.loss)
    problem = problem._replace(prepare=jax.jit(problem.prepare))
    expected = adaptation.begin(settings, bundle.meta, params, [painting], support)
    assert toy.relative_error(expected.start.fast, bundle.meta.fast) > 1e-3  # the encoder guessed

    start = Start(bundle)
    monkeypatch.setattr(bundles, "load_bundle", lambda _: bundle)
    monkeypatch.setattr(pairs, "Pairs", lambda *_: [pair])
    users = {
        "the Python API": lambda: Stylizer(bundle).adapt(painting, steps=2, support=support),
        "evaluation": lambda: list(adapting.bundle("bundle", start, params, [2]).views(pair)),
        "pictures": lambda: meta_training.picture_grid(settings, bundle.meta, [task], problem, Networks(params)),
        "comparison of loss networks": lambda: compare_losses.steering(params, params, settings.data, steps=count),
        "rates": lambda: tune_rates.choose(bundle.meta, settings, [task], Networks(params), problem),
    }
    for name, use in users.items():
        begun = begun_by(use)
        assert jax.tree.structure(begun.target) == jax.tree.structure(expected.target), name
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, name), begun, expected)  # noqa: B023
