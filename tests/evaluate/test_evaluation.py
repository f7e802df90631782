"""Evaluation on random features and toy networks: protocol, bounds, resume, parts, checkpoints."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from metastyle import config
from metastyle.errors import RETRY, InputError
from metastyle.evaluate import evaluation, judge, methods, metrics, results
from metastyle.evaluate.baselines import johnson
from metastyle.evaluate.methods import Method, Start
from metastyle.evaluate.pairs import Pair, Pairs
from metastyle.evaluate.results import assemble, interval, reach
from metastyle.images import codec
from metastyle.losses import perceptual
from metastyle.losses.grid import grid_artefact
from metastyle.losses.ssim import ssim
from metastyle.meta import outer_loop
from metastyle.nets import metric_nets, style_encoder, vgg
from metastyle.train import checkpoint
from metastyle.weights import bundles
from tests.support import toy
from tests.support.places import ROOT
from tests.train import test_meta_training as toy_train

TIMES = ("adapt_s", "stylize_ms")


def protocol(**changes):
    values = {
        "contents": "procedural", "styles": "procedural", "pairs": 2, "size": 32, "steps": (0, 1, 2), "vgg": "random",
        "methods": ("identity", "style", "gatys", "johnson", "random"), "gatys_iterations": 3, "baseline_pairs": 1,
        "johnson_steps": 12, "johnson_arch": toy.ARCH, "train_contents": "procedural",
    }  # fmt: skip
    return config.from_dict(values | changes, config.Evaluation)


@pytest.fixture
def start():
    settings = dataclasses.replace(toy.settings(inner={"steps": 1}), vgg="random")
    return bundles.Bundle(settings, outer_loop.initial_meta(settings), 1e-3)


def untimed(found):
    return [{k: v for k, v in row.items() if k not in TIMES} for row in found["rows"]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted evaluation of a toy bundle beside everything that needs no extra package: (results, folder)."""
    settings = dataclasses.replace(toy.settings(inner={"steps": 1}), vgg="random")
    out = tmp_path_factory.mktemp("report")
    start = bundles.Bundle(settings, outer_loop.initial_meta(settings), 1e-3)
    return evaluation.run(protocol(), {"ours": Start(start)}, out), out


def line(found, method, steps):
    (one,) = [s for s in found["summary"] if (s["method"], s["steps"]) == (method, steps)]
    return one


def test_a_random_start_needs_no_code_of_the_first_bundles_encoder():
    settings = toy.settings(inner={"steps": 1}, hidden=4)
    method = methods.random_start(settings, vgg.load("random"), (0, 1), 1e-3)
    views = list(method.views(Pairs("procedural", "procedural", 1, 32)[0]))
    assert [view.steps for view in views] == [0, 1] and np.abs(views[1].picture - views[0].picture).max() > 0


def test_bounds_are_what_they_must_be(whole):
    found, _ = whole
    photograph, style = line(found, "photograph", 0), line(found, "style picture", 0)
    assert photograph["C"] == 0 and photograph["closed"] == 0 and photograph["ssim"] == 1 and photograph["cfsd"] == 0
    assert style["S"] == 0 and style["S_mean_std"] < 1e-4 and style["C"] > 0.1
    assert line(found, "gatys", 0)["J"] == photograph["J"] and line(found, "gatys", 3)["closed"] == 1


def test_every_method_is_judged_after_every_number_of_steps(whole):
    found, _ = whole
    looks = {(m["name"]): [s["steps"] for s in found["summary"] if s["method"] == m["name"]] for m in found["methods"]}
    rates = {f"random, Adam {lr:g}": [0, 1, 2] for lr in methods.RANDOM_LRS}
    assert looks == {
        "photograph": [0], "style picture": [0], "ours": [0, 1, 2], "gatys": [0, 1, 2, 3], "johnson": [0, 10, 12],
    } | rates  # fmt: skip
    counts = {m["name"]: line(found, m["name"], looks[m["name"]][0])["pairs"] for m in found["methods"]}
    assert counts == dict.fromkeys(counts, 2) | {"johnson": 1}


