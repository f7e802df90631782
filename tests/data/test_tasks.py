"""A task is a pure function of (seed, step, index); its pictures are different, and whole."""

import dataclasses
import threading
from concurrent.futures import Future

import numpy as np
import pytest
from PIL import Image

from metastyle import config
from metastyle.data import tasks
from metastyle.errors import InputError

SIZE = 16
NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


class Colours:
    """Pictures of one colour each, which tells their index; those in `bad` can't be read."""

    def __init__(self, count, bad=(), side=24):
        self.count, self.bad, self.side, self.read = count, bad, side, 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.read += 1
        if index in self.bad:
            raise InputError(f"cannot decode {index}")
        return np.full((self.side, self.side + 9, 3), divmod(index, 64)[::-1] + (9,), np.uint8) * np.uint8([4, 4, 1])

    def name(self, index):
        return str(index)


class Noise(Colours):
    def __getitem__(self, index):
        return np.random.default_rng(index).integers(0, 256, (self.side, self.side + 9, 3), np.uint8)


def indices_of(crops):
    """Which of `Colours` the crops [..., S, S, 3] are of."""
    red, green = (np.round(crops[..., c].mean((-1, -2)) * 255 / 4).astype(int) for c in (0, 1))
    return (red + 64 * green).ravel().tolist()


def settings(seed=0, *, data=(), inner=(), outer=()):
    return config.Config(
        run=config.Run(seed=seed),
        data=config.Data(**{"size": SIZE} | dict(data)),
        inner=config.Inner(**dict(inner)),
        outer=config.Outer(**dict(outer)),
    )


def sampler(settings, content=None, style=None):
    return tasks.TaskSampler(settings, content=content or Noise(60), style=style or Noise(30))


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


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
        assert_equal(again.task(step, index), expected[step, index])
    assert_equal(again.batch(1, [2, 0]), tasks.stack([expected[1, 2], expected[1, 0]]))

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


def crops(picture, count=40, **options):
    rng = np.random.default_rng(0)
    options = {"zoom": 1.0, "rotate": 0.0, "flip": False} | options
    return np.stack([tasks.augment(rng, picture, SIZE, **options) for _ in range(count)])


@pytest.mark.parametrize("shape", [(16, 16), (40, 23), (12, 30), (200, 190)])
@pytest.mark.parametrize("zoom, rotate", [(1.0, 0.0), (1.5, 5.0), (1.0, 45.0), (3.0, 180.0)])
def test_no_crop_reaches_outside_the_picture(shape, zoom, rotate):
    white = np.full((*shape, 3), 255, np.uint8)
    assert crops(white, zoom=zoom, rotate=rotate).min() == 1.0


def test_without_augmentation_a_square_picture_of_the_size_is_itself():
    picture = NOISE[:SIZE, :SIZE]
    np.testing.assert_array_equal(crops(picture, 3), np.stack([picture / np.float32(255)] * 3))


def test_flip_mirrors_half_of_the_crops():
    picture = NOISE[:SIZE, :SIZE]
    mirrored = [np.array_equal(crop, picture[:, ::-1] / np.float32(255)) for crop in crops(picture, 200, flip=True)]
    straight = [np.array_equal(crop, picture / np.float32(255)) for crop in crops(picture, 200, flip=True)]
    assert all(np.logical_xor(mirrored, straight))
    assert 70 < sum(mirrored) < 130


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


def test_the_line_of_a_collage_goes_where_it_is_asked_to():
    black, white = np.zeros((2, 9, 9, 3), np.float32), np.ones((9, 9, 3), np.float32)
    right, low = tasks.collage(black, white, 0.0, 0.5)[1, ..., 0], tasks.collage(black, white, 0.25, 0.9)[1, ..., 0]
    np.testing.assert_array_equal(right, np.broadcast_to(np.arange(9) > 4, (9, 9)))
    np.testing.assert_array_equal(low, np.broadcast_to(np.arange(9)[:, None] > 5, (9, 9)))


