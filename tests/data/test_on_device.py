"""Tasks that an accelerator cuts: as those of tasks.py, and a pure function of (seed, step, index) like them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from metastyle import config
from metastyle.data import on_device
from metastyle.data.on_device import DeviceSampler
from metastyle.errors import InputError
from metastyle.images import color
from metastyle.system import memory

SIZE = 16


def settings(content, style, *, data=(), inner=(), outer=()):
    sources = {"content": f"folder:{content}", "style": f"folder:{style}", "val_content": "procedural"}
    return config.from_dict(
        {
            "data": sources | {"size": SIZE, "rotate": 0, "on_device": True, "val_style": "procedural"} | dict(data),
            "inner": {"steps": 2, "support": 2} | dict(inner),
            "outer": dict(outer),
        }
    )


def colours(folder, count, green):
    """Pictures of one colour each: red tells which one it is, green which folder it is of."""
    folder.mkdir()
    for i in range(count):
        pixels = np.full((20 + i % 3, 24 + 5 * (i % 4), 3), (8 * i, green, 0), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


@pytest.fixture
def folders(tmp_path):
    return colours(tmp_path / "content", 20, 50), colours(tmp_path / "style", 12, 100)


def drawn(settings, sampler, places):
    draw = jax.jit(functools.partial(on_device.draw, settings))
    return [jax.tree.map(np.asarray, draw(sampler.task(*place)["draw"], sampler.pictures)) for place in places]


def of(crops):
    """Which pictures crops [..., S, S, 3] are of, and that they are of nothing else."""
    assert np.ptp(crops, (-3, -2)).max() < 1e-5
    return np.round(crops[..., 0, 0, 0] * 255 / 8).astype(int).ravel().tolist()


def test_a_task_has_different_photographs_and_crops_of_one_style(folders):
    asked = settings(*folders, data={"shots": 3}, outer={"query": 2})
    tasks = drawn(asked, DeviceSampler(asked), [(step, index) for step in range(8) for index in range(8)])
    styles, contents = set(), set()
    for task in tasks:
        assert task["style"].shape == (3, SIZE, SIZE, 3)
        assert task["support"].shape == (2, 2, SIZE, SIZE, 3) and task["query"].shape == (2, SIZE, SIZE, 3)
        assert {x.dtype for x in task.values()} == {np.dtype("float32")}
        assert len(set(of(task["style"]))) == 1 and len({*of(task["support"]), *of(task["query"])}) == 6
        np.testing.assert_allclose(task["style"][..., 1], 100 / 255, atol=1e-5)
        np.testing.assert_allclose(task["query"][..., 1], 50 / 255, atol=1e-5)
        styles |= set(of(task["style"]))
        contents |= {*of(task["support"]), *of(task["query"])}
    assert styles == set(range(12)) and contents == set(range(20))


def test_a_task_depends_on_seed_step_and_index_alone(folders):
    asked = settings(*folders)
    places = [(0, 0), (0, 1), (1, 0)]
    first, again = (drawn(asked, DeviceSampler(asked), places) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    other = dataclasses.replace(asked, run=dataclasses.replace(asked.run, seed=1))
    seen = [of(task["support"]) + of(task["query"]) for task in first + drawn(other, DeviceSampler(other), places)]
    assert len({tuple(x) for x in seen}) == 6


def crops_of(picture, count, zoom, flip):
    height, width = picture.shape[:2]
    side = max(height, width)
    padded = np.pad(picture, ((0, side - height), (0, side - width), (0, 0)), "edge")
    cut = jax.vmap(lambda key: on_device.crop(key, padded, np.array([height, width]), SIZE, zoom, flip))
    return np.asarray(cut(jax.random.split(jax.random.key(0), count)))


@pytest.mark.slow
def test_without_augmentation_a_square_picture_of_the_size_is_itself():
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    np.testing.assert_allclose(crops_of(picture, 1, 1.0, False)[0], picture / 255, atol=1e-6)
    found = crops_of(picture, 64, 1.0, True)
    mirrored = np.abs(found - picture[:, ::-1] / 255).max((1, 2, 3)) < 1e-6
    np.testing.assert_allclose(found[~mirrored], np.broadcast_to(picture / 255, found[~mirrored].shape), atol=1e-6)
    assert 16 < mirrored.sum() < 48


def test_a_smaller_crop_is_pillows():
    noise = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    pillows = np.asarray(Image.fromarray(noise).resize((SIZE, SIZE), Image.Resampling.LANCZOS), np.float32) / 255
    assert np.abs(crops_of(noise, 1, 1.0, False)[0] - pillows).max() < 0.006  # Pillow rounds to bytes, twice


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(20, 33), (47, 30)])
def test_crops_are_as_large_as_asked_come_from_everywhere_and_from_nowhere_else(shape):
    height, width = shape
    ramp = np.zeros((*shape, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = 5 * np.arange(height)[:, None], 5 * np.arange(width)
    found = crops_of(ramp, 400, 2.0, False) * 255 / 5  # rows and columns of the picture
    sides = np.stack([np.ptp(found[..., 0], (1, 2)), np.ptp(found[..., 1], (1, 2))]) * SIZE / (SIZE - 1)
    np.testing.assert_allclose(sides[0], sides[1], rtol=0.05, atol=0.7)
    short = min(shape)
    assert sides.min() == pytest.approx(short / 2, rel=0.1) and sides.max() == pytest.approx(short, rel=0.1)
    for rows, length in ((found[..., 0], height), (found[..., 1], width)):
        assert rows.min() < 1 and length - 2 < rows.max() < length


def test_pictures_are_held_no_larger_than_needed_and_long_ones_are_cut(folders):
    content, style = folders
    Image.fromarray(np.zeros((300, 90, 3), np.uint8)).save(content / "99.png")
    asked = settings(content, style, data={"zoom": 2.5, "procedural_styles": 0.5})
    held = DeviceSampler(asked).pictures
    sizes = held["content"].size
    assert sizes[-1].tolist() == [60, 40]
    assert sizes[0].tolist() == [20, 24]  # smaller than 2.5 x 16: as it is
    assert held["content"].pixels.shape == (21, 60, 60, 3)
    assert len(held["procedural"].pixels) == on_device.BANK
    shown = np.array([of(pixels[None, :h, :w] / 255) for pixels, (h, w) in zip(*held["style"], strict=True)])
    np.testing.assert_array_equal(shown[:, 0], np.arange(12))


def test_photographs_are_styles_in_the_share_that_is_asked_for(folders):
    asked = settings(*folders, data={"photograph_styles": 0.25})
    styles = np.stack([t["style"] for t in drawn(asked, DeviceSampler(asked), [(step, 0) for step in range(120)])])
    photographs = np.abs(styles[..., 1] - 50 / 255).max((1, 2, 3)) < 1e-5
    assert 15 < photographs.sum() < 45 and len(set(of(styles[photographs]))) > 8
    np.testing.assert_allclose(styles[~photographs][..., 1], 100 / 255, atol=1e-5)


@pytest.mark.slow
def test_synthetic_styles_have_their_share(folders):
    asked = settings(*folders, data={"procedural_styles": 0.25})
    tasks = drawn(asked, DeviceSampler(asked), [(step, 0) for step in range(120)])
    paintings = sum(bool(np.ptp(task["style"], (1, 2)).max() < 1e-5) for task in tasks)
    assert 70 < paintings < 110


def test_recolored_styles_have_their_share_and_the_colours_of_another(folders, monkeypatch):
    asked = settings(*folders, data={"recolor": 0.5})
    mark = jnp.array([1, 0, 1])  # no green
    monkeypatch.setattr(on_device, "recolored", lambda style, other: 0 * style + mark * other.mean((0, 1)))
    tasks = drawn(asked, DeviceSampler(asked), [(step, 0) for step in range(120)])
    others = [of(task["style"])[0] for task in tasks if task["style"][..., 1].max() == 0]
    assert 40 < len(others) < 80 and len(set(others)) == 12


def test_styles_are_turned_by_quarters_in_the_share_that_is_asked_for(tmp_path, folders):
    paintings = tmp_path / "paintings"
    paintings.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    Image.fromarray(noise).save(paintings / "noise.png")
    asked = settings(folders[0], paintings, data={"quarter_turns": 0.5, "zoom": 1.0})
    tasks = drawn(asked, DeviceSampler(asked), [(step, 0) for step in range(90)])
    turned = [np.rot90(noise, quarters) / 255 for quarters in range(4)]
    found = [[q for q in range(4) if np.abs(task["style"][0] - turned[q]).max() < 1e-5] for task in tasks]
    assert set(map(len, found)) == {1}
    counts = np.bincount(np.ravel(found), minlength=4)
    assert 30 <= counts[0] <= 60 and counts[1:].min() >= 7


@pytest.mark.slow
def test_collages_have_their_share_and_a_part_of_another_style(folders):
    asked = settings(*folders, data={"collage": 0.5})
    plain = dataclasses.replace(asked, data=dataclasses.replace(asked.data, collage=0.0))
    places = [(step, 0) for step in range(120)]
    sampler = DeviceSampler(asked)
    pairs = [
        (a["style"], b["style"]) for a, b in zip(*(drawn(x, sampler, places) for x in (asked, plain)), strict=True)
    ]
    covered = [float((np.abs(a - b) > 1e-5).any(-1).mean()) for a, b in pairs]
    assert 40 < sum(share > 0 for share in covered) < 75  # a twelfth of them is of the same picture
    assert 0.1 < min(share for share in covered if share) and 0.6 < max(covered) < 0.9
    ends = [end(a[..., 0]) for a, _ in pairs for end in (np.min, np.max)]
    assert set(np.round(np.array(ends) * 255 / 8)) == set(range(12))


def test_recolored_is_that_of_color():
    rng = np.random.default_rng(0)
    picture, like = (np.float32(np.clip(m + 0.08 * rng.normal(size=(2, 12, 10, 3)), 0, 1)) for m in (0.5, 0.4))
    found = on_device.recolored(jnp.asarray(picture), jnp.asarray(like))
    np.testing.assert_allclose(found, color.recolor(picture, like), atol=2e-3)
    flat = jnp.full((8, 8, 3), 0.5)
    assert np.ptp(on_device.recolored(flat, jnp.asarray(like)), (0, 1)).max() < 1e-3


def test_more_pictures_than_there_is_room_for_are_refused(folders, monkeypatch):
    asked = settings(*folders)
    needed = 32 * 36**2 * 3
    monkeypatch.setattr(memory, "free_on_device", lambda: 2 * needed - 2)
    with pytest.raises(InputError, match=r"`data.on_device`: expected pictures that take at most 50%"):
        DeviceSampler(asked)
    monkeypatch.setattr(memory, "free_on_device", lambda: 2 * needed)
    DeviceSampler(asked)
