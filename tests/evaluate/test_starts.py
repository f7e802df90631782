"""Bundles as an evaluation deploys them."""

import dataclasses

import numpy as np
import pytest

from metastyle import config
from metastyle.errors import InputError
from metastyle.evaluate import adapting, evaluation, starts
from metastyle.evaluate.pairs import Pairs
from metastyle.evaluate.starts import Start
from metastyle.images.resize import square
from metastyle.meta import outer_loop
from metastyle.meta.parameters import guess_start
from metastyle.nets import vgg
from metastyle.weights import bundles, vgg_files
from tests.support import toy
from tests.support.evaluations import deploy, line, protocol


@pytest.mark.slow
def test_metastyles_deployment_is_adam_on_everything_from_the_same_start(whole, start, tmp_path):
    bundles.save_bundle(tmp_path / "b", start)
    loaded = starts.load_starts({"paper": config.Deployment(f"{tmp_path}/b", adam_all=True)})
    found = evaluation.run(protocol(methods=("identity", "random"), pairs=1), loaded, tmp_path / "out")
    rate = line(found, "random, Adam 0.001", 2).J
    assert line(found, "paper", 2).J == pytest.approx(rate, rel=1e-5), "the toy start is the random one"
    assert line(found, "paper", 2).J != line(whole[0], "ours", 2).J


def test_metastyles_deployment_begins_where_the_encoder_guesses(tmp_path):
    settings = dataclasses.replace(toy.settings(hidden=4), vgg="random")
    first = outer_loop.initial_meta(settings)
    first.encoder["out/kernel"] += 1.0
    bundles.save_bundle(tmp_path / "b", bundles.Bundle(settings, first, 1e-3))
    deployed = deploy(tmp_path / "b", adam_all=True)["ours"].bundle.meta
    ours, theirs = (guess_start(m, np.float32([0.1, 0.4, 0.3])) for m in (first, deployed))
    everything = ours.fast | ours.slow
    assert theirs.slow == {} and theirs.fast.keys() == everything.keys()
    assert toy.relative_error(theirs.fast, everything) < 1e-3, "bundles are in half precision"
    assert toy.relative_error(ours.fast, first.fast) > 0.1


def test_a_bundle_learns_with_its_own_network_whatever_judges(whole, start, tmp_path):
    vgg_files.save(tmp_path / "vgg.safetensors", vgg_files.tensors(vgg.random_params(seed=1)), vgg.TORCHVISION)
    bundles.save_bundle(tmp_path / "b", start)
    loaded = deploy(tmp_path / "b", learn_with=f"{tmp_path}/vgg.safetensors")
    found = evaluation.run(protocol(methods=("identity",)), loaded, tmp_path / "out")
    assert line(found, "photograph", 0).J == line(whole[0], "photograph", 0).J
    assert line(found, "ours", 0).J == line(whole[0], "ours", 0).J
    assert line(found, "ours", 2).J != line(whole[0], "ours", 2).J


@pytest.mark.slow
def test_a_bundle_in_half_precision_is_close_and_not_the_same(whole, start, tmp_path):
    bundles.save_bundle(tmp_path / "b", start)
    loaded = deploy(tmp_path / "b", dtype="bfloat16")
    found = evaluation.run(protocol(methods=("identity",)), loaded, tmp_path / "out")
    for k in (0, 2):
        exact, half = (line(results, "ours", k).J for results in (whole[0], found))
        assert exact != half == pytest.approx(exact, rel=0.02)


@pytest.mark.slow
def test_a_bundle_with_phases_changes_less_when_the_photograph_moves(whole, start, tmp_path):
    bundles.save_bundle(tmp_path / "b", start)
    loaded = deploy(tmp_path / "b", phases=4)
    found = evaluation.run(protocol(methods=("identity",)), loaded, tmp_path / "out")
    (note,) = [method.note for method in found.methods if method.name == "ours"]
    assert "mean over 4 places on the pixel grid" in note
    for k in (0, 2):
        one, four = (line(results, "ours", k) for results in (whole[0], found))
        assert four.J != one.J and four.shift < one.shift
    with pytest.raises(InputError, match="`bundles.ours.phases`: expected one of 0, 1, 4, 16, got 3"):
        protocol(bundles={"ours": {"path": "b", "phases": 3}})


