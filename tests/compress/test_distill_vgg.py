"""Distillation: where it starts, what it asks for, whom it learns from; and a run that stops and goes on."""

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metastyle
from metastyle import config
from metastyle.compress import distill_vgg
from metastyle.config import Distillation
from metastyle.data.tasks import Prefetcher
from metastyle.errors import InputError
from metastyle.losses import perceptual
from metastyle.nets import generator, vgg
from metastyle.train import distillation
from tests.support import toy_train
from tests.support.places import ROOT

TEACHER = vgg.random_params(widths=(4, 6, 6, 8, 8, 8, 8, 8, 8, 8))
RANKS = (0, 0, 0, 0, 0, 3, 0, 0, 4, 4)
FULL_RANK = (0,) * 10
FULL = tuple(TEACHER[layer]["kernel"].shape[-1] for layer in vgg.LAYERS)
SLIM = (3, 4, 4, 5, 5, 5, 5, 6, 6, 6)
SIZE = 32
LOSS = config.Loss()
objective = jax.jit(distill_vgg.objective, static_argnums=4)
PICTURES = np.random.default_rng(0).uniform(size=(4, SIZE, SIZE, 3)).astype(np.float32)


def settings(**changes) -> Distillation:
    values = {
        "run": {"steps": 6, "log_every": 2, "checkpoint_every": 4, "picture_every": 6},
        "data": {"size": SIZE, "content": "procedural", "style": "procedural"},
        "painter": {"arch": "s4,p4-3,skip"},
        "widths": SLIM, "ranks": RANKS, "batch": 2, "gallery": 4, "apart": 2, "hold": 3, "renew": 1, "warmup": 1,
        "vgg": "random",
    }  # fmt: skip
    for name, value in changes.items():
        values[name] = values[name] | value if isinstance(value, dict) else value
    return config.from_dict(values, Distillation)


def batch_of(seed=0):
    draw = np.random.default_rng(seed).uniform(size=(3, 1, SIZE, SIZE, 3)).astype(np.float32)
    return dict(zip(("style", "photograph", "subject"), draw, strict=True))


def seen_of(seed=0, count=2):
    draw = np.random.default_rng(seed).uniform(size=(3, count, SIZE, SIZE, 3)).astype(np.float32)
    return dict(zip(("photograph", "style", "work"), draw, strict=True))


# Where it starts


def test_pruning_nothing_is_the_teacher():
    slim, scale = distill_vgg.prune(TEACHER, PICTURES, FULL, FULL_RANK)
    loss, metrics = objective(slim, seen_of(), TEACHER, scale, LOSS)
    assert set(metrics) == set(distill_vgg.METRICS)
    assert max(map(float, metrics.values())) < 1e-6 and float(loss) < 1e-6


def feature_errors(slim, scale):
    """What the objective calls features_*, without compiling it."""
    seen = jnp.concatenate(list(seen_of().values()))
    ours, theirs = vgg.features(distill_vgg.network(slim, TEACHER), seen), vgg.features(TEACHER, seen)
    return {t: float(perceptual.ratio(ours[t] @ slim["maps"][t], theirs[t] * scale[t]).mean()) for t in vgg.TAPS}


def test_pruning_leaves_less_the_narrower_and_more_than_random_features():
    errors = []
    for widths in (FULL, SLIM, (2,) * 10):
        slim, scale = distill_vgg.prune(TEACHER, PICTURES, widths, FULL_RANK)
        assert [slim["vgg"][layer]["kernel"].shape[-1] for layer in vgg.LAYERS] == list(widths)
        errors.append(list(feature_errors(slim, scale).values()))
    assert (np.diff(errors, axis=0) > 0).all() and np.max(errors) < 1


