"""The methods of an evaluation on toy networks."""

import dataclasses

import jax
import numpy as np
import pytest

from metastyle import config
from metastyle.errors import InputError
from metastyle.evaluate import adapting, methods
from metastyle.evaluate.baselines import johnson
from metastyle.evaluate.pairs import Pairs
from metastyle.evaluate.starts import Start
from metastyle.meta import outer_loop
from metastyle.nets import vgg
from metastyle.weights import vgg_files
from tests.support import toy
from tests.support.compiling import compiled_into


def test_a_random_start_needs_no_code_of_the_first_bundles_encoder():
    settings = toy.settings(inner={"steps": 1}, hidden=4)
    method = adapting.random_start(settings, vgg_files.load("random"), (0, 1), 1e-3)
    views = list(method.views(Pairs("procedural", "procedural", 1, 32)[0]))
    assert [view.steps for view in views] == [0, 1] and np.abs(views[1].picture - views[0].picture).max() > 0


@pytest.mark.slow
def test_johnson_shows_every_pair_again_and_trains_anew_for_another_judge(tmp_path, monkeypatch):
    """Also where pairs share a style, and where what was shown is asked for again."""
    pair, train = Pairs("procedural", "procedural", 1, 32)[0], johnson.train
    other, trained = pair._replace(content=pair.content[::-1]), []
    monkeypatch.setattr(johnson, "train", lambda *given: trained.append(given[4]) or train(*given))
    settings = johnson.settings("procedural", size=32, steps=12, arch=toy.ARCH)
    first, second = (methods.johnson(settings, vgg.random_params(seed), tmp_path, 2) for seed in (0, 1))
    shown = {
        name: list(method.views(given))
        for name, method, given in (
            ("one", first, pair),
            ("other", first, other),
            ("again", first, pair),
            ("judged", second, pair),
        )
    }
    assert {name: [view.steps for view in views] for name, views in shown.items()} == dict.fromkeys(shown, [0, 10, 12])
    assert trained == [{0, 10, 12}] * 3
    for one, again in zip(shown["one"], shown["again"], strict=True):
        np.testing.assert_array_equal(one.picture, again.picture)
        assert (one.adapt_s, one.stylize_ms) == (again.adapt_s, again.stylize_ms)
    for name in ("other", "judged"):
        assert (shown[name][2].picture != shown["one"][2].picture).any()
    (kept,) = [
        file for file in tmp_path.glob("*_10.npz") if np.array_equal(np.load(file)["picture"], shown["one"][1].picture)
    ]
    kept.unlink()
    with pytest.raises(InputError, match="`out`: .* is past step 10, whose picture is gone; delete it to start again"):
        list(first.views(pair))


@pytest.mark.slow
def test_learning_is_not_taken_for_compiling(start, tmp_path, monkeypatch):
    monkeypatch.setenv("METASTYLE_CACHE", str(tmp_path))
    compiled, pair = [], Pairs("procedural", "procedural", 1, 44)[0]  # px of no other test
    net = dataclasses.replace(start.config, generator=config.Generator("c3s1-5,c3s1-3"))  # of no other test
    bundle = dataclasses.replace(start, config=net, meta=outer_loop.initial_meta(net))
    ours = adapting.bundle("ours", Start(bundle), vgg.random_params(), (0, 1, 3))
    gatys = methods.gatys(vgg.random_params(), 10, None)
    for method, steps in ((ours, [0, 1, 3]), (gatys, [0, 1, 2, 5, 10])):
        compiled.clear()
        jax.monitoring.register_event_duration_secs_listener(compiled_into(compiled))
        try:
            method.warm_up(pair)
            before = len(compiled)
            assert [view.steps for view in method.views(pair)] == steps
        finally:
            jax.monitoring.clear_event_listeners()
        assert len(compiled) == before > 0


def test_what_identifies_a_method_stays(start):
    """Cells of earlier evaluations are kept by these texts, which hold the first names of settings."""
    network = "Generator(arch='c3s1-4,c3s1-3', dtype='float32')"
    loss = "Loss(kind='relative', statistic='gram', content=1.0, style=5.0, tv=0.0, grid=0.0)"
    inner = (
        "Inner(steps=1, scope='norm', support=1, lr=0.1, normalize=True, lrs='step', first_order=False, "
        "gradient='forward_over_reverse', remat=False)"
    )
    params = vgg.random_params()
    assert adapting.random_start(start.config, params, (0, 1), 1e-3).key == f"{network} {loss} 1 0 0.001 (0, 1)"
    deployed = Start(start, config.Deployment(judged=True, backend="onnx"))
    digests, known = adapting.bundle("ours", deployed, params, (0, 1)).key.split(" 0.001 ")
    assert len(digests.split()) == 3 and known == f"{network} {inner} {loss} (0, 1) True onnx"
    settings = f"Settings(iterations=3, optimizer='lbfgs', lr=0.05, start='photograph', seed=0, loss={loss})"
    assert methods.gatys(params, 3, None).key.startswith(f"2 {settings} ")
