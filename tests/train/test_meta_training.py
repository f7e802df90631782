"""A run writes what it promises, stops anywhere, and goes on as if it had never stopped."""

import csv
import dataclasses
import functools
import json
import os
import re
import shutil
import signal
import time

import jax
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from metastyle import config
from metastyle.data.prefetch import Prefetcher
from metastyle.data.tasks import TaskSampler
from metastyle.errors import InputError, Stopped
from metastyle.images import codec
from metastyle.meta import outer_loop, tune_rates
from metastyle.nets.params import count_parameters
from metastyle.system.signals import StopSignal
from metastyle.train import checkpoint, loop, meta_training, multihost, run_log
from metastyle.train.mesh import Parallel
from metastyle.weights import bundles
from tests.support import toy
from tests.support.compiling import compiled_into
from tests.support.stopping import stop_at
from tests.support.trees import assert_trees_equal

PROBLEM = toy.problem()
STEPS, SWITCH = 7, 2
STARTS = "a writer starts"
HANDLER = signal.getsignal(signal.SIGTERM)


def toy_settings(*, data=None, inner=None, outer=None, run=None) -> config.Config:
    """Seven steps, of which the first two are first order; checkpoints of step 3, 6 and 7, rows of 2, 4 and 6."""
    settings = toy.settings(
        inner={"steps": 1} | (inner or {}),
        outer={"second_order_from": SWITCH} | (outer or {}),
        run={"steps": STEPS, "log_every": 2, "checkpoint_every": 3, "picture_every": 100} | (run or {}),
    )
    sources = {"val_content": "procedural", "val_style": "procedural"}
    return dataclasses.replace(settings, data=dataclasses.replace(settings.data, **sources | (data or {})))


def run(settings, workdir) -> None:
    meta_training.train(settings, workdir, problem=PROBLEM, loss_networks=toy.VGG)


def state_of(workdir, settings, step):
    """The state in a checkpoint, as numpy."""
    with checkpoint.Checkpoints(workdir / "checkpoints") as saved:
        sharding = Parallel("shard_map", settings.outer.tasks).replicated
        return jax.tree.map(np.asarray, saved.restore(step, outer_loop.initial_state(settings), sharding))


def rows_of(workdir):
    with open(workdir / "metrics.csv", newline="") as file:
        return list(csv.reader(file))


def files_of(workdir):
    return {file.relative_to(workdir): file.read_bytes() for file in workdir.rglob("*") if file.is_file()}


def events_of(workdir):
    """(step, tag) of every TensorBoard value, and (step, STARTS) where a writer takes over."""
    for file in sorted((workdir / "events").iterdir()):
        data = file.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            if event.HasField("session_log"):
                yield event.step, STARTS
            yield from ((event.step, value.tag) for value in event.summary.value)
            data = data[16 + size :]


def assert_bundle_of(bundle, learned):
    """The parameters are those that were learned, and the rates too but for one gain."""
    assert_trees_equal(*(dataclasses.replace(x, log_lr={}) for x in (bundle, learned)))
    raised = jax.tree.map(lambda a, b: np.unique(np.round(np.exp(a - b), 4)), bundle.log_lr, learned.log_lr)
    (gain,) = np.unique(jax.tree.leaves(raised))
    assert gain in tune_rates.GAINS


@pytest.fixture
def quick(monkeypatch):
    """The rates of a bundle aren't searched for."""
    monkeypatch.setattr(tune_rates, "choose", lambda learned, *_, **__: (learned, 1e-3))