def test_a_kernel_of_lower_rank_loses_more_and_one_of_full_rank_nothing():
    errors = []
    for rank in (8, 4, 2):
        slim, scale = distill_vgg.prune(TEACHER, PICTURES, FULL, (0,) * 5 + (rank,) * 5)
        assert slim["vgg"]["conv4_3"]["mix"].shape == (rank, 8)
        errors.append(feature_errors(slim, scale)["relu4_3"])
    assert errors[0] < 1e-6 < errors[1] < errors[2] < 1


def test_every_layer_starts_at_rms_1():
    slim, _ = distill_vgg.prune(TEACHER, PICTURES, SLIM, RANKS)
    relus = tuple(f"relu{layer[4:]}" for layer in vgg.LAYERS)
    for x in vgg.features(distill_vgg.network(slim, TEACHER), PICTURES, relus).values():
        np.testing.assert_allclose(np.sqrt(np.square(x).mean()), 1, rtol=1e-4)


def test_pivots_take_what_explains_most_first_and_nothing_twice():
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(100, 3)) * [10, 3, 1]
    features = np.stack([basis[:, 0], 0.99 * basis[:, 0], basis[:, 2], basis[:, 1]], 1)
    products = features.T @ features
    assert distill_vgg._pivots(products, 3) == [0, 3, 2]
    assert sorted(distill_vgg._pivots(products, 4)) == [0, 1, 2, 3]


def saved(path, slim):
    distillation.export(distill_vgg.network(slim, TEACHER), path)
    return str(path)


def test_a_network_that_is_taken_up_is_itself_and_its_maps_are_those_of_pruning(tmp_path):
    pruned, scale = distill_vgg.prune(TEACHER, PICTURES, SLIM, RANKS)
    start = saved(tmp_path / "slim.safetensors", pruned)
    slim, again = distill_vgg.take_up(settings(start=start), TEACHER, PICTURES)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), slim["vgg"], pruned["vgg"])
    for tap in vgg.TAPS:
        np.testing.assert_allclose(again[tap], scale[tap], rtol=1e-5)
    before, after = feature_errors(pruned, scale), feature_errors(slim, again)
    for tap in vgg.TAPS:
        assert after[tap] == pytest.approx(before[tap], rel=0.02, abs=1e-4)


def test_a_run_goes_on_from_a_network_that_is_there(tmp_path):
    pruned, _ = distill_vgg.prune(TEACHER, PICTURES, SLIM, RANKS)
    start = saved(tmp_path / "slim.safetensors", pruned)
    state = distill_vgg.initial_state(settings(start=start), TEACHER, PICTURES)
    assert jax.tree.structure(state) == jax.tree.structure(distill_vgg.initial_state(settings(), TEACHER, PICTURES))
    np.testing.assert_allclose(state["slim"]["vgg"]["conv1_1"]["kernel"], pruned["vgg"]["conv1_1"]["kernel"], rtol=1e-3)


def test_only_a_network_of_distillation_and_of_these_widths_is_taken_up(tmp_path):
    other, _ = distill_vgg.prune(TEACHER, PICTURES, SLIM, FULL_RANK)
    vgg.save(tmp_path / "teacher.safetensors", vgg.tensors(TEACHER), vgg.TORCHVISION)
    same = dict(widths=FULL, ranks=FULL_RANK, start=str(tmp_path / "teacher.safetensors"))
    for asked in (settings(start=saved(tmp_path / "other.safetensors", other)), settings(**same)):
        with pytest.raises(InputError, match="`start`: expected a network that distillation made, of `widths`"):
            distill_vgg.take_up(asked, TEACHER, PICTURES)
    with pytest.raises(FileNotFoundError, match="`start`: expected"):
        distill_vgg.take_up(settings(start="nothing.safetensors"), TEACHER, PICTURES)


def test_the_slim_network_has_its_zero_where_the_teacher_has():
    """Both pad with it."""
    slim, _ = distill_vgg.prune(TEACHER, PICTURES, SLIM, RANKS)
    np.testing.assert_array_equal(distill_vgg.network(slim, TEACHER)["input"]["mean"], TEACHER["input"]["mean"])


# What it asks for


