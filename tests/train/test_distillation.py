"""A run of distillation that stops and goes on, and what it learns from at each step."""

import csv
import dataclasses
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import metastyle
from metastyle import config
from metastyle.compress import distill_vgg, prune_vgg
from metastyle.errors import InputError, Stopped
from metastyle.nets import generator, vgg
from metastyle.train import distillation
from metastyle.weights import vgg_files
from tests.support import toy_train
from tests.support.command import like_here, run_main
from tests.support.places import ROOT
from tests.support.stopping import stop_at
from tests.support.toy_distillation import PICTURES, RANKS, SIZE, SLIM, TEACHER, settings


def killed(chosen, workdir, step):
    """A run of `chosen` in a process of its own, killed once that step is in metrics.csv."""
    code = "import sys; from metastyle import config; from metastyle.train import distillation; "
    code += "distillation.distill(config.from_dict("
    code += f"{dataclasses.asdict(chosen)!r}, config.Distillation), sys.argv[1])"
    with subprocess.Popen([sys.executable, "-c", code, str(workdir)], cwd=ROOT, env=like_here()) as process:
        while process.poll() is None and toy_train.last_row(workdir) < step:
            time.sleep(0.02)
        process.kill()
    return process.returncode


def files(workdir):
    network = vgg_files.read(workdir / vgg_files.SLIM.name)[0]
    with open(workdir / "metrics.csv", newline="") as file:
        return list(csv.reader(file)), {name: x.tolist() for name, x in network.items()}


@pytest.mark.slow
def test_a_run_that_is_killed_and_stopped_goes_on_as_if_it_had_been_left_alone(tmp_path, monkeypatch):
    often = {"steps": 12, "log_every": 1, "checkpoint_every": 2, "picture_every": 12}
    chosen = settings(run=often, canvas_optimizer="lbfgs")
    distillation.distill(chosen, tmp_path / "a")
    assert killed(chosen, tmp_path / "b", 3) == -signal.SIGKILL
    at = toy_train.last_row(tmp_path / "b") + 1
    with monkeypatch.context() as patch:
        stop_at(patch, at)
        with pytest.raises(Stopped, match=f"^stopped after step {at + 1} of 12; the same line continues$"):
            distillation.distill(chosen, tmp_path / "b")
    distillation.distill(chosen, tmp_path / "b")
    rows, network = files(tmp_path / "a")
    assert (rows, network) == files(tmp_path / "b")
    assert [row[0] for row in rows] == ["step", *map(str, range(1, 13))] and rows[0][1:] == list(distill_vgg.METRICS)
    assert (tmp_path / "a/pictures/step_0000012.png").exists()
    loaded = vgg_files.load(tmp_path / "a" / vgg_files.SLIM.name)
    assert tuple(loaded[layer]["bias"].shape[-1] for layer in vgg.LAYERS) == SLIM


@pytest.mark.slow
def test_a_run_without_a_step_writes_the_pruned_network(tmp_path):
    distillation.distill(settings(run={"steps": 0}), tmp_path)
    loaded = vgg_files.load(tmp_path / vgg_files.SLIM.name)
    assert tuple(loaded[layer]["bias"].shape[-1] for layer in vgg.LAYERS) == SLIM
    assert np.asarray(vgg.features(loaded, PICTURES)["relu4_3"]).std() > 0


def test_what_is_exported_is_the_network(tmp_path):
    slim, _ = prune_vgg.prune(TEACHER, PICTURES, SLIM, RANKS)
    network = prune_vgg.network(slim, TEACHER)
    distillation.save_network(network, tmp_path / "slim.safetensors")
    ours, loaded = (vgg.features(p, PICTURES) for p in (network, vgg_files.load(tmp_path / "slim.safetensors")))
    for tap in vgg.TAPS:
        np.testing.assert_allclose(loaded[tap], ours[tap], atol=2e-2)


def test_style_and_subject_stay_and_the_photograph_does_not():
    task = distillation.picture_tasks(settings(steps_per_style=3))
    a, b, c = (task(step, 0) for step in (0, 2, 3))
    for name in ("style", "subject"):
        np.testing.assert_array_equal(a[name], b[name])
        assert not np.array_equal(a[name], c[name])
    assert not np.array_equal(a["photograph"], b["photograph"])
    assert {x.shape for x in a.values()} == {(1, SIZE, SIZE, 3)}