@pytest.mark.slow
def test_a_bundle_may_learn_on_the_photograph_that_is_judged(whole, start, tmp_path):
    bundles.save_bundle(tmp_path / "b", start)
    loaded = deploy(tmp_path / "b", judged=True)
    found = evaluation.run(protocol(methods=("identity",), pairs=1), loaded, tmp_path / "out")
    (note,) = [method.note for method in found.methods if method.name == "ours"]
    assert "learns on the judged photograph" in note
    params, pair = vgg.random_params(), Pairs("procedural", "procedural", 1, 32)[0]
    own, others = (
        list(adapting.bundle("ours", chosen, params, (0, 2)).views(given))
        for chosen, given in ((loaded["ours"], pair), (Start(start), pair._replace(support=[pair.content])))
    )
    for ours, theirs in zip(own, others, strict=True):
        np.testing.assert_array_equal(ours.picture, theirs.picture)
    apart = [row.J for row in whole[0].rows if (row.method, row.pair) == ("ours", 0)]
    ours = [row.J for row in found.rows if row.method == "ours"]
    assert ours[0] == apart[0] and ours[2] != apart[2]


def test_a_bundle_may_learn_at_its_own_size_or_on_tiles(start, tmp_path):
    """At its own size the pictures of the pair are of that size already; tiles of it are those that `adapt` makes."""
    bundles.save_bundle(tmp_path / "b", start)
    params, size = vgg.random_params(), start.config.data.size
    pair = Pairs("procedural", "procedural", 1, 2 * size)[0]
    views = {
        how: list(adapting.bundle("ours", deploy(tmp_path / "b", learn_at=how)["ours"], params, (0, 1)).views(pair))
        for how in ("", "bundle", "output")
    }
    small = pair._replace(style=square(pair.style, size), support=[square(x, size) for x in pair.support])
    own = list(adapting.bundle("ours", Start(start), params, (0, 1)).views(small._replace(content=pair.content)))
    for found, expected in zip(views["bundle"], own, strict=True):
        np.testing.assert_array_equal(found.picture, expected.picture)
    assert len({views[how][1].picture.tobytes() for how in views}) == 3
    with pytest.raises(InputError, match="`bundles.ours.learn_at`: expected one of '', bundle, output, got 'x'"):
        protocol(bundles={"ours": {"path": "b", "learn_at": "x"}})


@pytest.mark.slow
def test_a_bundle_may_be_run_by_onnxruntime(whole, start, tmp_path):
    pytest.importorskip("onnxruntime")
    bundles.save_bundle(tmp_path / "b", start)
    backends = {"exact": "onnx", "coarse": "onnx-int8"}
    loaded = starts.load_starts({k: config.Deployment(f"{tmp_path}/b", backend=v) for k, v in backends.items()})
    found = evaluation.run(protocol(methods=("identity",)), loaded, tmp_path / "out")
    for k in (0, 2):
        jax_, exact, coarse = (line(r, n, k).J for r, n in ((whole[0], "ours"), (found, "exact"), (found, "coarse")))
        assert exact == pytest.approx(jax_, rel=1e-3) and coarse != exact == pytest.approx(coarse, rel=0.2)


def test_deployments_are_loaded_as_they_say(start, tmp_path):
    bundles.save_bundle(tmp_path / "b", start)
    paper = deploy(tmp_path / "b", adam_all=True)["ours"].bundle
    assert paper.config.inner.steps == 0 < start.config.inner.steps
    assert paper.pictures_seen == start.pictures_seen > 0, "its training is what it was"
    with pytest.raises(FileNotFoundError, match="`bundles.ours.learn_with`: expected the weights .*, got 'nowhere'"):
        deploy(tmp_path / "b", learn_with="nowhere")


def test_bundles_of_the_command_line(start, tmp_path):
    parse = starts.parse_bundle
    assert parse("ours=runs/a") == ("ours", {"path": "runs/a"})
    assert parse("runs/a") == ("runs/a", {"path": "runs/a"})
    assert parse("x=default,judged,learn_with=vgg16,dtype=bfloat16,backend=onnx,phases=4,adam_all") == (
        "x",
        {
            "path": "default",
            "judged": True,
            "learn_with": "vgg16",
            "dtype": "bfloat16",
            "backend": "onnx",
            "phases": 4,
            "adam_all": True,
        },
    )
    for option in ("judge", "judged=1", "dtype", "dtype=", "path=x", ""):
        with pytest.raises(InputError, match=f"`bundle`: expected options of judged, .*, got '{option}' in 'x=y,"):
            parse(f"x=y,{option}")
    folder = f"{tmp_path}/lr=0.1/b"
    bundles.save_bundle(folder, start)
    assert parse(folder) == (folder, {"path": folder}) and parse(f"x={folder}") == ("x", {"path": folder})
    for folder in (f"{tmp_path}/one,two/b", f"{tmp_path}/lr=0.1,judged"):
        bundles.save_bundle(folder, start)
        assert parse(folder) == (folder, {"path": folder})