def numpy_objective(slim, seen, scale):
    """The formula of the module's head a second time."""
    features = {}
    for kind, pictures in seen.items():
        ours = vgg.features(distill_vgg.network(slim, TEACHER), pictures)
        theirs = vgg.features(TEACHER, pictures)
        features[kind] = [
            {tap: np.asarray(x, np.float64) * (scale[tap] if i else 1) for tap, x in f.items()}
            for i, f in enumerate((ours, theirs))
        ]
    count = len(seen["work"])
    gram = lambda x: np.einsum("hwc,hwd->cd", x, x) / x[..., 0].size
    error = lambda a, b: np.square(a - b).sum() / np.square(b).sum()
    total = 0.0
    for tap in vgg.TAPS:
        to = np.asarray(slim["maps"][tap], np.float64)
        for ours, theirs in features.values():
            for f, big in zip(ours[tap], theirs[tap], strict=True):
                total += error(f @ to, big) / (4 * 3 * count)
                total += error(to.T @ gram(f) @ to, gram(big)) / (4 * 3 * count)
        for i in range(count):
            for kind in ("work", "photograph"):
                logs = [
                    np.log(error(gram(features[kind][who][tap][i]), gram(features["style"][who][tap][i])) + 1e-3)
                    for who in (0, 1)
                ]
                total += np.square(logs[0] - logs[1]) / (4 * 2 * count)
    for i in range(count):
        logs = [
            np.log(error(features["work"][who]["relu3_3"][i], features["photograph"][who]["relu3_3"][i]) + 1e-3)
            for who in (0, 1)
        ]
        total += np.square(logs[0] - logs[1]) / count
    downhill = []
    for params in (distill_vgg.network(slim, TEACHER), TEACHER):
        content = perceptual.content_target(params, seen["photograph"], LOSS)
        for i in range(count):
            style = perceptual.style_target(params, seen["style"][i : i + 1], LOSS)
            judged = lambda x: perceptual.perceptual(params, x, content[i : i + 1], style, LOSS).total[0]  # noqa: B023
            downhill.append(
                np.asarray(jax.jit(jax.grad(judged))(jnp.asarray(seen["work"][i : i + 1])), np.float64).ravel()
            )
    for ours, theirs in zip(downhill[:count], downhill[count:], strict=True):
        total += 2 * (1 - ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)) / count
    return total


def test_the_objective_is_what_the_docstring_says():
    slim, scale = distill_vgg.prune(TEACHER, PICTURES, SLIM, RANKS)
    loss, metrics = objective(slim, seen_of(), TEACHER, scale, LOSS)
    np.testing.assert_allclose(float(loss), numpy_objective(slim, seen_of(), scale), rtol=1e-3)
    assert float(metrics["loss"]) == float(loss)


# Whom it learns from


def test_the_gallery_takes_the_place_of_its_oldest_and_nothing_is_drawn_that_does_not_hang():
    chosen = settings(gallery=4, apart=2, batch=64)
    gallery = {kind: jnp.zeros((4, SIZE, SIZE, 3), jnp.uint8) for kind in ("photograph", "style", "work")}
    hung = []
    for step in range(7):
        level = (step + 1) / 255
        names = ("photograph", "subject", "style", "painting", "canvas")
        shown = {name: jnp.full((1, SIZE, SIZE, 3), level * (2 if name == "canvas" else 1)) for name in names}
        gallery = distill_vgg._hang(chosen, gallery, shown, jnp.int32(step))
        hung.append(np.asarray(gallery["work"][:, 0, 0, 0]).tolist())
        drawn = np.round(255 * distill_vgg._draw(chosen, gallery, jnp.int32(step))["work"][:, 0, 0, 0])
        assert set(np.asarray(drawn, int).tolist()) == set(hung[-1]) - {0}
    assert hung == [
        [1, 2, 0, 0],
        [2, 4, 0, 0],
        [2, 4, 3, 6],
        [2, 4, 4, 8],
        [5, 10, 4, 8],
        [6, 12, 4, 8],
        [6, 12, 7, 14],
    ]