def test_what_is_written_is_there_and_agrees(whole):
    found, out = whole
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(found))
    assert (out / "pairs.csv").read_text().splitlines()[0] == "pair,content,style"
    assert len((out / "pairs.csv").read_text().splitlines()) == 3
    for name in ("index.html", "vote.html", "curve.png", "table.txt"):
        assert (out / name).stat().st_size > 0
    for row in found["rows"]:
        assert codec.load(out / row["picture"])[0].shape == (32, 32, 3)


def test_scores_are_of_the_picture_that_is_saved(whole):
    found, out = whole
    pairs, judged = Pairs("procedural", "procedural", 2, 32), judge.Judge(vgg.load("random"))
    for row in found["rows"][:: len(found["rows"]) // 7]:
        again = judged(codec.load(out / row["picture"])[0], pairs[row["pair"]])
        assert row["lpips"] is again.pop("lpips") is None, "no weights were passed"
        assert {k: row[k] for k in again} == pytest.approx(again, rel=1e-5, abs=1e-7)


def test_scores_are_those_of_the_shared_losses():
    rng = np.random.default_rng(0)
    output, content, style = rng.random((3, 32, 32, 3), np.float32)
    output = np.round(output * 255).astype(np.float32) / 255
    params = vgg.load("random")
    scores = judge.Judge(params)(output, Pair(0, "a", "b", content, style, []))
    kept = perceptual.content_target(params, content[None], config.Loss())
    for statistic, names in (("gram", ("J", "C", "S")), ("mean_std", (None, None, "S_mean_std"))):
        loss = config.Loss(statistic=statistic)
        target = perceptual.style_target(params, style[None], loss)
        parts = perceptual.perceptual(params, output[None], kept, target, loss)
        for name, value in zip(names, (parts.total, parts.content, parts.style), strict=True):
            if name:
                assert scores[name] == pytest.approx(float(value[0]), rel=1e-5)
    assert scores["J"] == pytest.approx(scores["C"] + 5 * scores["S"], rel=1e-6)
    assert scores["grid"] == pytest.approx(grid_artefact(output))
    assert scores["ssim"] == pytest.approx(ssim(content, output))
    at = lambda x: vgg.features(params, x[None], ("relu3_3",))["relu3_3"][0]
    assert scores["cfsd"] == pytest.approx(metrics.cfsd(params, at(content), at(output)), rel=1e-3)


def test_nothing_is_done_twice(whole, start, monkeypatch):
    found, out = whole
    monkeypatch.setattr(evaluation.Cell, "fill", lambda *_: pytest.fail("a cell was filled again"))
    assert untimed(evaluation.run(protocol(), {"ours": Start(start)}, out)) == untimed(found)


def test_a_stopped_and_killed_evaluation_goes_on_as_if_it_had_been_left_alone(start, tmp_path):
    bundles.save_bundle(tmp_path / "b", start)
    flags = ["--contents=procedural", "--styles=procedural", "--pairs=6", "--size=32", "--vgg=random", "--steps=0,1,40"]
    flags += [f"--bundle=ours={tmp_path}/b", "--methods=identity"]
    like_here = os.environ | {"JAX_NUM_CPU_DEVICES": str(jax.device_count())}

    def run(number):
        """Runs, and sends the signal once one more cell of `ours` is complete; the status, stdout and stderr."""
        line = [sys.executable, "-m", "experiments.evaluate", *flags, f"--out={tmp_path}/out"]
        process = subprocess.Popen(
            line, cwd=ROOT, env=like_here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        cells = [tmp_path / f"out/cells/ours/{i:03d}.json" for i in range(6)]
        count = lambda: sum(cell.exists() and json.loads(cell.read_text())["complete"] for cell in cells)
        before = count()
        while process.poll() is None and count() == before:
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=240)
        return process.returncode, out, err

    status, out, err = run(signal.SIGTERM)
    assert (status, out.splitlines()[-1]) == (RETRY, "stopped; the same line continues"), err
    assert "Traceback" not in err
    assert run(signal.SIGKILL)[0] == -signal.SIGKILL
    assert not (tmp_path / "out/results.json").exists()
    settings = protocol(methods=("identity",), pairs=6, steps=(0, 1, 40))
    starts = evaluation.load([f"ours={tmp_path}/b"])
    kept = {file: file.read_bytes() for file in (tmp_path / "out/cells/ours").iterdir()}
    alone, stopped = (evaluation.run(settings, starts, tmp_path / name) for name in ("alone", "out"))
    complete = [file for file, content in kept.items() if json.loads(content)["complete"]]
    assert len(complete) >= 1 and all(file.read_bytes() == kept[file] for file in complete), "what was done is kept"
    assert untimed(alone) == untimed(stopped)


@pytest.fixture
def filled(monkeypatch):
    """(method, pair) of every cell that is filled from now on."""
    cells, fill = [], evaluation.Cell.fill

    def noting(cell, pairs, judged):
        cells.append((cell.method.name, cell.pair))
        return fill(cell, pairs, judged)

    monkeypatch.setattr(evaluation.Cell, "fill", noting)
    return cells


def test_only_what_changed_is_done_again(whole, start, filled):
    _, out = whole
    other = dataclasses.replace(start, adam_lr=3e-3)
    evaluation.run(
        protocol(methods=("identity", "gatys"), gatys_iterations=4, gatys_pairs=1), {"ours": Start(other)}, out
    )
    assert filled == [("ours", 0), ("ours", 1), ("gatys", 0)]


def test_a_picture_that_is_gone_is_made_again(whole, start, tmp_path, filled):
    out = tmp_path / "out"
    shutil.copytree(whole[1], out)
    found = evaluation.run(protocol(), {"ours": Start(start)}, out)
    gone = out / next(row["picture"] for row in found["rows"] if (row["method"], row["pair"]) == ("ours", 1))
    before = gone.read_bytes()
    gone.unlink()
    filled.clear()
    evaluation.run(protocol(), {"ours": Start(start)}, out)
    assert filled == [("ours", 1)] and gone.read_bytes() == before


@pytest.mark.parametrize("after", [5, 19])
def test_an_interrupted_evaluation_goes_on(after, whole, start, tmp_path, monkeypatch):
    call, count = judge.Judge.__call__, 0

    def interrupted(self, output, pair):
        nonlocal count
        count += 1
        if count > after:
            raise KeyboardInterrupt
        return call(self, output, pair)

    monkeypatch.setattr(judge.Judge, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluation.run(protocol(), {"ours": Start(start)}, tmp_path)
    assert not (tmp_path / "results.json").exists()
    monkeypatch.setattr(judge.Judge, "__call__", call)
    assert untimed(evaluation.run(protocol(), {"ours": Start(start)}, tmp_path)) == untimed(whole[0])


def test_parts_make_the_whole(whole, start, tmp_path, capsys):
    assert evaluation.run(protocol(), {"ours": Start(start)}, tmp_path, part=(1, 2)) is None
    assert "are still missing; run the other parts" in capsys.readouterr().out
    assert untimed(evaluation.run(protocol(), {"ours": Start(start)}, tmp_path, part=(0, 2))) == untimed(whole[0])


def test_metastyles_deployment_is_adam_on_everything_from_the_same_start(whole, start, tmp_path):
    bundles.save_bundle(tmp_path / "b", start)
    starts = evaluation.load([f"paper={tmp_path}/b"], ["paper"])
    found = evaluation.run(protocol(methods=("identity", "random"), pairs=1), starts, tmp_path / "out")
    rate = line(found, "random, Adam 0.001", 2)["J"]
    assert line(found, "paper", 2)["J"] == pytest.approx(rate, rel=1e-5), "the toy start is the random one"
    assert line(found, "paper", 2)["J"] != line(whole[0], "ours", 2)["J"]


def test_metastyles_deployment_begins_where_the_encoder_guesses(tmp_path):
    settings = dataclasses.replace(toy.settings(hidden=4), vgg="random")
    first = outer_loop.initial_meta(settings)
    first["encoder"]["out/kernel"] += 1.0
    bundles.save_bundle(tmp_path / "b", bundles.Bundle(settings, first, 1e-3))
    deployed = evaluation.load([f"ours={tmp_path}/b"], ["ours"])["ours"].bundle.meta
    ours, theirs = (style_encoder.start(m, np.float32([0.1, 0.4, 0.3])) for m in (first, deployed))
    everything = ours["fast"] | ours["slow"]
    assert theirs["slow"] == {} and theirs["fast"].keys() == everything.keys()
    assert toy.relative_error(theirs["fast"], everything) < 1e-3, "bundles are in half precision"
    assert toy.relative_error(ours["fast"], first["fast"]) > 0.1


def test_a_bundle_learns_with_its_own_network_whatever_judges(whole, start, tmp_path):
    vgg.save(tmp_path / "vgg.safetensors", vgg.tensors(vgg.random_params(seed=1)), vgg.TORCHVISION)
    bundles.save_bundle(tmp_path / "b", start)
    starts = evaluation.load([f"ours={tmp_path}/b"], learn_with=[f"ours={tmp_path}/vgg.safetensors"])
    found = evaluation.run(protocol(methods=("identity",)), starts, tmp_path / "out")
    assert line(found, "photograph", 0)["J"] == line(whole[0], "photograph", 0)["J"]
    assert line(found, "ours", 0)["J"] == line(whole[0], "ours", 0)["J"]
    assert line(found, "ours", 2)["J"] != line(whole[0], "ours", 2)["J"]


def test_a_bundle_in_half_precision_is_close_and_not_the_same(whole, start, tmp_path):
    bundles.save_bundle(tmp_path / "b", start)
    starts = evaluation.load([f"ours={tmp_path}/b"], dtype=["ours=bfloat16"])
    found = evaluation.run(protocol(methods=("identity",)), starts, tmp_path / "out")
    for k in (0, 2):
        exact, half = (line(results, "ours", k)["J"] for results in (whole[0], found))
        assert exact != half == pytest.approx(exact, rel=0.02)


def test_a_bundle_may_learn_on_the_photograph_that_is_judged(whole, start, tmp_path):
    bundles.save_bundle(tmp_path / "b", start)
    starts = evaluation.load([f"ours={tmp_path}/b"], judged=["ours"])
    found = evaluation.run(protocol(methods=("identity",), pairs=1), starts, tmp_path / "out")
    (note,) = [method["note"] for method in found["methods"] if method["name"] == "ours"]
    assert "learns on the judged photograph" in note
    params, pair = vgg.random_params(), Pairs("procedural", "procedural", 1, 32)[0]
    own, others = (
        list(methods.bundle("ours", chosen, params, (0, 2)).views(given))
        for chosen, given in ((starts["ours"], pair), (Start(start), pair._replace(support=[pair.content])))
    )
    for ours, theirs in zip(own, others, strict=True):
        np.testing.assert_array_equal(ours.picture, theirs.picture)
    apart = [row["J"] for row in whole[0]["rows"] if (row["method"], row["pair"]) == ("ours", 0)]
    ours = [row["J"] for row in found["rows"] if row["method"] == "ours"]
    assert ours[0] == apart[0] and ours[2] != apart[2]


def test_a_bundle_may_be_run_by_onnxruntime(whole, start, tmp_path):
    pytest.importorskip("onnxruntime")
    bundles.save_bundle(tmp_path / "b", start)
    names = [f"{name}={tmp_path}/b" for name in ("exact", "coarse")]
    starts = evaluation.load(names, backend=["exact=onnx", "coarse=onnx-int8"])
    found = evaluation.run(protocol(methods=("identity",)), starts, tmp_path / "out")
    for k in (0, 2):
        jax_, exact, coarse = (line(r, n, k)["J"] for r, n in ((whole[0], "ours"), (found, "exact"), (found, "coarse")))
        assert exact == pytest.approx(jax_, rel=1e-3) and coarse != exact == pytest.approx(coarse, rel=0.2)
    with pytest.raises(InputError, match="`backend`: expected NAME=BACKEND, of jax, onnx, onnx-int8, got 'exact=int8'"):
        evaluation.load(names, backend=["exact=int8"])


def test_checkpoints_are_followed_and_kept(tmp_path):
    settings = dataclasses.replace(toy.settings(inner={"steps": 1}, run={"steps": 4}), vgg="random")
    run, out = tmp_path / "run", tmp_path / "out"
    judged = protocol(methods=("identity",), pairs=1)
    with checkpoint.Checkpoints(run / "checkpoints", keep=1) as saved:
        checkpoint.claim(run, settings)
        with pytest.raises(InputError, match="`checkpoints`: expected checkpoints of a run in .*, got none"):
            evaluation.follow(judged, run / "checkpoints", out)
        for step in (2, 4):
            state = outer_loop.initial_state(settings)
            state["meta"]["fast"] = {k: x + step for k, x in state["meta"]["fast"].items()}
            saved.save(step, state, settings)
            saved.wait()
            found = evaluation.follow(judged, run / "checkpoints", out, watch=step == 4)
    names = [m["name"] for m in found["methods"]]
    assert names == ["photograph", "step_0000002", "step_0000004"], "the run has deleted step 2, the evaluation has not"
    assert line(found, "step_0000002", 0)["J"] != line(found, "step_0000004", 0)["J"]
    told = {m["name"]: (m["note"].split(" (")[0], m["pictures_seen"]) for m in found["methods"]}
    assert told["step_0000002"] == ("2 meta-training steps", 2 * 8 * 2)  # 8 tasks of 2 photographs
    assert told["step_0000004"] == ("4 meta-training steps", 4 * 8 * 2)
    with pytest.raises(FileNotFoundError, match="`checkpoints`: expected the folder `checkpoints` of a run"):
        evaluation.follow(judged, tmp_path / "nobody", out)


def test_johnson_shows_every_pair_again_and_trains_anew_for_another_judge(tmp_path, monkeypatch):
    """Also where pairs share a style, and where what was shown is asked for again."""
    pair, train = Pairs("procedural", "procedural", 1, 32)[0], johnson.train
    other, trained = pair._replace(content=pair.content[::-1]), []
    monkeypatch.setattr(johnson, "train", lambda *given: trained.append(given[4]) or train(*given))
    settings = johnson.settings("procedural", size=32, steps=12, arch=toy.ARCH)
    first, second = (methods.johnson(settings, vgg.random_params(seed), tmp_path, 2) for seed in (0, 1))
    shown = {name: list(method.views(given)) for name, method, given in (
        ("one", first, pair), ("other", first, other), ("again", first, pair), ("judged", second, pair)
    )}  # fmt: skip
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


def test_few_pairs_are_evenly_spread_and_of_different_styles():
    class Shared:
        style = staticmethod(lambda index: index % 10)

    chosen = lambda count, left: evaluation._pairs_of(Method("x", "", "", 0, None, pairs=count), left, Shared)
    assert chosen(None, list(range(40))) == list(range(40))
    assert chosen(3, list(range(40))) == [0, 13, 26]
    assert chosen(4, list(range(40))) == [0, 11, 22, 33], "0, 10, 20 and 30 have one style"
    assert chosen(3, [0, 10, 20, 30]) == [0, 10, 20], "there is no other"


def test_learning_is_not_taken_for_compiling(start, tmp_path, monkeypatch):
    monkeypatch.setenv("METASTYLE_CACHE", str(tmp_path))
    compiled, pair = [], Pairs("procedural", "procedural", 1, 44)[0]  # px of no other test
    net = dataclasses.replace(start.config, generator=config.Generator("c3s1-5,c3s1-3"))  # of no other test
    bundle = dataclasses.replace(start, config=net, meta=outer_loop.initial_meta(net))
    ours = methods.bundle("ours", Start(bundle), vgg.random_params(), (0, 1, 3))
    gatys = methods.gatys(vgg.random_params(), 10, None)
    for method, steps in ((ours, [0, 1, 3]), (gatys, [0, 1, 2, 5, 10])):
        compiled.clear()
        jax.monitoring.register_event_duration_secs_listener(toy_train.compiled_into(compiled))
        try:
            method.warm_up(pair)
            before = len(compiled)
            assert [view.steps for view in method.views(pair)] == steps
        finally:
            jax.monitoring.clear_event_listeners()
        assert len(compiled) == before > 0


def test_lpips_and_artfid_are_of_the_pictures_that_they_name(tmp_path):
    """A style picture itself has an FID of 0, a photograph itself an LPIPS of 0."""
    from tests.nets.test_metric_nets import Reference, pictures, save

    alexnet, inception = Reference(), Reference()
    alexnet.lpips(*pictures(2, 1, 31, 31)), inception.inception(pictures(1, 75, 75))
    made = {
        "lpips": metric_nets.from_alexnet(alexnet.state),
        "art_inception": metric_nets.from_inception(inception.state),
    }
    for kind, tensors in made.items():
        save(tmp_path / kind, {name: np.ascontiguousarray(x, np.float32) for name, x in tensors.items()}, kind)
    given = {"lpips": str(tmp_path / "lpips"), "inception": str(tmp_path / "art_inception")}
    settings = protocol(methods=("identity", "style"), size=76, **given)
    found = evaluation.run(settings, {}, tmp_path / "out")
    photograph, style = line(found, "photograph", 0), line(found, "style picture", 0)
    pairs = [Pairs("procedural", "procedural", 2, 76)[i] for i in range(2)]
    distance = np.mean([metric_nets.lpips(made["lpips"], p.content[None], p.style[None])[0] for p in pairs])
    weights = metric_nets.load_inception(given["inception"])
    styles, contents = (
        np.concatenate([metric_nets.inception(weights, getattr(pair, kind)[None]) for pair in pairs])
        for kind in ("style", "content")
    )
    assert (photograph["lpips"], style["lpips"]) == (pytest.approx(0, abs=1e-6), pytest.approx(distance, rel=1e-4))
    assert style["artfid"] == pytest.approx(1 + distance, rel=1e-3)
    assert photograph["artfid"] == pytest.approx(1 + metric_nets.fid(styles, contents), rel=1e-3)
    other = {name: np.ascontiguousarray(x, np.float32) / 2 for name, x in made["lpips"].items()}
    save(tmp_path / "lpips", other, "lpips")
    again = line(evaluation.run(settings, {}, tmp_path / "out"), "style picture", 0)
    expected = np.mean([metric_nets.lpips(other, p.content[None], p.style[None])[0] for p in pairs])
    assert again["lpips"] == pytest.approx(expected, rel=1e-4), "another network in the same file"
    assert abs(expected - distance) > 0.1 * distance


def rows_of(method, table):
    """Rows with J only; table[steps][pair]."""
    rest = dict.fromkeys(results.COLUMNS)
    return [
        rest | {"method": method, "steps": k, "pair": i, "J": j}
        for k, by_pair in table.items()
        for i, j in by_pair.items()
    ]


def test_closed_is_averaged_over_the_pairs_on_which_gatys_gains():
    names = ("photograph", "ours", "gatys")
    chosen = [Method(name, "bundle" if name == "ours" else "", "", 0, None) for name in names]
    rows = rows_of("photograph", {0: {0: 10.0, 1: 8.0, 2: 5.0}}) + rows_of("ours", {1: {0: 6.0, 1: 7.0, 2: 1.0}})
    rows += rows_of("gatys", {0: {0: 10.0, 1: 8.0, 2: 5.0}, 150: {0: 2.0, 1: 4.0, 2: 4.6}})
    pairs = [Pair(i, f"c{i}", f"s{i}", None, None, []) for i in range(3)]
    found = assemble(config.from_dict({"contents": "a", "styles": "b"}, config.Evaluation), chosen, rows, pairs, [])
    assert found["left_out"] == [2], "5 - 4.6 < 0.1 * 5"
    (ours,) = [s for s in found["summary"] if s["method"] == "ours"]
    assert (ours["closed"], ours["closed_median"], ours["closed_pairs"]) == ((0.5 + 0.25) / 2, 0.375, 2)
    assert ours["closed_ratio"] == 5 / 12 and ours["J"] == pytest.approx(14 / 3) and ours["pairs"] == 3
    assert found["rows"][5]["closed"] is None


def test_curves_are_of_the_pairs_that_all_were_run_on():
    """Johnson is worse on the one pair that it was run on, and its mean is lower than that of all pairs."""
    chosen = [Method(name, "bundle", "", 0, None) for name in ("photograph", "ours", "johnson")]
    rows = rows_of("photograph", {0: {0: 4.0, 1: 20.0}}) + rows_of("ours", {0: {0: 3.0, 1: 9.0}, 5: {0: 2.0, 1: 8.0}})
    rows += rows_of("johnson", {0: {0: 4.0}, 5: {0: 3.0}})
    pairs = [Pair(i, f"c{i}", f"s{i}", None, None, []) for i in range(2)]
    found = assemble(config.from_dict({"contents": "a", "styles": "b"}, config.Evaluation), chosen, rows, pairs, [])
    assert found["curve_pairs"] == [0]
    assert {name: curve["J"] for name, curve in found["curves"].items()} == {
        "photograph": [4.0], "ours": [3.0, 2.0], "johnson": [4.0, 3.0],
    }  # fmt: skip
    assert line(found, "ours", 5)["J"] == 5.0, "the table is of all pairs"


def test_reach_compares_on_common_pairs():
    rows = rows_of("ours", {1: {0: 4.0, 1: 9.0}, 5: {0: 3.0, 1: 9.0}, 10: {0: 2.0, 1: 9.0}})
    rows += rows_of("gatys", {0: {0: 9.0}, 20: {0: 3.5}, 50: {0: 2.5}}) + rows_of("lite", {0: {0: 1.0, 1: 1.0}})
    assert reach(rows, "ours") == [
        {"method": "gatys", "target": 1, "J": 4.0, "steps": 20},
        {"method": "gatys", "target": 5, "J": 3.0, "steps": 50},
        {"method": "gatys", "target": 10, "J": 2.0, "steps": None},
    ]
    assert reach(rows, None) == []


def test_the_interval_covers_what_it_should():
    pairs = [(f"c{i}", f"s{i}") for i in range(40)]
    assert interval([2.0] * 40, pairs) == (2.0, 2.0)
    low, high = interval(list(np.random.default_rng(0).normal(5, 1, 40)), pairs)
    assert low < 5 < high and high - low > 2 * 1.96 / np.sqrt(40), "wider than that of 40 independent values"
    same = interval(list(np.repeat([1.0, 3.0], 20)), [("c", f"s{i < 20}") for i in range(40)])
    assert same == (1.0, 3.0), "two styles, however many pairs, are two values"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("gatys", "magic")}, "`methods`: expected some of identity, .*, got 'magic'"),
        ({"steps": (0, -1)}, "`steps`: expected whole numbers from 0"),
        ({"pairs": 0}, "`pairs`: expected at least 1, got 0"),
        ({"size": 16}, "`size`: expected at least 32, got 16"),
        ({"contents": ""}, "`contents`: expected a folder of pictures, got none; pass --contents=DIR"),
        ({"sice": 32}, "`sice`: no such setting"),
    ],
)
def test_settings_that_make_no_sense(changes, message):
    with pytest.raises(InputError, match=message):
        protocol(**changes)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"johnson_arch": "c3s1-4,R3x"}, InputError, '`johnson_arch`: expected .*, got "R3x" in "c3s1-4,R3x"'),
        ({"train_contents": "folder:nowhere"}, FileNotFoundError, "`train_contents`: no such folder: 'nowhere'"),
    ],
)
def test_what_per_style_training_cannot_use_is_refused_before_anything_is_done(
    start, tmp_path, changes, error, message
):
    with pytest.raises(error, match=message):
        evaluation.run(protocol(**changes), {"ours": Start(start)}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_command_line_mistakes(start, tmp_path, monkeypatch):
    for text in ("1/1", "2", "a/b", "-1/2"):
        with pytest.raises(InputError, match="`part`: expected i/n"):
            evaluation.parse_part(text)
    with pytest.raises(InputError, match="`steps`: expected whole numbers from 0, got 0,x"):
        evaluation.settings(None, {"steps": ["0", "x"]})
    bundles.save_bundle(tmp_path / "b", start)
    both = evaluation.load([f"ours={tmp_path}/b", f"{tmp_path}/b"], ["ours"])
    assert list(both) == ["ours", f"{tmp_path}/b"]
    assert both["ours"].bundle.config.inner.steps == 0 < start.config.inner.steps
    assert both["ours"].bundle.pictures_seen == start.pictures_seen > 0, "its training is what it was"
    with pytest.raises(InputError, match="`bundle`: expected different names, got ours twice"):
        evaluation.load([f"ours={tmp_path}/b", f"ours={tmp_path}/b"])
    for names in (["lite"], ["photograph"], ["a_1", "a/1"]):
        with pytest.raises(InputError, match=f"`bundle`: expected another name than {names[0]}, got {names[-1]}; pass"):
            evaluation.run(protocol(), dict.fromkeys(names, Start(start)), tmp_path / "none")
    for changes, message in (
        ({"inception": "x"}, "`inception`: expected --lpips as well"),
        ({"inception": "x", "lpips": "y"}, "`size`: expected at least 75 px for ArtFID, got 32"),
    ):
        with pytest.raises(InputError, match=message):
            evaluation.run(protocol(**changes), {}, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(InputError, match="`adam_all`: expected the name of a bundle, ours, got yours"):
        evaluation.load([f"ours={tmp_path}/b"], ["yours"])
    with pytest.raises(InputError, match="`learn_with`: expected the name of a bundle, ours, got yours"):
        evaluation.load([f"ours={tmp_path}/b"], learn_with=["yours=random"])
    with pytest.raises(FileNotFoundError, match="`learn_with`: expected NAME=WEIGHTS, a file, got 'ours=nowhere'"):
        evaluation.load([f"ours={tmp_path}/b"], learn_with=["ours=nowhere"])
    with pytest.raises(InputError, match="`dtype`: expected the name of a bundle, ours, got yours"):
        evaluation.load([f"ours={tmp_path}/b"], dtype=["yours=bfloat16"])
    with pytest.raises(InputError, match="dtype`: expected .*float32.*, got 'half'"):
        evaluation.load([f"ours={tmp_path}/b"], dtype=["ours=half"])
    bundles.save_bundle(tmp_path / "lr=0.1" / "b", start)
    assert list(evaluation.load([f"{tmp_path}/lr=0.1/b", f"x={tmp_path}/lr=0.1/b"])) == [f"{tmp_path}/lr=0.1/b", "x"]
    own = dataclasses.replace(start, config=dataclasses.replace(start.config, vgg="gone.safetensors"))
    with pytest.raises(FileNotFoundError, match="`bundle`: the loss network of ours, gone.safetensors, is gone; pass"):
        evaluation.run(protocol(methods=("identity",)), {"ours": Start(own)}, tmp_path / "none")
    for module, package in (("matplotlib.figure", "matplotlib"), ("skimage.metrics", "scikit-image")):
        with monkeypatch.context() as patch, pytest.raises(InputError, match=f"an evaluation needs {package}, which"):
            patch.setitem(sys.modules, module, None)
            evaluation.run(protocol(), {}, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="`out`: cannot make"):
        evaluation.run(protocol(methods=("identity",)), {}, tmp_path / "file" / "out")
