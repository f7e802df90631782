"""Whoever continues a run is told when its pictures are not those that it began with."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
from PIL import Image

from metastyle.data.prepare import prepare
from metastyle.errors import Adjusted
from metastyle.train import data_record
from tests.support import toy

FIELDS = ("content", "style")


def draw(folder, *names):
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        noise = np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(noise).save(folder / name)


@pytest.fixture
def run(tmp_path):
    """`run(done)` starts a run of 20 steps whose photographs are in the folder `photos`, after so many of them."""
    draw(tmp_path / "photos", "a.png", "b.png")
    (tmp_path / "run").mkdir()
    settings = toy.settings()

    def start(done, content=f"folder:{tmp_path / 'photos'}"):
        chosen = dataclasses.replace(settings, data=dataclasses.replace(settings.data, content=content))
        data_record.note(tmp_path / "run", chosen.run, lambda: data_record.sources(chosen.data, FIELDS), done)

    return start


def entries(tmp_path):
    return json.loads((tmp_path / "run" / "data.json").read_text())


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "another size"])
def test_changes_are_told_once_and_recorded(run, tmp_path, change):
    with warnings.catch_warnings(action="error"):
        run(0)
        run(4)
    photos = tmp_path / "photos"
    if change == "added":
        draw(photos, "c.png")
    elif change == "removed":
        (photos / "b.png").unlink()
    elif change == "renamed":
        (photos / "b.png").rename(photos / "c.png")
    else:
        (photos / "b.png").write_bytes(b"short")
    now = len(list(photos.iterdir()))
    told = rf"`data.content`: its files have changed since .* \(2 then, {now} now\); from step 8 on, tasks"
    with pytest.warns(Adjusted, match=told):
        run(8)
    with warnings.catch_warnings(action="error"):
        run(12)
    first, second = entries(tmp_path)
    assert (first["steps"], second["steps"]) == (0, 8)
    assert first["lists"].keys() == {"data.content"}, "procedural styles have no files"
    assert (first["lists"]["data.content"]["files"], second["lists"]["data.content"]["files"]) == (2, now)


def test_a_run_from_the_start_and_a_complete_one_tell_nothing(run, tmp_path):
    with warnings.catch_warnings(action="error"):
        run(0)
        draw(tmp_path / "photos", "c.png")
        run(20)
        assert entries(tmp_path)[0]["lists"]["data.content"]["files"] == 2
        run(0)
        assert [entry["lists"]["data.content"]["files"] for entry in entries(tmp_path)] == [3]


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", '[{"steps": 0}]'])
def test_a_run_without_a_record_gets_one(run, tmp_path, content):
    if content is not None:
        (tmp_path / "run" / "data.json").write_text(content)
    with warnings.catch_warnings(action="error"):
        run(4)
    assert [entry["steps"] for entry in entries(tmp_path)] == [4]


def test_a_dataset_has_its_files(run, tmp_path):
    for out in ("one", "two"):
        prepare(tmp_path / "photos", tmp_path / out, val=0)
        draw(tmp_path / "photos", "c.png")
    run(0, f"tfds:{tmp_path / 'one'}")
    (tmp_path / "one").rename(tmp_path / "before")
    (tmp_path / "two").rename(tmp_path / "one")
    with pytest.warns(Adjusted, match="`data.content`: its files have changed"):
        run(4, f"tfds:{tmp_path / 'one'}")