def test_scale_and_turn_are_as_asked():
    """On the picture whose red and green are x and y, a crop's gradient is its scale and turn."""
    y, x = np.mgrid[:100, :140].astype(np.float32)
    picture = np.stack([x, y, 0 * x], -1).astype(np.uint8)
    plane = crops(picture, 300, zoom=2.0, rotate=30.0) * 255
    along, down = np.diff(plane, axis=2).mean((1, 2)), np.diff(plane, axis=1).mean((1, 2))
    angle = np.degrees(np.arctan2(-along[:, 1], along[:, 0]))
    pixel = np.hypot(along[:, 0], along[:, 1])  # pixels of the picture in one of the crop
    np.testing.assert_allclose(along[:, 0], down[:, 1], atol=0.25)
    np.testing.assert_allclose(along[:, 1], -down[:, 0], atol=0.25)
    assert -30.5 < angle.min() < -25 and 25 < angle.max() < 30.5
    assert 100 / SIZE / 2 - 0.1 < pixel.min() < 100 / SIZE / 2 + 0.3
    radians = np.radians(angle)
    largest = 100 / SIZE / (np.abs(np.cos(radians)) + np.abs(np.sin(radians)))
    assert (pixel < largest + 0.1).all() and (pixel > largest - 0.1).any()


def test_crops_come_from_everywhere():
    y, x = np.mgrid[:100, :200].astype(np.float32)
    centres = crops(np.stack([x, y, 0 * x], -1).astype(np.uint8), 300)[..., :2].mean((1, 2)) * 255
    assert centres[:, 0].min() < 55 and centres[:, 0].max() > 145
    assert np.ptp(centres[:, 1]) < 1


@pytest.mark.parametrize("side", [16, 64])
@pytest.mark.parametrize("rotate", [0.0, 45.0])
def test_a_picture_and_its_negative_average_to_grey(side, rotate):
    """Which they don't where a filter rounds down."""
    picture = np.random.default_rng(0).integers(60, 190, (side, side, 3), np.uint8)
    both = crops(picture, rotate=rotate) + crops(255 - picture, rotate=rotate)
    assert both.mean() / 2 == pytest.approx(0.5, abs=0.05 / 255)


def test_downscaling_is_antialiased():
    checks = ((np.indices((160, 160)).sum(0) % 2) * 255).astype(np.uint8)
    picture = np.repeat(checks[..., None], 3, -1)
    for rotate in (0.0, 5.0):
        assert np.abs(crops(picture, 10, rotate=rotate) - 0.5).max() < 0.02


def prefetched(task=None, *, threads=2, start=3, stop=9, depth=2):
    return tasks.Prefetcher(task or sampler(settings()).task, [0, 2], start, stop, threads=threads, depth=depth)


@pytest.mark.parametrize("threads, depth", [(1, 1), (2, 2), (4, 3)])
def test_prefetch_gives_the_batches_in_order(threads, depth):
    one = sampler(settings())
    with prefetched(one.task, threads=threads, depth=depth) as batches:
        seen = list(batches)
    assert [step for step, _ in seen] == list(range(3, 9))
    for step, batch in seen:
        assert_equal(batch, one.batch(step, [0, 2]))


class AtOnce:
    """A pool whose work is done when it is handed in."""

    def __init__(self, *_, **__):
        pass

    def submit(self, task, *arguments):
        done = Future()
        done.set_result(task(*arguments))
        return done

    def shutdown(self, **_):
        pass


def test_prefetch_computes_depth_batches_ahead_and_no_more(monkeypatch):
    monkeypatch.setattr(tasks, "ThreadPoolExecutor", AtOnce)
    started = []
    batches = prefetched(lambda step, index: started.append(step) or {"style": np.zeros(1)}, depth=2)
    assert started == [3, 3, 4, 4]
    next(batches)
    assert started == [3, 3, 4, 4, 5, 5]
    batches.close()
    assert list(batches) == []


def test_prefetch_raises_at_the_step_of_the_error():
    def task(step, index):
        if step == 5:
            raise InputError("bad picture")
        return {"style": np.full(1, step)}

    with prefetched(task) as batches:
        assert [next(batches)[0], next(batches)[0]] == [3, 4]
        with pytest.raises(InputError, match="bad picture"):
            next(batches)
        assert list(batches) == []


def test_prefetch_measures_only_what_the_consumer_waits(monkeypatch):
    clock, asked = [0.0], threading.Event()

    def now():
        asked.set()
        return clock[0]

    def task(step, index):
        assert asked.wait(10)
        if (step, index) == (3, 2):
            clock[0] += 5
        return {"style": np.zeros(1)}

    monkeypatch.setattr(tasks.time, "perf_counter", now)
    with prefetched(task) as batches:
        assert batches.waited == 0
        for _ in batches:
            assert batches.waited == 5
            clock[0] += 100


def test_prefetch_ends_its_threads():
    def running():
        return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]

    with prefetched() as batches:
        next(batches)
        assert running()
    assert not running()
