"""Evaluation on random features and toy networks: protocol, bounds, parts, settings."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from metastyle import config
from metastyle.errors import InputError
from metastyle.evaluate import adapting, evaluation, judge, lineup, metrics, results
from metastyle.evaluate.methods import Method
from metastyle.evaluate.pairs import Pairs
from metastyle.evaluate.report.table import format_table
from metastyle.evaluate.starts import Start
from metastyle.images import codec
from metastyle.nets import metric_nets
from metastyle.weights import metric_files, vgg_files
from tests.support.evaluations import line, protocol, untimed
from tests.support.metric_nets import drawn, save
from tests.support.reports import Reader, data_of


@pytest.mark.slow
def test_bounds_are_what_they_must_be(whole):
    found, _ = whole
    photograph, style = line(found, "photograph", 0), line(found, "style picture", 0)
    assert photograph.C == 0 and photograph.closed == 0 and photograph.ssim == 1 and photograph.cfsd == 0
    assert style.S == 0 and style.S_mean_std < 1e-4 and style.C > 0.1
    assert line(found, "gatys", 0).J == photograph.J and line(found, "gatys", 3).closed == 1


def test_every_method_is_judged_after_every_number_of_steps(whole):
    found, _ = whole
    looks = {m.name: [s.steps for s in found.summary if s.method == m.name] for m in found.methods}
    expected = {"photograph": [0], "style picture": [0], "ours": [0, 1, 2], "gatys": [0, 1, 2, 3]}
    expected |= {"johnson": [0, 10, 12]} | {f"random, Adam {lr:g}": [0, 1, 2] for lr in adapting.RANDOM_LRS}
    assert looks == expected
    counts = {m.name: line(found, m.name, looks[m.name][0]).pairs for m in found.methods}
    assert counts == dict.fromkeys(counts, 2) | {"johnson": 1}


def test_what_is_written_is_there_and_agrees(whole):
    found, out = whole
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(results.to_json(found)))
    assert (out / "pairs.csv").read_text().splitlines()[0] == "pair,content,style"
    assert len((out / "pairs.csv").read_text().splitlines()) == 3
    assert (out / "table.txt").read_text() == format_table(found) + "\n"
    assert codec.load(out / "curve.png")[0].shape[2] == 3
    page = Reader((out / "index.html").read_text())
    titles = page.all("img", "alt")
    assert all(any(title.startswith(method.name) for title in titles) for method in found.methods)
    assert data_of((out / "vote.html").read_text())["choices"], "two methods meet"
    for row in found.rows:
        assert codec.load(out / row.picture)[0].shape == (32, 32, 3)


def test_scores_are_of_the_picture_that_is_saved(whole):
    found, out = whole
    pairs, judged = Pairs("procedural", "procedural", 2, 32), judge.Judge(vgg_files.load("random"))
    for row in found.rows[:: len(found.rows) // 7]:
        again = judged(codec.load(out / row.picture)[0], pairs[row.pair])._asdict()
        assert row.lpips is again.pop("lpips") is None, "no weights were passed"
        assert row.patches is again.pop("patches") is None, "the pictures are too small"
        assert {k: getattr(row, k) for k in again} == pytest.approx(again, rel=1e-5, abs=1e-7)


@pytest.mark.slow
def test_parts_make_the_whole(whole, start, tmp_path, capsys):
    assert evaluation.run(protocol(), {"ours": Start(start)}, tmp_path, part=(1, 2)) is None
    assert "are still missing; run the other parts" in capsys.readouterr().out
    assert untimed(evaluation.run(protocol(), {"ours": Start(start)}, tmp_path, part=(0, 2))) == untimed(whole[0])


def test_few_pairs_are_evenly_spread_and_of_different_styles():
    class Shared:
        style = staticmethod(lambda index: index % 10)

    chosen = lambda count, left: lineup.choose_pairs(Method("x", "", "", 0, None, pairs=count), left, Shared)
    assert chosen(None, list(range(40))) == list(range(40))
    assert chosen(3, list(range(40))) == [0, 13, 26]
    assert chosen(4, list(range(40))) == [0, 11, 22, 33], "0, 10, 20 and 30 have one style"
    assert chosen(3, [0, 10, 20, 30]) == [0, 10, 20], "there is no other"


@pytest.mark.slow
def test_lpips_and_artfid_are_of_the_pictures_that_they_name(tmp_path):
    """A style picture itself has an FID of 0, a photograph itself an LPIPS of 0."""
    for kind in ("lpips", "art_inception"):
        save(tmp_path / kind, drawn(kind)[1], kind)
    weights = drawn("lpips")[1]
    given = {"lpips": str(tmp_path / "lpips"), "inception": str(tmp_path / "art_inception")}
    settings = protocol(methods=("identity", "style"), size=76, **given)
    found = evaluation.run(settings, {}, tmp_path / "out")
    photograph, style = line(found, "photograph", 0), line(found, "style picture", 0)
    pairs = [Pairs("procedural", "procedural", 2, 76)[i] for i in range(2)]
    distance = np.mean([metric_nets.lpips(weights, p.content[None], p.style[None])[0] for p in pairs])
    inception = metric_files.load_inception(given["inception"])
    styles, contents = (
        np.concatenate([metric_nets.inception(inception, getattr(pair, kind)[None]) for pair in pairs])
        for kind in ("style", "content")
    )
    assert (photograph.lpips, style.lpips) == (pytest.approx(0, abs=1e-6), pytest.approx(distance, rel=1e-4))
    assert style.artfid == pytest.approx(1 + distance, rel=1e-3)
    assert photograph.artfid == pytest.approx(1 + metrics.fid(styles, contents), rel=1e-3)
    other = {name: x / 2 for name, x in weights.items()}
    save(tmp_path / "lpips", other, "lpips")
    again = line(evaluation.run(settings, {}, tmp_path / "out"), "style picture", 0)
    expected = np.mean([metric_nets.lpips(other, p.content[None], p.style[None])[0] for p in pairs])
    assert again.lpips == pytest.approx(expected, rel=1e-4), "another network in the same file"
    assert abs(expected - distance) > 0.1 * distance


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("gatys", "magic")}, "`methods`: expected some of identity, .*, got 'magic'"),
        ({"steps": (0, -1)}, "`steps`: expected whole numbers from 0"),
        ({"pairs": 0}, "`pairs`: expected at least 1, got 0"),
        ({"size": 16}, "`size`: expected at least 32, got 16"),
        ({"contents": ""}, "`contents`: expected a folder of pictures, got none; pass --config.contents=DIR"),
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


def test_settings_of_the_command_line():
    """Names and steps as a line has them, a bundle in the file and another on the line."""
    file = {"methods": ("identity,gatys", "style"), "steps": (5, 0, 5), "bundles": {"ours": {"path": "default"}}}
    settings = evaluation.read_settings(file, ["photo=default,judged"])
    assert settings.methods == ("identity", "gatys", "style") and settings.steps == (0, 5)
    assert settings.bundles == {
        "ours": config.Deployment("default"),
        "photo": config.Deployment("default", judged=True),
    }
    for given, message in (
        (({"steps": ("0,x",)},), "`steps`: expected whole numbers from 0 such as 0,5,10, got "),
        (({"methods": (1,)},), "`methods`: expected some of"),
        ((file, ["ours=x"]), "`bundle`: expected different names, got ours twice"),
        (({}, ["a=x,dtype=half"]), "`bundles.a.dtype`: expected one of '', float32, bfloat16, got 'half'"),
        (({}, ["a=x,backend=int8"]), "`bundles.a.backend`: expected one of jax, onnx, onnx-int8, got 'int8'"),
        (({}, ["a="]), "`bundles.a.path`: expected a bundle, got none"),
        (({"bundles": {"a": {"path": "x", "judge": True}}},), "`bundles.a.judge`: no such setting"),
    ):
        with pytest.raises(InputError, match=message):
            evaluation.read_settings(*given)


@pytest.mark.slow
def test_command_line_mistakes(start, tmp_path, monkeypatch):
    for text in ("1/1", "2", "a/b", "-1/2"):
        with pytest.raises(InputError, match="`part`: expected i/n"):
            evaluation.parse_part(text)
    for names in (["lite"], ["photograph"], ["a_1", "a/1"]):
        with pytest.raises(InputError, match=f"`bundle`: expected another name than {names[0]}, got {names[-1]}; pass"):
            evaluation.run(protocol(), dict.fromkeys(names, Start(start)), tmp_path / "none")
    for changes, message in (
        ({"inception": "x"}, "`inception`: expected --config.lpips as well"),
        ({"inception": "x", "lpips": "y"}, "`size`: expected at least 75 px for ArtFID, got 32"),
    ):
        with pytest.raises(InputError, match=message):
            evaluation.run(protocol(**changes), {}, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    own = dataclasses.replace(start, config=dataclasses.replace(start.config, vgg="gone.safetensors"))
    with pytest.raises(
        FileNotFoundError,
        match="`bundle`: the loss network of ours, gone.safetensors, is gone; pass --bundle=ours=PATH,learn_with=vgg16",
    ):
        evaluation.run(protocol(methods=("identity",)), {"ours": Start(own)}, tmp_path / "none")
    for module, package in (("matplotlib.figure", "matplotlib"), ("skimage.metrics", "scikit-image")):
        with monkeypatch.context() as patch, pytest.raises(InputError, match=f"an evaluation needs {package}, which"):
            patch.setitem(sys.modules, module, None)
            evaluation.run(protocol(), {}, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="`out`: cannot make"):
        evaluation.run(protocol(methods=("identity",)), {}, tmp_path / "file" / "out")
