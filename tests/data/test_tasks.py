"""A task is a pure function of (seed, step, index); its pictures are different, and whole."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from metastyle.data import prefetch, tasks
from metastyle.errors import InputError
from tests.support.toy_tasks import SIZE, Colours, Noise, sampler, settings
from tests.support.trees import assert_trees_equal


def indices_of(crops):
    """Which of `Colours` the crops [..., S, S, 3] are of."""
    red, green = (np.round(crops[..., c].mean((-1, -2)) * 255 / 4).astype(int) for c in (0, 1))
    return (red + 64 * green).ravel().tolist()


@pytest.mark.parametrize("steps, support, query, shots", [(3, 2, 2, 1), (0, 1, 1, 1), (1, 1, 3, 2)])
def test_shapes(steps, support, query, shots):
    chosen = settings(data={"shots": shots}, inner={"steps": steps, "support": support}, outer={"query": query})
    batch = sampler(chosen).batch(0, range(3))
    assert {key: value.shape for key, value in batch.items()} == {
        "style": (3, shots, SIZE, SIZE, 3),
        "support": (3, steps, support, SIZE, SIZE, 3),
        "query": (3, query, SIZE, SIZE, 3),
    }
    for value in batch.values():
        assert value.dtype == np.float32
        assert value.size == 0 or (0 <= value.min() < 0.1 and 0.9 < value.max() <= 1)


def test_a_task_depends_on_seed_step_and_index_alone():
    first, again = sampler(settings()), sampler(settings())
    expected = {(step, index): first.task(step, index) for step in range(3) for index in range(3)}
    for step, index in reversed(expected):
        assert_trees_equal(again.task(step, index), expected[step, index])
    assert_trees_equal(again.batch(1, [2, 0]), prefetch.stack([expected[1, 2], expected[1, 0]]))

    others = [sampler(settings(seed=1)).task(0, 0), expected[1, 0], expected[0, 1]]
    for other in others:
        for key in ("style", "support", "query"):
            assert not np.array_equal(other[key], expected[0, 0][key])


def test_the_photographs_of_a_task_are_different():
    chosen = settings(inner={"steps": 4, "support": 3}, outer={"query": 4})
    content = Colours(16)
    for step in range(5):
        task = sampler(chosen, content).task(step, 0)
        assert sorted(indices_of(task["support"]) + indices_of(task["query"])) == list(range(16))
    with pytest.raises(InputError, match=r"^`data.content`: expected at least the 16 photographs .* got 15;"):
        sampler(chosen, content := Colours(15))
    assert content.read == 0


def test_a_replaced_photograph_is_another_one_too():
    chosen, seen = settings(inner={"steps": 9, "support": 4}), set()
    for step in range(20):
        task = sampler(chosen, Colours(40, bad={7, 8})).task(step, 0)
        indices = indices_of(task["support"]) + indices_of(task["query"])
        assert len(set(indices)) == 37
        seen.update(indices)
    assert seen == set(range(40)) - {7, 8}


def test_photographs_and_styles_are_all_drawn():
    one = sampler(settings(), Colours(60), Colours(30))
    drawn = [one.task(step, 0) for step in range(150)]
    assert {i for task in drawn for i in indices_of(task["support"])} == set(range(60))
    assert {i for task in drawn for i in indices_of(task["style"])} == set(range(30))


def test_shots_are_different_crops_of_one_style():
    one = sampler(settings(data={"shots": 3}), style=Colours(30)).task(0, 0)["style"]
    assert len(set(indices_of(one))) == 1
    crops = sampler(settings(data={"shots": 3})).task(0, 0)["style"]
    assert not any(np.array_equal(crops[i], crops[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_share_of_procedural_styles(share):
    one = sampler(settings(data={"procedural_styles": share}, inner={"steps": 0}), style=Colours(30))
    plain = [np.ptp(one.task(step, 0)["style"], (0, 1, 2)).max() < 1e-6 for step in range(60)]
    assert 1 - np.mean(plain) == pytest.approx(share, abs=0 if share in (0, 1) else 0.15)


def test_photographs_are_styles_in_the_share_that_is_asked_for():
    none, half = (
        sampler(settings(data={"photograph_styles": share}), style=Colours(30)).batch(0, range(60))
        for share in (0, 0.5)
    )
    for part in ("support", "query"):
        np.testing.assert_array_equal(none[part], half[part])
    same = np.array([np.array_equal(a, b) for a, b in zip(none["style"], half["style"], strict=True)])
    assert 20 <= same.sum() <= 40
    assert np.ptp(half["style"][~same], (-3, -2)).max() > 0  # the photographs are noise, the styles of one colour each
    val = tasks.TaskSampler(
        settings(data={"photograph_styles": 1}), content=Noise(60), style=Colours(30), prefix="val_"
    )
    np.testing.assert_array_equal(val.batch(0, range(4))["style"], none["style"][:4])


def test_procedural_styles_leave_the_photographs_as_they_are():
    with_them = sampler(settings(data={"procedural_styles": 1.0})).task(0, 0)
    without = sampler(settings()).task(0, 0)
    for key in ("support", "query"):
        np.testing.assert_array_equal(*(indices_of(task[key]) for task in (with_them, without)))


def test_sources_are_opened_from_the_settings(tmp_path):
    for name, count, value in (("content", 7, 0), ("style", 1, 80), ("val_content", 7, 160), ("val_style", 1, 240)):
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.fromarray(np.full((20, 20, 3), value + i, np.uint8)).save(tmp_path / name / f"{i}.png")
    specs = {name.name: f"folder:{name}" for name in tmp_path.iterdir()}
    chosen = settings(data=specs | {"procedural_styles": 1.0})
    train, val = tasks.TaskSampler(chosen).task(0, 0), tasks.TaskSampler(chosen, prefix="val_").task(0, 0)
    assert train["support"].max() < 8 / 255
    assert np.ptp(train["style"]) > 0.05
    assert 159 / 255 < val["support"].min() and val["support"].max() < 168 / 255
    np.testing.assert_allclose(val["style"], 240 / 255, atol=0.5001 / 255)

    missing = dataclasses.replace(chosen, data=dataclasses.replace(chosen.data, val_style=f"folder:{tmp_path}/none"))
    with pytest.raises(FileNotFoundError, match="^`data.val_style`: "):
        tasks.TaskSampler(missing, prefix="val_")


def test_photographs_are_mirrored_and_styles_only_if_asked():
    ramp = np.broadcast_to(np.arange(0, 250, 10, np.uint8)[:, None], (25, 25, 3))  # brighter to the right

    class Ramp(Colours):
        def __getitem__(self, index):
            return ramp

    def rightward(crops):
        slopes = np.diff(crops.mean((-1, -3)), axis=-1).mean(-1).ravel()
        return (slopes > 0).mean()

    for flip_style in (False, True):
        one = sampler(settings(data={"flip_style": flip_style, "shots": 4}), Ramp(60), Ramp(30))
        batch = one.batch(0, range(15))
        assert 0.3 < rightward(batch["support"]) < 0.7
        assert (0.3 < rightward(batch["style"]) < 0.7) if flip_style else rightward(batch["style"]) == 1


def test_styles_take_on_the_colours_of_others_in_the_share_that_is_asked_for():
    none, half, all_ = (sampler(settings(data={"recolor": share})).batch(0, range(40)) for share in (0, 0.5, 1))
    for part in ("support", "query"):
        np.testing.assert_array_equal(none[part], half[part])
    kept = (none["style"] == half["style"]).all((1, 2, 3, 4))
    assert 10 <= kept.sum() <= 30 and not (none["style"] == all_["style"]).all((1, 2, 3, 4)).any()
    np.testing.assert_array_equal(half["style"][~kept], all_["style"][~kept])
    val = tasks.TaskSampler(settings(data={"recolor": 1}), content=Noise(60), style=Noise(30), prefix="val_")
    np.testing.assert_array_equal(val.batch(0, range(4))["style"], none["style"][:4])


def test_styles_are_turned_by_quarters_in_the_share_that_is_asked_for():
    ramp = np.zeros((SIZE, SIZE, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(SIZE), np.arange(SIZE)[:, None]

    class Ramp(Colours):
        def __getitem__(self, index):
            return ramp

    none, half = (
        sampler(settings(data={"quarter_turns": share, "shots": 2}), style=Ramp(3)).batch(0, range(90))
        for share in (0, 0.5)
    )
    for part in ("support", "query"):
        np.testing.assert_array_equal(none[part], half[part])
    found = [
        [q for q in range(4) if np.array_equal(turned, np.rot90(upright, q, (1, 2)))]
        for turned, upright in zip(half["style"], none["style"], strict=True)
    ]
    assert set(map(len, found)) == {1}
    counts = np.bincount(np.ravel(found), minlength=4)
    assert 30 <= counts[0] <= 60 and counts[1:].min() >= 7
    val = tasks.TaskSampler(settings(data={"quarter_turns": 1}), content=Noise(60), style=Ramp(3), prefix="val_")
    np.testing.assert_array_equal(val.batch(0, range(4))["style"], none["style"][:4, :1])


def test_a_collage_is_two_styles_on_either_side_of_a_line():
    none, half = (
        sampler(settings(data={"collage": share}), style=Colours(30)).batch(0, range(60)) for share in (0, 0.5)
    )
    for part in ("support", "query"):
        np.testing.assert_array_equal(none[part], half[part])
    covered = np.array([(a != b).any(-1).mean() for a, b in zip(none["style"], half["style"], strict=True)])
    assert 20 <= (covered > 0).sum() <= 40
    assert 0.1 < covered[covered > 0].min() and 0.6 < covered.max() < 0.9
    colours = [len(np.unique(np.round(255 * style).reshape(-1, 3), axis=0)) for style in half["style"][covered > 0]]
    assert set(colours) == {2}
    val = tasks.TaskSampler(settings(data={"collage": 1}), content=Noise(60), style=Colours(30), prefix="val_")
    np.testing.assert_array_equal(val.batch(0, range(4))["style"], none["style"][:4])