def taken(lr, steps):
    """A distillation at this rate, before and after some steps on `batch_of()`."""
    chosen = settings(run={"steps": 100}, lr=lr, warmup=0, canvas_lr=0.01, painter_lr=1e-3, hold=steps)
    state = distill_vgg.initial_state(chosen, TEACHER, PICTURES)
    state["canvas"] = distill_vgg.new_canvas(chosen, batch_of()["subject"])
    first = jax.tree.map(np.asarray, state)
    step = jax.jit(lambda state: distill_vgg.step(chosen, state, batch_of(), TEACHER))
    for _ in range(steps):
        state, _, shown = step(state)
    assert set(shown) == {"style", "photograph", "subject", "painting", "canvas"}
    return chosen, first, state


def test_painter_and_canvas_follow_the_slim_network():
    """One that stays as it is: they lag behind one that learns."""
    chosen, first, state = taken(0.0, 12)
    slim = distill_vgg.network(state["slim"], TEACHER)

    def judged(painter, canvas):
        """The slim J of what painter and canvas have."""
        target = perceptual.style_target(slim, batch_of()["style"], chosen.loss)
        works = {
            "photograph": generator.apply(chosen.painter, painter["learned"], batch_of()["photograph"]),
            "subject": canvas["learned"],
        }
        return [
            float(
                perceptual.perceptual(
                    slim, work, perceptual.content_target(slim, batch_of()[name], chosen.loss), target, chosen.loss
                ).total[0]
            )
            for name, work in works.items()
        ]

    before, after = judged(first["painter"], first["canvas"]), judged(state["painter"], state["canvas"])
    assert after[0] < before[0] and after[1] < before[1]


def test_for_every_third_style_the_works_follow_the_teacher():
    chosen, batch = settings(hold=5, canvas_lr=0.01), batch_of()
    state = distill_vgg.initial_state(chosen, TEACHER, PICTURES)
    state["canvas"] = distill_vgg.new_canvas(chosen, 0.25 + 0.5 * batch["subject"])
    step = jax.jit(lambda state: distill_vgg.step(chosen, state, batch, TEACHER))

    def downhill(params):
        """The signs of the gradients of painter and canvas, by which Adam's first step goes."""
        target = perceptual.style_target(params, batch["style"], LOSS)

        def judged(painter, canvas):
            painting = generator.apply(chosen.painter, painter, batch["photograph"])
            return sum(
                perceptual.perceptual(
                    params, work, perceptual.content_target(params, batch[name], LOSS), target, LOSS
                ).total[0]
                for name, work in (("photograph", painting), ("subject", canvas))
            )

        return signs(jax.jit(jax.grad(judged, (0, 1)))(state["painter"]["learned"], state["canvas"]["learned"]))

    def signs(trees):
        return [np.sign(np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])) for tree in trees]

    ways = {"slim": downhill(distill_vgg.network(state["slim"], TEACHER)), "teacher": downhill(TEACHER)}
    for at, leader in ((0, "slim"), (9, "slim"), (10, "teacher"), (14, "teacher"), (15, "slim"), (25, "teacher")):
        after = step(state | {"step": jnp.int32(at)})[0]
        before, then = ([x[who]["learned"] for who in ("painter", "canvas")] for x in (state, after))
        moved = signs(jax.tree.map(jnp.subtract, before, then))
        for name, way in ways.items():
            alike = [(a == b).mean() for a, b in zip(moved, way, strict=True)]
            assert min(alike) > 0.99 if name == leader else max(alike) < 0.95


def test_the_slim_network_learns():
    _, first, state = taken(1e-2, 12)
    seen = {kind: x[:2].astype(jnp.float32) / 255 for kind, x in state["gallery"].items()}
    errors = [float(objective(s, seen, TEACHER, state["scale"], LOSS)[0]) for s in (first["slim"], state["slim"])]
    assert errors[1] < 0.9 * errors[0]


