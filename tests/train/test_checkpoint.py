"""What is saved is what is restored, on any number of devices; what can't be restored is told in one line."""

import dataclasses
import json
import os
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from metastyle import config
from metastyle.errors import InputError
from metastyle.meta import outer_loop, tune_rates
from metastyle.train import checkpoint, meta_training
from metastyle.train.mesh import Parallel
from metastyle.weights import bundles
from tests.support import toy, toy_train
from tests.support.errors import refused
from tests.support.places import CHECKPOINT_1
from tests.support.trees import assert_trees_equal

SETTINGS = toy.settings()
unfinished_reads = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def parallel(devices, mode="shard_map"):
    return Parallel(mode, 8, jax.devices()[:devices])


def random_state(seed=0, settings=SETTINGS):
    """A state in which no two leaves are alike, Adam's moments and counts included."""
    rng = np.random.default_rng(seed)

    def leaf(x):
        return np.asarray(rng.normal(size=x.shape) if x.dtype == np.float32 else rng.integers(9, 99, x.shape), x.dtype)

    return jax.tree.map(leaf, outer_loop.initial_state(settings))


def saved(folder, steps, keep=None, devices=8):
    with checkpoint.Checkpoints(folder, keep) as checkpoints:
        for step in steps:
            checkpoints.save(step, parallel(devices).replicate(random_state(step)), SETTINGS)
        checkpoints.wait()
        return checkpoints.latest()


def restored(folder, step, devices=1, settings=SETTINGS):
    with checkpoint.Checkpoints(folder) as checkpoints:
        return checkpoints.restore(step, outer_loop.initial_state(settings), parallel(devices).replicated)


def test_an_encoder_is_restored(tmp_path):
    settings = toy.settings(hidden=4)
    state = random_state(settings=settings)
    with checkpoint.Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(1, parallel(1).replicate(state), settings)
        checkpoints.wait()
    assert state.meta.encoder
    assert_trees_equal(restored(tmp_path / "checkpoints", 1, settings=settings), state)


def test_a_run_of_an_older_version_goes_on(tmp_path, monkeypatch):
    """Its checkpoint gives back what its bundle has, and the next steps are those that the older version took."""
    monkeypatch.setattr(tune_rates, "choose", lambda learned, *_, **__: (learned, 1e-3))
    workdir, settings = tmp_path / "run", toy_train.settings({"run": {"steps": 6}})
    shutil.copytree(CHECKPOINT_1, workdir)
    state = restored(workdir / "checkpoints", 4, settings=settings)
    assert state.step == 4
    assert_trees_equal(jax.tree.map(np.asarray, state.meta), bundles.load_bundle(workdir / "bundle").meta)
    counts = [x for x in jax.tree.leaves(state.optimizer) if x.dtype == np.int32]
    assert counts and all(count == 4 for count in counts)
    meta_training.train(settings, workdir, toy.problem(), toy.VGG)
    rows = np.loadtxt(workdir / "metrics.csv", delimiter=",", skiprows=1)
    # On the pictures of that version both took the same steps. These are those on today's pictures of 16 px, which no
    # longer differ by processor (`media.brushwork`).
    expected = [
        [5, -0.594444, 0.580076, 0.610008, 0.610008, 1.835619],
        [6, -0.719514, 0.494241, 0.495890, 0.495890, 1.480796],
    ]
    np.testing.assert_allclose(rows[4:], expected, rtol=1e-4)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original") / "checkpoints"
    saved(folder, [2, 4])
    return folder


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_a_state_comes_back_whole_on_any_number_of_devices(original, devices):
    state = restored(original, 4, devices)
    assert_trees_equal(state, random_state(4))
    for leaf in jax.tree.leaves(state):
        assert leaf.sharding.is_fully_replicated and len(leaf.sharding.device_set) == devices
    assert_trees_equal(restored(original, 2), random_state(2))


def test_what_pmap_returned_can_be_saved_and_is_restored_as_global_arrays(tmp_path):
    state, ways = random_state(), parallel(8, "pmap")
    copy = jax.pmap(lambda x, _: x, in_axes=(None, 0), out_axes=None)(ways.replicate(state), np.zeros(8))
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, ways.for_checkpoint(copy), SETTINGS)
    assert_trees_equal(restored(tmp_path, 1, 8), state)


def test_a_state_may_be_donated_right_after_it_is_given_to_be_saved(tmp_path):
    advance = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        state = parallel(8).replicate(random_state())
        checkpoints.save(1, state, SETTINGS)
        jax.block_until_ready(advance(state))
    assert_trees_equal(restored(tmp_path, 1), random_state())