def test_canvas_and_painter_start_afresh_in_time():
    chosen, batch = (
        settings(steps_per_style=3, styles_per_painter=2),
        distillation.picture_tasks(settings(steps_per_style=3))(0, 0),
    )
    found = [distillation._renewed(chosen, k, batch) for k in range(13)]
    assert [k for k in range(13) if "canvas" in found[k]] == [0, 3, 6, 9, 12]
    assert [k for k in range(13) if "painter" in found[k]] == [0, 6, 12]
    subject, noise, flat, mixed, again = (np.asarray(found[k]["canvas"].learned) for k in (0, 3, 6, 9, 12))
    np.testing.assert_array_equal(subject, batch["subject"])
    np.testing.assert_array_equal(again, subject)
    assert np.ptp(flat, (0, 1, 2)).max() == 0 and noise.std() > 0.2
    np.testing.assert_allclose(mixed, (batch["subject"] + batch["style"]) / 2, atol=1e-6)
    first, second = (found[k]["painter"].learned for k in (0, 6))
    assert any((np.asarray(x) != np.asarray(second[path])).any() for path, x in first.items())


@pytest.mark.slow
def test_painter_and_canvas_start_from_guesses_for_half_of_the_styles():
    chosen = settings(
        steps_per_style=3, styles_per_painter=4, guess_lr=1e-4, bundle="default", painter={"arch": "compact_half"}
    )
    batch, guess = distillation.picture_tasks(chosen)(0, 0), distillation.load_guess(chosen)
    found = [distillation._renewed(chosen, k, batch, guess) for k in range(15)]
    assert [k for k in range(15) if "painter" in found[k]] == [0, 6, 9, 12]
    assert [float(found[k]["painter"].lr) for k in (0, 6)] == pytest.approx([chosen.painter_lr, 1e-4])
    style = metastyle.load().adapt(batch["style"][0], steps=0, style_size=SIZE)
    guessed, canvas = style.stylize(batch["photograph"][0]), style.stylize(batch["subject"][0])
    for k, start in ((0, canvas / 255), (3, batch["subject"][0]), (6, canvas / 255)):
        np.testing.assert_allclose(found[k]["canvas"].learned[0], start, atol=0.02)
    painting = jax.jit(generator.apply, static_argnums=0)(
        chosen.painter, found[6]["painter"].learned, batch["photograph"]
    )[0]
    np.testing.assert_allclose(painting, guessed / 255, atol=0.02)  # of float16 and bytes
    alike = jax.tree.map(lambda a, b: np.shape(a) == np.shape(b), found[0]["painter"], found[6]["painter"])
    assert all(jax.tree.leaves(alike))


def test_the_painter_is_of_the_bundle_whose_guesses_it_starts_from():
    with pytest.raises(InputError, match="`painter.arch`: expected that of `bundle`, compact_half, got s4,p4-3,skip"):
        distillation.load_guess(settings(bundle="default"))
    assert distillation.load_guess(settings()) is None


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"widths": (1, 2)}, "`widths`: expected the widths of ten convolutions"),
        ({"ranks": (1, 2)}, "`ranks`: expected the ranks of ten convolutions, 0 for a full one"),
        ({"gallery": 5}, "`gallery`: expected an even number"),
        ({"data": {"size": 2}}, "`data.size`: expected at least 16"),
        ({"lr": -1.0}, "`lr`: expected at least 0"),
        ({"canvas_optimizer": "sgd"}, "`canvas_optimizer`: expected one of adam, lbfgs, got 'sgd'"),
        ({"loss": {"statistic": "mean_std"}}, "`loss.kind`: expected relative, with `loss.statistic` gram"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(InputError, match=message):
        settings(**changes)


def test_a_painter_that_is_none_is_refused_before_anything_is_written(tmp_path):
    wrong = settings(painter={"arch": "nonsense"})
    with pytest.raises(InputError, match="`painter.arch`: "):
        distillation.distill(wrong, tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_a_run_is_not_continued_with_other_settings(tmp_path):
    workdir = tmp_path / "a"
    workdir.mkdir()
    (workdir / "config.json").write_text(config.to_json(settings(lr=1e-3)))
    with pytest.raises(InputError, match="`lr`: the run in .* has 0.001, got 5e-05"):
        distillation.distill(settings(), workdir)


@pytest.mark.slow
@pytest.mark.processes
def test_the_command_line_names_what_is_missing(tmp_path):
    flags = "--config=configs/distill.py", f"--workdir={tmp_path}/a", "--config.vgg=nowhere"
    done = run_main("distill", *flags)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "error: `vgg`: expected slim, half, vgg16, random or a safetensors file, got 'nowhere'\n"
    assert not (tmp_path / "a").exists()


def test_settings_are_found_under_their_former_names():
    former = {"steps_per_style": "hold", "styles_per_painter": "renew", "gallery_every": "apart"}
    values = dataclasses.asdict(settings())
    renamed = {former.get(name, name): value for name, value in values.items()}
    assert renamed.keys() != values.keys()
    assert config.from_dict(renamed, config.Distillation) == settings()