# A run


def killed(chosen, workdir, step):
    """A run of `chosen` in a process of its own, killed once that step is in metrics.csv."""
    code = "from metastyle import config, distill_run; import sys; distill_run.run(config.from_dict("
    code += f"{dataclasses.asdict(chosen)!r}, config.Distillation), sys.argv[1])"
    like_here = os.environ | {"JAX_NUM_CPU_DEVICES": str(jax.device_count())}
    with subprocess.Popen([sys.executable, "-c", code, str(workdir)], cwd=ROOT, env=like_here) as process:
        while process.poll() is None and toy_train.last_row(workdir) < step:
            time.sleep(0.02)
        process.kill()
    return process.returncode


def files(workdir):
    network = vgg.read(workdir / distillation.FILE_NAME)[0]
    with open(workdir / "metrics.csv", newline="") as file:
        return list(csv.reader(file)), {name: x.tolist() for name, x in network.items()}


def test_a_run_that_is_killed_and_stopped_goes_on_as_if_it_had_been_left_alone(tmp_path, monkeypatch, capsys):
    chosen = settings(run={"steps": 12, "log_every": 1, "checkpoint_every": 2, "picture_every": 12})
    assert distillation.run(chosen, tmp_path / "a") is True
    assert killed(chosen, tmp_path / "b", 3) == -signal.SIGKILL
    at, following = toy_train.last_row(tmp_path / "b") + 1, Prefetcher.__next__

    def stopping(self):
        step, batch = following(self)
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return step, batch

    with monkeypatch.context() as patch:
        patch.setattr(Prefetcher, "__next__", stopping)
        assert distillation.run(chosen, tmp_path / "b") is False
    assert f"stopped after step {at + 1} of 12" in capsys.readouterr().out
    assert distillation.run(chosen, tmp_path / "b") is True
    rows, network = files(tmp_path / "a")
    assert (rows, network) == files(tmp_path / "b")
    assert [row[0] for row in rows] == ["step", *map(str, range(1, 13))] and rows[0][1:] == list(distill_vgg.METRICS)
    assert (tmp_path / "a/pictures/step_0000012.png").exists()
    loaded = vgg.load(tmp_path / "a" / distillation.FILE_NAME)
    assert tuple(loaded[layer]["bias"].shape[-1] for layer in vgg.LAYERS) == SLIM


def test_a_run_without_a_step_writes_the_pruned_network(tmp_path):
    assert distillation.run(settings(run={"steps": 0}), tmp_path) is True
    loaded = vgg.load(tmp_path / distillation.FILE_NAME)
    assert tuple(loaded[layer]["bias"].shape[-1] for layer in vgg.LAYERS) == SLIM
    assert np.asarray(vgg.features(loaded, PICTURES)["relu4_3"]).std() > 0


def test_what_is_exported_is_the_network(tmp_path):
    slim, _ = distill_vgg.prune(TEACHER, PICTURES, SLIM, RANKS)
    network = distill_vgg.network(slim, TEACHER)
    distillation.export(network, tmp_path / "slim.safetensors")
    ours, loaded = (vgg.features(p, PICTURES) for p in (network, vgg.load(tmp_path / "slim.safetensors")))
    for tap in vgg.TAPS:
        np.testing.assert_allclose(loaded[tap], ours[tap], atol=2e-2)


def test_style_and_subject_stay_and_the_photograph_does_not():
    task = distillation.pictures(settings(hold=3))
    a, b, c = (task(step, 0) for step in (0, 2, 3))
    for name in ("style", "subject"):
        np.testing.assert_array_equal(a[name], b[name])
        assert not np.array_equal(a[name], c[name])
    assert not np.array_equal(a["photograph"], b["photograph"])
    assert {x.shape for x in a.values()} == {(1, SIZE, SIZE, 3)}