def test_the_newest_are_kept_and_hold_their_settings(tmp_path):
    assert saved(tmp_path, [1, 3, 5, 7], keep=2) == 7
    assert sorted(p.name for p in tmp_path.iterdir()) == ["5", "7"]
    assert config.from_dict(json.loads((tmp_path / "7" / "config" / "metadata").read_text())) == SETTINGS


def test_an_empty_folder_has_no_newest(tmp_path):
    with checkpoint.Checkpoints(tmp_path / "new" / "folder") as checkpoints:
        assert checkpoints.latest() is None
    with checkpoint.Checkpoints(tmp_path / "new" / "folder") as checkpoints:
        assert checkpoints.latest() is None


def _halve(file):
    os.truncate(file, file.stat().st_size // 2)


DAMAGES = {
    "no state": lambda step: shutil.rmtree(step / "state"),
    "an empty folder": lambda step: [shutil.rmtree(step), step.mkdir()],
    "half the metadata": lambda step: _halve(step / "state" / "_METADATA"),
    "half the manifest": lambda step: _halve(step / "state" / "manifest.ocdbt"),
    "half the data": lambda step: [_halve(file) for file in (step / "state" / "d").iterdir()],
}


@pytest.mark.slow
@unfinished_reads
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_in_one_line(original, tmp_path, capfd, damage):
    folder = shutil.copytree(original, tmp_path / "checkpoints")
    DAMAGES[damage](folder / "4")
    with refused(r"^`workdir`: cannot restore .*checkpoints/4 .*from step 2$") as error:
        restored(folder, 4)
    assert len(str(error.value)) < 400
    assert "Traceback" not in capfd.readouterr().err
    shutil.rmtree(folder / "4")
    assert_trees_equal(restored(folder, 2), random_state(2))  # as the message says


@unfinished_reads
@pytest.mark.parametrize("other", [{"inner": {"steps": 4}}, {"outer": {"optimizer": "sgd"}}])
def test_a_state_of_other_shapes_is_refused_in_one_line(original, other):
    with refused(r"^`workdir`: cannot restore .*checkpoints/2 .*from the start$"):
        restored(original, 2, settings=toy.settings(**other))


def test_a_failure_without_a_message_is_told_by_its_name(tmp_path, monkeypatch):
    def fail(manager):
        raise TimeoutError

    monkeypatch.setattr(ocp.CheckpointManager, "check_for_errors", fail)
    with pytest.raises(OSError, match=r"cannot save .* \(TimeoutError\)"):
        checkpoint.Checkpoints(tmp_path).check()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="`workdir`: cannot make .*file/checkpoints"):
        checkpoint.Checkpoints(tmp_path / "file" / "checkpoints")


def changed(section, **changes):
    return dataclasses.replace(SETTINGS, **{section: dataclasses.replace(getattr(SETTINGS, section), **changes)})


def test_a_claimed_folder_takes_the_same_settings_and_another_length(tmp_path):
    for settings in (SETTINGS, SETTINGS, changed("run", steps=99, log_every=7, parallel="pmap")):
        checkpoint.claim(tmp_path, settings)
        assert config.from_dict(json.loads((tmp_path / "config.json").read_text())) == settings
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (changed("run", seed=3), r"^`run.seed`: the run in .* has 0, got 3; set it back or use another --workdir$"),
        (changed("outer", lr=0.5), r"^`outer.lr`: the run in .* has 0.001, got 0.5"),
        (changed("data", style="folder:x"), r"^`data.style`: the run in .* has 'procedural', got 'folder:x'"),
        (dataclasses.replace(SETTINGS, vgg="random"), r"^`vgg`: the run in .* has 'slim', got 'random'"),
    ],
)
def test_a_claimed_folder_refuses_other_settings_and_keeps_its_own(tmp_path, settings, message):
    checkpoint.claim(tmp_path, SETTINGS)
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(InputError, match=message):
        checkpoint.claim(tmp_path, settings)
    assert (tmp_path / "config.json").read_text() == before


@pytest.mark.parametrize("text", ["", "[1]", '{"run": {"stepz": 3}}'])
def test_a_config_json_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match="`workdir`: .*config.json is not the settings of a run"):
        checkpoint.claim(tmp_path, SETTINGS)


def test_differences_name_every_field():
    other = dataclasses.replace(changed("inner", steps=9, lr=1.0), vgg="random")
    assert checkpoint.differences(SETTINGS, other) == [
        ("inner.steps", 3, 9),
        ("inner.lr", 0.1, 1.0),
        ("vgg", "slim", "random"),
    ]
    assert checkpoint.differences(SETTINGS, SETTINGS) == []