@pytest.fixture
def signal_at(monkeypatch):
    return functools.partial(stop_at, monkeypatch)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(workdir, stdout) of one uninterrupted run; tests that change it take a copy."""
    workdir = tmp_path_factory.mktemp("finished") / "deep" / "run"
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr("builtins.print", lambda *args, **_: lines.append(" ".join(map(str, args))))
        patch.setattr(run_log.tqdm, "write", lines.append)
        run(toy_settings(), workdir)
    return workdir, lines


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished[0], tmp_path / "run")


@pytest.mark.slow
def test_a_run_writes_what_it_promises(finished):
    workdir, _ = finished
    settings = toy_settings()
    assert config.from_dict(json.loads((workdir / "config.json").read_text())) == settings
    header, *rows = rows_of(workdir)
    assert header == ["step", *meta_training.LOGGED]
    assert [row[0] for row in rows] == ["2", "4", "6"]
    assert np.isfinite(np.array(rows, float)).all()
    speed = json.loads((workdir / "speed.json").read_text())
    assert speed["steps_per_second"] > 0 and speed["collectives"] > 0 and speed["sent_bytes"] % 4 == 0
    events = list(events_of(workdir))
    assert [step for step, tag in events if tag == "query"] == [2, 4, 6]
    assert [step for step, tag in events if tag == "data_wait_share"] == [2, 4, 6]
    assert [step for step, tag in events if tag.startswith("val")] == [STEPS]
    assert sorted(p.name for p in (workdir / "checkpoints").iterdir()) == ["3", "6", "7"]
    assert [p.name for p in (workdir / "pictures").iterdir()] == ["step_0000007.png"]
    grid, _ = codec.load(workdir / "pictures" / "step_0000007.png")
    assert grid.shape[1] == 4 * (toy.SIZE + 4) + 4 and grid.shape[0] > 4 * (toy.SIZE + 4)
    bundle = bundles.load_bundle(workdir / "bundle")
    assert bundle.config == settings and bundle.adam_lr in tune_rates.ADAM_LRS
    state = state_of(workdir, settings, STEPS)
    assert_bundle_of(bundle.meta, state.meta)
    assert state.step == STEPS
    start = outer_loop.initial_meta(settings)
    for part in ("fast", "slow", "log_lr"):
        assert toy.relative_error(getattr(state.meta, part), getattr(start, part)) > 1e-5, part


def test_derived_sizes_are_told_and_the_one_switch_of_order(finished):
    _, lines = finished
    told = "\n".join(lines)
    assert "8 cpu devices in 1 processes (shard_map), 1 tasks per device, 16 photographs of 16 px per step" in lines[0]
    assert told.count("compiled the first-order step") == told.count("compiled the second-order step") == 1
    assert told.index("first-order") < told.index("second-order") < told.index("wrote")
    assert "temporary memory" in told and "MiB" in told
    sent = 4 * sum(count_parameters(part) for part in outer_loop.initial_meta(toy_settings()).parts().values())
    (told_sent, _) = re.findall(r"([\d,]+) bytes in 2 all-gather and all-to-all", told)
    most = sent + 4 * (len(meta_training.LOGGED) + 7)  # filled up to a multiple of 8 devices
    assert 2 * sent < int(told_sent.replace(",", "")) <= 2 * most, "the meta-gradient and a few metrics, there and back"
    assert re.search(r"5 steps after step 2: [\d.]+ steps/s", told)


@pytest.mark.slow
def test_compiled_once_and_once_more_at_the_switch(monkeypatch, tmp_path, quick):
    compiled = []

    def compile_(problem, settings, first_order, parallel, arguments):
        compiled.append((int(arguments[0].step), first_order))
        metrics = dict.fromkeys((*meta_training.LOGGED, multihost.STOP_FLAGS), 1.0)
        step = lambda state, batch: (state._replace(step=state.step + 1), dict(metrics))
        return loop.Program(step, "compiled")

    monkeypatch.setattr(meta_training, "_compile", compile_)
    short = {"steps": SWITCH + 2}
    run(toy_settings(run=short), tmp_path / "switch")
    run(toy_settings(run=short, inner={"first_order": True}), tmp_path / "first")
    run(toy_settings(run=short, outer={"second_order_from": 0}), tmp_path / "second")
    assert compiled == [(0, True), (SWITCH, False), (0, True), (0, False)]


@pytest.mark.slow
@pytest.mark.parametrize("when", [SWITCH - 1, 4])
def test_resumed_is_uninterrupted_bit_for_bit(finished, tmp_path, quick, signal_at, capsys, when):
    settings, workdir = toy_settings(), tmp_path / "run"
    signal_at(when)
    with pytest.raises(Stopped, match=f"^stopped after step {when + 1} of 7; the same line continues$"):
        run(settings, workdir)
    capsys.readouterr()
    assert signal.getsignal(signal.SIGTERM) == HANDLER
    assert not (workdir / "bundle").exists()
    with open(workdir / "metrics.csv", "a") as file:  # as a run leaves it that was killed later, in mid-write
        file.write("".join(f"{step},1,1,1,1,1\n" for step in range(when + 2, 20)) + "2,0.5")
    signal_at(None)
    run(settings, workdir)
    assert f"continued from step {when + 1}" in capsys.readouterr().out
    assert (workdir / "metrics.csv").read_bytes() == (finished[0] / "metrics.csv").read_bytes()
    assert_trees_equal(state_of(workdir, settings, STEPS), state_of(finished[0], settings, STEPS))
    picture = "pictures/step_0000007.png"
    assert (workdir / picture).read_bytes() == (finished[0] / picture).read_bytes()
    made, uninterrupted = (bundles.load_bundle(folder / "bundle").meta for folder in (finished[0], workdir))
    assert_bundle_of(made, uninterrupted)  # of which one is without a gain: see `quick`


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["shard_map", "pmap"])
def test_with_crops_cut_on_the_device_too(tmp_path, quick, signal_at, mode):
    rng = np.random.default_rng(0)
    for name, count in (("content", 12), ("style", 5)):
        (tmp_path / name).mkdir()
        for i in range(count):
            codec.save(tmp_path / name / f"{i}.png", rng.uniform(size=(24, 30, 3)).astype(np.float32))
    data = {name: f"folder:{tmp_path / name}" for name in ("content", "style")}
    settings = toy_settings(
        data=data | {"on_device": True, "rotate": 0.0, "recolor": 0.5},
        outer={"tasks": 16, "tasks_side_by_side": 2},
        run={"parallel": mode},
    )
    run(settings, tmp_path / "whole")
    signal_at(3)
    with pytest.raises(Stopped):
        run(settings, tmp_path / "halves")
    signal_at(None)
    run(settings, tmp_path / "halves")
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "halves")
    assert_trees_equal(*(state_of(tmp_path / name, settings, STEPS) for name in ("whole", "halves")))
    assert len({row[2] for row in rows_of(tmp_path / "whole")}) == 4  # rows of steps 2, 4 and 6, and their names


@pytest.mark.slow
def test_pmap_trains_checkpoints_and_resumes_as_shard_map_does(finished, tmp_path, quick, signal_at):
    settings, workdir = toy_settings(run={"parallel": "pmap"}), tmp_path / "run"
    signal_at(4)
    with pytest.raises(Stopped, match="^stopped after step 5 of 7; the same line continues$"):
        run(settings, workdir)
    signal_at(None)
    run(settings, workdir)
    ours, theirs = (np.array(rows_of(path)[1:], float) for path in (workdir, finished[0]))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    a, b = (state_of(path, settings, STEPS).meta for path in (workdir, finished[0]))
    assert toy.relative_error(a, b) < 1e-5


def test_a_stop_in_the_last_step_leaves_the_bundle_to_the_next_run(copied, quick, signal_at, capsys):
    shutil.rmtree(copied / "bundle")
    shutil.rmtree(copied / "checkpoints" / "7")
    signal_at(STEPS - 1)
    with pytest.raises(Stopped, match="^stopped after step 7 of 7; the same line continues$"):
        run(toy_settings(), copied)
    capsys.readouterr()
    assert not (copied / "bundle").exists()
    signal_at(None)
    run(toy_settings(), copied)
    assert bundles.load_bundle(copied / "bundle").config == toy_settings()
    assert "compiled" not in capsys.readouterr().out


@pytest.mark.slow
def test_nothing_is_compiled_after_the_first_step_but_the_switch_to_second_order(tmp_path, monkeypatch, quick):
    compiled, before = [], []  # programs; how many there were when the loop asked for the batch of each step
    jax.monitoring.register_event_duration_secs_listener(compiled_into(compiled))

    class Counting(Prefetcher):
        def __next__(self):
            before.append(len(compiled))
            return super().__next__()

    monkeypatch.setattr(loop, "Prefetcher", Counting)
    told = []
    monkeypatch.setattr(run_log.tqdm, "write", told.append)
    try:
        run(toy_settings(run={"steps": 9, "checkpoint_every": 5}), tmp_path)
    finally:
        jax.monitoring.clear_event_listeners()
    new = np.diff(before)  # programs by step
    assert len(new) == 9 and new[0] > 0
    assert [step for step in range(1, 8) if new[step]] == [SWITCH]
    assert new[SWITCH] == 1
    orders = re.findall(r"compiled the (\S+) step", "\n".join(told))
    assert orders == ["first-order", "second-order"]


def test_a_finished_run_started_again_does_nothing(copied, capsys):
    before = files_of(copied)
    run(toy_settings(), copied)
    assert files_of(copied) == before
    assert "complete after 7 steps" in capsys.readouterr().out


def test_more_steps_continue_the_run_and_write_the_bundle_again(copied, finished, quick, capsys):
    longer = toy_settings(run={"steps": 8, "log_every": 1})
    run(longer, copied)
    assert "continued from step 7" in capsys.readouterr().out
    assert [row[0] for row in rows_of(copied)] == ["step", "2", "4", "6", "8"]
    assert rows_of(copied)[:4] == rows_of(finished[0])
    bundle = bundles.load_bundle(copied / "bundle")
    assert bundle.config == longer
    assert toy.relative_error(bundle.meta.slow, bundles.load_bundle(finished[0] / "bundle").meta.slow) > 1e-6


def test_other_settings_are_refused_by_name_and_nothing_changes(copied):
    before = files_of(copied)
    for settings, name in (
        (toy_settings(outer={"lr": 0.5}), r"`outer.lr`: the run in .* has 0.001, got 0.5"),
        (toy_settings(inner={"scope": "all"}), r"`inner.scope`: the run in .* has 'norm', got 'all'"),
        (toy_settings(run={"seed": 1}), r"`run.seed`"),
        (toy_settings(run={"steps": 5}), r"`run.steps`: the run in .* has done 7, got 5"),
    ):
        with pytest.raises(InputError, match=name):
            run(settings, copied)
    assert files_of(copied) == before


@pytest.mark.parametrize("steps", [0, 1])
def test_no_outer_steps_give_the_bundle_of_the_start(tmp_path, steps):
    settings = toy_settings(inner={"steps": steps}, run={"steps": 0})
    run(settings, tmp_path / "run")
    bundle = bundles.load_bundle(tmp_path / "run" / "bundle")
    assert_bundle_of(bundle.meta, jax.tree.map(np.asarray, outer_loop.initial_meta(settings)))
    assert bundle.adam_lr in tune_rates.ADAM_LRS
    assert rows_of(tmp_path / "run") == [["step", *meta_training.LOGGED]]


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    class Broken(TaskSampler):
        def task(self, step, index):
            task = super().task(step, index)
            return task | {"query": np.full_like(task["query"], np.nan)} if (step, index) == (4, 3) else task

    monkeypatch.setattr(meta_training, "TaskSampler", Broken)
    with pytest.raises(FloatingPointError, match="step 5: loss is nan; the checkpoint of step 3 is good"):
        run(toy_settings(), tmp_path / "run")
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["3"]
    assert not (tmp_path / "run" / "bundle").exists()
    assert [row[0] for row in rows_of(tmp_path / "run")] == ["step", "2", "4"]
    assert signal.getsignal(signal.SIGTERM) == HANDLER


def test_a_picture_is_drawn_of_nothing_that_is_not_finite(tmp_path, monkeypatch):
    """The step before the picture's is not yet written then: rows are of every fifth."""

    class Broken(TaskSampler):
        def task(self, step, index):
            task = super().task(step, index)
            return task | {"query": np.full_like(task["query"], np.nan)} if step == 1 else task

    monkeypatch.setattr(meta_training, "TaskSampler", Broken)
    with pytest.raises(FloatingPointError, match="step 2: loss is nan; there is no checkpoint yet"):
        run(toy_settings(run={"log_every": 5, "picture_every": 2}), tmp_path / "run")
    assert not (tmp_path / "run" / "pictures").exists()