def test_canvas_and_painter_start_afresh_in_time():
    chosen, batch = settings(hold=3, renew=2), distillation.pictures(settings(hold=3))(0, 0)
    found = [distillation._renewed(chosen, k, batch) for k in range(13)]
    assert [k for k in range(13) if "canvas" in found[k]] == [0, 3, 6, 9, 12]
    assert [k for k in range(13) if "painter" in found[k]] == [0, 6, 12]
    subject, noise, flat, mixed, again = (np.asarray(found[k]["canvas"]["learned"]) for k in (0, 3, 6, 9, 12))
    np.testing.assert_array_equal(subject, batch["subject"])
    np.testing.assert_array_equal(again, subject)
    assert np.ptp(flat, (0, 1, 2)).max() == 0 and noise.std() > 0.2
    np.testing.assert_allclose(mixed, (batch["subject"] + batch["style"]) / 2, atol=1e-6)
    first, second = (found[k]["painter"]["learned"] for k in (0, 6))
    assert any((np.asarray(x) != np.asarray(second[path])).any() for path, x in first.items())


def test_the_painter_starts_from_guesses_for_half_of_the_styles():
    chosen = settings(hold=3, renew=4, guess_lr=1e-4, bundle="default", painter={"arch": "compact_half"})
    batch, guess = distillation.pictures(chosen)(0, 0), distillation.guesser(chosen)
    found = [distillation._renewed(chosen, k, batch, guess) for k in range(15)]
    assert [k for k in range(15) if "painter" in found[k]] == [0, 6, 9, 12]
    assert [float(found[k]["painter"]["lr"]) for k in (0, 6)] == pytest.approx([chosen.painter_lr, 1e-4])
    guessed = metastyle.load().adapt(batch["style"][0], steps=0, style_size=SIZE).stylize(batch["photograph"][0])
    painting = jax.jit(generator.apply, static_argnums=0)(
        chosen.painter, found[6]["painter"]["learned"], batch["photograph"]
    )[0]
    np.testing.assert_allclose(painting, guessed / 255, atol=0.02)  # of float16 and bytes
    alike = jax.tree.map(lambda a, b: np.shape(a) == np.shape(b), found[0]["painter"], found[6]["painter"])
    assert all(jax.tree.leaves(alike))


def test_the_painter_is_of_the_bundle_whose_guesses_it_starts_from():
    with pytest.raises(InputError, match="`painter.arch`: expected that of `bundle`, compact_half, got s4,p4-3,skip"):
        distillation.guesser(settings(bundle="default"))
    assert distillation.guesser(settings()) is None


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"widths": (1, 2)}, "`widths`: expected the widths of ten convolutions"),
        ({"ranks": (1, 2)}, "`ranks`: expected the ranks of ten convolutions, 0 for a full one"),
        ({"gallery": 5}, "`gallery`: expected an even number"),
        ({"data": {"size": 2}}, "`data.size`: expected at least 16"),
        ({"lr": -1.0}, "`lr`: expected at least 0"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(InputError, match=message):
        settings(**changes)


def test_a_painter_that_is_none_is_refused_before_anything_is_written(tmp_path):
    wrong = settings(painter={"arch": "nonsense"})
    with pytest.raises(InputError, match="`painter.arch`: "):
        distillation.run(wrong, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_run_is_not_continued_with_other_settings(tmp_path):
    workdir = tmp_path / "a"
    workdir.mkdir()
    (workdir / "config.json").write_text(config.to_json(settings(lr=1e-3)))
    with pytest.raises(InputError, match="`lr`: the run in .* has 0.001, got 5e-05"):
        distillation.run(settings(), workdir)


def test_the_command_line_names_what_is_missing(tmp_path):
    line = [sys.executable, "-m", "experiments.distill", "--config=configs/distill.py", f"--workdir={tmp_path}/a"]
    done = subprocess.run([*line, "--config.vgg=nowhere"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "error: `vgg`: expected slim, vgg16, random or a safetensors file, got 'nowhere'\n"
    assert not (tmp_path / "a").exists()
