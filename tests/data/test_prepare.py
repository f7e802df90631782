"""A folder becomes a dataset with the same bytes, or nothing is written."""

import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from metastyle.data.prepare import prepare
from metastyle.data.sources import FolderSource, TfdsSource
from metastyle.errors import InputError
from tests.support.command import run_main


def noise(seed, height=20, width=30, channels=3):
    shape = (height, width, channels)[: 3 if channels > 1 else 2]
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures in RGB, PNG and JPEG in turns."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for i in range(12):
        Image.fromarray(noise(i)).save(folder / f"{i:02d}.{('png', 'jpg')[i % 2]}")
    return folder


def stored(out, split="train"):
    """Bytes by name, as they lie in the dataset."""
    source = TfdsSource(str(out), split)
    return {source.name(i): source._records[i]["image"] for i in range(len(source))}


def test_files_are_stored_byte_for_byte(folder, tmp_path):
    assert prepare(folder, tmp_path / "new" / "out", val=0) == {"train": 12, "val": 0, "encoded": 0, "unreadable": 0}
    assert stored(tmp_path / "new" / "out") == {file.name: file.read_bytes() for file in folder.iterdir()}
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["out"]


def test_more_pictures_than_are_written_at_once(tmp_path):
    (tmp_path / "folder").mkdir()
    for i in range(150):
        Image.fromarray(noise(i, 4, 4)).save(tmp_path / "folder" / f"{i:03d}.png")
    prepare(tmp_path / "folder", tmp_path / "out", val=0)
    source, dataset = FolderSource(tmp_path / "folder"), TfdsSource(str(tmp_path / "out"))
    assert [dataset.name(i) for i in range(len(dataset))] == [source.name(i) for i in range(150)]
    np.testing.assert_array_equal(dataset[149], source[149])


def test_other_pictures_are_encoded_anew_as_they_are_seen(folder, tmp_path):
    for file in folder.iterdir():
        file.unlink()
    smooth = np.repeat(np.linspace(0, 255, 40).astype(np.uint8)[None, :, None], 30, 0)
    Image.fromarray(np.repeat(smooth, 3, -1)).save(folder / "a.bmp")
    Image.fromarray(smooth[..., 0]).save(folder / "grey.jpg", quality=95)
    Image.fromarray(np.dstack([np.repeat(smooth, 3, -1), smooth])).save(folder / "transparent.png")
    rotated = Image.Exif()
    rotated[0x0112] = 6
    Image.fromarray(np.repeat(smooth, 3, -1)).save(folder / "turned.jpg", quality=95, exif=rotated)
    assert prepare(folder, tmp_path / "out", val=0)["encoded"] == 3
    source, dataset = FolderSource(folder), TfdsSource(str(tmp_path / "out"))
    for i in range(4):
        assert dataset[i].shape == source[i].shape
        np.testing.assert_allclose(dataset[i].astype(int), source[i], atol=4)
    assert dataset[3].shape == (40, 30, 3)
    assert stored(tmp_path / "out")["turned.jpg"] == (folder / "turned.jpg").read_bytes()


def test_long_pictures_are_scaled_down(folder, tmp_path):
    Image.fromarray(noise(20, 60, 45)).save(folder / "long.png")
    assert prepare(folder, tmp_path / "out", val=0, max_side=30)["encoded"] == 1
    dataset = TfdsSource(str(tmp_path / "out"))
    assert [dataset[i].shape for i in range(13)] == [(20, 30, 3)] * 12 + [(30, 22, 3)]


def test_the_split_goes_by_the_bytes_of_each_file(tmp_path):
    folder, more = tmp_path / "folder", tmp_path / "more"
    for i in range(60):
        for root, name in ((folder, f"{i}.png"), (more, f"renamed/{i + 100}.png")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise(i, 6, 6)).save(root / name)
    for i in range(60, 90):
        Image.fromarray(noise(i, 6, 6)).save(more / f"{i}.png")
    counts = [prepare(root, tmp_path / f"out_{root.name}", val=0.3) for root in (folder, more)]
    assert counts[0]["train"] + counts[0]["val"] == 60
    assert 8 < counts[0]["val"] < 30
    splits = [
        {split: set(stored(tmp_path / f"out_{root}", split).values()) for split in ("train", "val")}
        for root in ("folder", "more")
    ]
    assert splits[0]["val"].isdisjoint(splits[0]["train"])
    assert all(splits[0][split] < splits[1][split] for split in ("train", "val"))


def test_unreadable_files_are_named_and_counted(folder, tmp_path, caplog):
    (folder / "03.jpg").write_bytes(b"not a picture")
    (folder / "04.png").write_bytes((folder / "04.png").read_bytes()[:300])
    with caplog.at_level(logging.WARNING):
        counts = prepare(folder, tmp_path / "out", val=0)
    assert counts == {"train": 10, "val": 0, "encoded": 0, "unreadable": 2}
    assert [name in message for name, message in zip(("03.jpg", "04.png"), caplog.messages, strict=True)] == [True] * 2
    assert len(stored(tmp_path / "out")) == 10


def test_an_existing_output_is_kept_unless_overwritten(folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    prepare(folder, out, val=0)  # an empty folder is as good as none
    (folder / "00.png").unlink()
    with pytest.raises(InputError, match=r"^`out`: there is a dataset at .*--overwrite"):
        prepare(folder, out, val=0)
    assert len(stored(out)) == 12
    prepare(folder, out, val=0, overwrite=True)
    assert len(stored(out)) == 11
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "out"]


def test_only_a_dataset_is_ever_overwritten(folder, tmp_path):
    prepare(folder, tmp_path / "out", val=0)
    shutil.copytree(folder, tmp_path / "out" / "pictures")
    (tmp_path / "file").write_text("kept")
    inside = tmp_path / "out" / "pictures"
    for source, out in ((folder, folder), (folder, tmp_path / "file"), (inside, tmp_path / "out")):
        with pytest.raises(InputError, match="^`out`: expected a new or empty folder or a dataset"):
            prepare(source, out, overwrite=True)
    assert len(list(folder.iterdir())) == len(list(inside.iterdir())) == 12


def test_a_failure_leaves_nothing_behind(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    prepare(folder, out, val=0)
    for file in folder.iterdir():
        file.write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"^`folder`: .* got none of 12 .*12 unreadable"):
        prepare(folder, out, overwrite=True)

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("metastyle.data.prepare._encode", fail)
    with pytest.raises(KeyboardInterrupt):
        prepare(folder, out, overwrite=True)
    assert len(stored(out)) == 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "out"]


@pytest.mark.parametrize("name, value", [("name", "My Set"), ("val", 1.0), ("max_side", -1)])
def test_bad_arguments_are_named(folder, tmp_path, name, value):
    with pytest.raises(InputError, match=f"^`{name}`: expected "):
        prepare(folder, tmp_path / "out", **{name: value})
    with pytest.raises(FileNotFoundError, match="^`folder`: no such folder"):
        prepare(tmp_path / "none", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.processes
def test_the_command_prints_the_line_to_use(folder, tmp_path):
    flags = f"--out={tmp_path}/out", f"--folder={folder}"
    done = run_main("prepare_data", *flags, "--val=0.5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [
        f"--config.data.content=tfds:{tmp_path}/out",
        f"--config.data.val_content=tfds:{tmp_path}/out:val",
    ]
    again = run_main("prepare_data", *flags)
    assert again.returncode == 1
    assert again.stderr.startswith("error: `out`: there is a dataset at ")