@pytest.mark.slow
@pytest.mark.parametrize("when", [1, 3])  # before the first checkpoint, and at one
def test_events_of_a_continued_run_are_each_there_once(tmp_path, quick, signal_at, when):
    settings, workdir = toy_settings(run={"log_every": 1}), tmp_path / "run"
    signal_at(when)
    with pytest.raises(Stopped):
        run(settings, workdir)
    if when == 1:  # as if it had been killed
        shutil.rmtree(workdir / "checkpoints")
    signal_at(None)
    run(settings, workdir)
    seen: list[int] = []
    for step, tag in events_of(workdir):
        if tag == STARTS:  # TensorBoard forgets what came at this step or later
            seen = [k for k in seen if k < step]
        elif tag == "query":
            seen.append(step)
    assert seen == list(range(1, STEPS + 1))


def test_events_survive_a_kill(tmp_path):
    log = run_log.RunLog(tmp_path, 0, 10, ("loss",), "loss")
    log.write([(1, {"loss": 1.0})], 1, None, 0.0)
    deadline = time.monotonic() + 60  # they come within seconds, without an end or another event
    while (1, "loss") not in events_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (1, "loss") in events_of(tmp_path)
    log.__exit__(None)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"outer": {"tasks": 12}}, InputError, "outer.tasks.*multiple of the 8 devices, got 12"),
        ({"outer": {"tasks": 16, "tasks_side_by_side": 4}}, InputError, "divisor of the 2 tasks of each of the 8"),
        ({"inner": {"scope": "nowhere"}}, InputError, "inner.scope"),
        ({"data": {"content": "folder:NOWHERE"}}, FileNotFoundError, "data.content.*NOWHERE"),
        ({"data": {"style": "folder:EMPTY"}}, InputError, "data.style.*expected pictures"),
        ({"data": {"val_content": "http://x"}}, InputError, "data.val_content.*expected `folder:PATH`"),
        ({"data": {"val_style": "folder:EMPTY"}}, InputError, "data.val_style.*expected pictures"),
        ({"data": {"val_style": "folder:BROKEN"}}, InputError, "data.val_style.*can't be read"),
    ],
)
def test_bad_settings_and_data_are_refused_before_anything_is_written(tmp_path, monkeypatch, changes, error, message):
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "BROKEN").mkdir()
    (tmp_path / "BROKEN" / "a.png").write_text("not a picture")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        run(toy_settings(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_photographs_to_choose_the_rate_on_are_missed_at_once(tmp_path):
    (tmp_path / "one").mkdir()
    codec.save(tmp_path / "one" / "a.png", np.random.default_rng(0).uniform(size=(32, 32, 3)).astype(np.float32))
    data = {"content": f"folder:{tmp_path}/one", "procedural_styles": 0.0}
    with pytest.raises(InputError, match="`data.content`: expected at least the 2 photographs"):
        run(toy_settings(data=data, inner={"steps": 0}, outer={"query": 1}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_missing_weights_are_refused_before_anything_is_written(tmp_path):
    settings = dataclasses.replace(toy_settings(), vgg=str(tmp_path / "none.safetensors"))
    with pytest.raises(FileNotFoundError, match="`vgg`"):
        meta_training.train(settings, tmp_path / "run", problem=PROBLEM)
    assert not (tmp_path / "run").exists()


def test_a_run_starts_from_a_bundle(copied, tmp_path, quick):
    """With all that fits: the parameters in another scope, the rates of leaves that are fast in both."""
    theirs = bundles.load_bundle(copied / "bundle").meta
    settings = dataclasses.replace(
        toy_settings(inner={"scope": "norm,out"}, run={"steps": 0}), start=str(copied / "bundle")
    )
    run(settings, tmp_path / "new")
    assert bundles.load_bundle(tmp_path / "new/bundle").pictures_seen == STEPS * 8 * 2  # 8 tasks of 2 photographs
    ours = bundles.load_bundle(tmp_path / "new/bundle").meta
    assert ours.fast.keys() > theirs.fast.keys()
    assert_trees_equal(ours.fast | ours.slow, theirs.fast | theirs.slow)
    drawn = outer_loop.initial_meta(settings).log_lr
    assert_trees_equal(ours.log_lr, drawn | theirs.log_lr)


@pytest.mark.slow
def test_a_run_goes_on_when_what_it_started_from_is_gone(copied, tmp_path, quick):
    settings = dataclasses.replace(toy_settings(run={"steps": 2}), start=str(copied / "bundle"))
    workdir = tmp_path / "new"
    run(settings, workdir)
    shutil.rmtree(copied)
    more = dataclasses.replace(settings, run=dataclasses.replace(settings.run, steps=4))
    run(more, workdir)
    seen = STEPS * 8 * 2 + 4 * 8 * 2
    assert bundles.load_bundle(workdir / "bundle").pictures_seen == seen
    with pytest.raises(FileNotFoundError, match="`start`: expected a folder"):
        run(more, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_start_gives_its_encoder_whole_or_not_its_last_layer(copied, tmp_path):
    theirs = bundles.load_bundle(copied / "bundle")

    def begun(**changes):
        wanted = dataclasses.replace(toy_settings(), encoder=config.Encoder(**{"hidden": 4, "code": 3} | changes))
        drawn = outer_loop.initial_meta(wanted).encoder
        return drawn, meta_training.begin_from(bundles.load_bundle(tmp_path / "start"), wanted).encoder

    settings = dataclasses.replace(theirs.config, encoder=config.Encoder(hidden=4, code=3))
    trained = {path: np.float32(x) + 1 for path, x in outer_loop.initial_meta(settings).encoder.items()}
    start = dataclasses.replace(theirs, config=settings, meta=dataclasses.replace(theirs.meta, encoder=trained))
    bundles.save_bundle(tmp_path / "start", start)
    for changes, taken in (({}, trained.keys()), ({"code": 5}, set()), ({"hidden": 6}, set())):
        drawn, found = begun(**changes)
        assert_trees_equal(found, drawn | {path: trained[path] for path in taken})


def test_a_start_with_another_generator_is_refused(copied, tmp_path):
    settings = dataclasses.replace(
        toy_settings(), generator=config.Generator("c3s1-8,c3s1-3"), start=str(copied / "bundle")
    )
    with pytest.raises(InputError, match="`start`: expected a bundle of c3s1-8,c3s1-3, got c3s1-4,c3s1-3 in .*bundle"):
        run(settings, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_the_query_loss_of_another_network_is_trained_from_files(tmp_path, quick):
    settings = toy_settings(run={"steps": 1, "picture_every": 1}, outer={"vgg": "random"})
    settings = dataclasses.replace(settings, vgg="random")
    meta_training.train(settings, tmp_path / "run")
    assert bundles.load_bundle(tmp_path / "run/bundle").config.outer.vgg == "random"
    gone = dataclasses.replace(settings, outer=dataclasses.replace(settings.outer, vgg="nowhere"))
    with pytest.raises(FileNotFoundError, match="`outer.vgg`: expected .*'nowhere'"):
        meta_training.train(gone, tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


def test_a_workdir_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="`workdir`: cannot make .*file"):
        run(toy_settings(run={"steps": 0}), tmp_path / "file" / "run")


def test_the_picture_grid_has_a_row_for_each_style_and_starts_with_the_photograph():
    settings = toy_settings()
    tasks = meta_training.val_tasks(settings)
    assert [x["query"].shape for x in tasks] == [(1, toy.SIZE, toy.SIZE, 3)] * 4
    assert [x["support"].shape for x in tasks] == [(1, 1, toy.SIZE, toy.SIZE, 3)] * 4
    assert not any(np.array_equal(x["query"], x["support"][0]) for x in tasks)
    assert_trees_equal(tasks, meta_training.val_tasks(settings))
    grid = meta_training.picture_grid(settings, outer_loop.initial_meta(settings), tasks, PROBLEM, toy.VGG)
    (top,) = {grid.shape[0] - 4 * (toy.SIZE + 4)}
    np.testing.assert_array_equal(grid[top : top + toy.SIZE, 4 : 4 + toy.SIZE], tasks[0]["query"][0])


def test_a_second_interrupt_is_not_waited_for(request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
    with pytest.raises(KeyboardInterrupt), StopSignal() as stop:  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
