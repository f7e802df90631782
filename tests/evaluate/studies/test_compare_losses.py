"""Comparing a loss network with another: the same network agrees wholly, others less, and bad input is told."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle import config
from metastyle.errors import InputError
from metastyle.evaluate.judge import Judge
from metastyle.evaluate.pairs import Pairs
from metastyle.evaluate.studies import compare_losses
from metastyle.images import codec
from metastyle.losses import perceptual
from metastyle.meta import outer_loop
from metastyle.nets import generator, vgg
from metastyle.weights import bundles
from tests.support.command import run_main

TEACHER = vgg.random_params(widths=(4, 4, 6, 6, 8, 8, 8, 8, 8, 8))
OTHER = vgg.random_params(seed=5, widths=(2,) * 10)
DATA = config.from_dict(
    {"data": dict.fromkeys(("content", "style", "val_content", "val_style"), "procedural") | {"size": 32}}
).data


def permuted(params):
    """The same network with its last convolution's channels in another order, at twice the size."""
    last = {part: 2 * x[..., ::-1] for part, x in params["conv4_3"].items()}
    return params | {"conv4_3": last}


def test_a_network_embeds_in_itself_in_any_order_and_a_narrow_one_does_not(monkeypatch):
    monkeypatch.setattr(compare_losses, "_FITTED", 8)
    monkeypatch.setattr(compare_losses, "_CHECKED", 4)
    for slim in (TEACHER, permuted(TEACHER)):
        errors = compare_losses.embedding(slim, TEACHER, DATA)
        assert set(errors) == set(vgg.TAPS) and max(errors.values()) < 1e-8
    errors = compare_losses.embedding(OTHER, TEACHER, DATA)
    assert min(errors.values()) > 0.1


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """An evaluation of two pairs: blends of photograph and style, judged by TEACHER."""
    folder = tmp_path_factory.mktemp("report")
    settings = config.from_dict(
        {"contents": "procedural", "styles": "procedural", "pairs": 2, "size": 32}, config.Evaluation
    )
    judged, judge, rows = Pairs("procedural", "procedural", 2, 32), Judge(TEACHER), []
    for i in range(2):
        pair = judged[i]
        for step, share in enumerate((0.0, 0.2, 0.4, 0.7, 1.0)):
            picture = f"{i}_{step}.png"
            codec.save(folder / picture, (1 - share) * pair.content + share * pair.style)
            saved = codec.load(folder / picture)[0]
            rows.append({"method": "blend", "pair": i, "steps": step, "J": judge(saved, pair).J, "picture": picture})
    (folder / "results.json").write_text(json.dumps({"settings": json.loads(config.to_json(settings)), "rows": rows}))
    return folder


@pytest.mark.slow
def test_a_network_ranks_as_itself_in_any_order_and_units(report):
    for network in (TEACHER, permuted(TEACHER)):
        found = compare_losses.ranks(network, report)
        assert found.fewest_outputs == 5 and list(found.by_pair) == [0, 1]
        np.testing.assert_allclose(list(found.by_pair.values()), 1)


def test_ranks_are_those_of_the_other_networks_losses(report):
    """Against ranks taken by hand."""
    judge, judged = Judge(OTHER), Pairs("procedural", "procedural", 2, 32)
    rows = json.loads((report / "results.json").read_text())["rows"]
    for i, found in compare_losses.ranks(OTHER, report).by_pair.items():
        mine = [row for row in rows if row["pair"] == i]
        ours = [judge(codec.load(report / row["picture"])[0], judged[i]).J for row in mine]
        a, b = (np.argsort(np.argsort(x)) for x in (ours, [row["J"] for row in mine]))
        np.testing.assert_allclose(found, np.corrcoef(a, b)[0, 1])


@pytest.mark.slow
def test_gradients(report):
    """One direction for the same network, another for another, and by hand for one method's last output."""
    assert compare_losses.gradients(TEACHER, TEACHER, report) == {"blend": pytest.approx(1, abs=1e-4)}
    rows = json.loads((report / "results.json").read_text())["rows"]
    expected = []
    for i in range(2):
        pair = Pairs("procedural", "procedural", 2, 32)[i]
        picture = next(row["picture"] for row in reversed(rows) if row["pair"] == i)
        output = jnp.asarray(codec.load(report / picture)[0])[None]
        directions = []
        for params in (OTHER, TEACHER):
            content = perceptual.content_target(params, jnp.asarray(pair.content)[None], config.Loss())
            style = perceptual.style_target(params, jnp.asarray(pair.style)[None], config.Loss())
            judged = lambda x: perceptual.perceptual(params, x, content, style, config.Loss()).total[0]  # noqa: B023
            directions.append(np.asarray(jax.jit(jax.grad(judged))(output), np.float64).ravel())
        expected.append(np.dot(*directions) / np.prod([np.linalg.norm(x) for x in directions]))
    assert compare_losses.gradients(OTHER, TEACHER, report) == {"blend": pytest.approx(np.mean(expected), abs=1e-4)}
    assert np.mean(expected) < 0.9


def test_few_outputs_are_refused(report, tmp_path):
    results = json.loads((report / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps(results | {"rows": results["rows"][:3]}))
    with pytest.raises(InputError, match="`report`: expected at least 5 outputs of each pair, got 3 of pair 0"):
        compare_losses.ranks(TEACHER, tmp_path)


@pytest.mark.slow
@pytest.mark.processes
def test_a_folder_that_is_no_report(tmp_path):
    flags = "--vgg=random", f"--report={tmp_path}"
    done = run_main("compare_losses", "--slim=random", *flags)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: `report`: expected the folder of a finished evaluation, got {tmp_path}\n"
    for text, what in (("{}", "it has no 'settings'"), ("[", "Expecting value: line 1 column 2 (char 1)")):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(InputError, match=re.escape(f"results.json is not of an evaluation ({what}); run the")):
            compare_losses.ranks(TEACHER, tmp_path)
    done = run_main("compare_losses", "--slim=nowhere", *flags)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: `slim`: expected slim, half, vgg16, random or a safetensors file, got 'nowhere'\n"


@pytest.mark.slow
def test_steering(tmp_path, monkeypatch):
    """1 for the same network in any order and scale; for another, the angle taken by hand at the start."""
    monkeypatch.setattr(compare_losses, "_STEERED", 2)
    settings = config.from_dict(
        {
            "generator": {"arch": "s4,p4-3,skip"},
            "inner": {"steps": 1},
            "data": vars(DATA),
            "vgg": "random",
            "loss": {"grid": 3.0, "tv": 1.0},  # which no network knows of
        }
    )
    learned = outer_loop.initial_meta(settings)
    bundles.save_bundle(tmp_path / "b", bundles.Bundle(settings, learned, 1e-3))
    same = compare_losses.steering(permuted(TEACHER), TEACHER, DATA, tmp_path / "b", steps=1)
    assert same == {0: pytest.approx(1, abs=1e-4), 1: pytest.approx(1, abs=1e-4)}

    expected, judged = [], Pairs("procedural", "procedural", 2, 32)
    for pair in (judged[0], judged[1]):
        directions = []
        for params in (OTHER, TEACHER):
            content = perceptual.content_target(params, pair.content[None], config.Loss())
            style = perceptual.style_target(params, pair.style[None], config.Loss())

            def judge(fast, params=params, content=content, style=style, photograph=pair.content[None]):
                output = generator.apply(settings.generator, fast | learned.slow, photograph)
                return perceptual.perceptual(params, output, content, style, config.Loss()).total[0]

            gradient = jax.jit(jax.grad(judge))(learned.fast)
            leaves = [np.asarray(x, np.float64).ravel() for x in gradient.values()]
            directions.append(np.concatenate([x / np.sqrt(np.square(x).mean()) for x in leaves]))
        expected.append(np.dot(*directions) / np.prod([np.linalg.norm(x) for x in directions]))
    found = compare_losses.steering(OTHER, TEACHER, DATA, tmp_path / "b", steps=1)
    assert found[0] == pytest.approx(np.mean(expected), abs=1e-4) and found[0] < 0.9
