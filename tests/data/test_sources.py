"""Sources give the pictures on disk, in one order, and say in one line what is wrong."""

import io
import logging
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from metastyle.data import sources
from metastyle.data.prepare import prepare
from metastyle.data.procedural.source import ProceduralSource
from metastyle.errors import InputError
from metastyle.system import paths
from tests.support.errors import refused

RNG = np.random.default_rng(0)


def noise(height=20, width=24):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def write(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return picture


def open_source(spec, kind="content", **options):
    return sources.open_source(spec, kind, size=32, **options)


class Fake:
    """Pictures of one value, their index; those in `bad` can't be read."""

    def __init__(self, count, bad=()):
        self.count, self.bad, self.tried = count, frozenset(bad), []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.tried.append(index)
        if index in self.bad:
            raise InputError(f"`data.content`: cannot decode {self.name(index)}")
        return np.full((4, 4, 3), index, np.uint8)

    def name(self, index):
        return f"{index:03d}.jpg"


def test_folder_is_sorted_by_path_at_any_depth(tmp_path):
    pictures = {name: write(tmp_path / name, noise()) for name in ("b/2.png", "a.png", "b/1.PNG", "b/c/9.bmp")}
    write(tmp_path / ".hidden.png", noise())
    write(tmp_path / ".trash" / "x.png", noise())
    (tmp_path / "notes.txt").write_text("not a picture")
    source = open_source(f"folder:{tmp_path}")
    assert [source.name(i) for i in range(len(source))] == ["a.png", "b/1.PNG", "b/2.png", "b/c/9.bmp"]
    for i in range(len(source)):
        assert source[i].dtype == np.uint8
        np.testing.assert_array_equal(source[i], pictures[source.name(i)])


def test_other_files_of_a_folder_are_named_once_with_the_reason(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for name in ("a.jpg", "b.jfif", "c.jpe", "d/e.AVIF"):
        write(tmp_path / "d" / name, noise())
    for name in ("notes.txt", "x.heic", "y.HEIC", ".hidden.txt", *(f"{k}.cr2" for k in range(9))):
        (tmp_path / "d" / name).write_bytes(b"x")
    source = open_source(f"folder:{tmp_path}")
    assert [source.name(i) for i in range(len(source))] == ["d/a.jpg", "d/b.jfif", "d/c.jpe", "d/d/e.AVIF"]
    (message,) = caplog.messages
    assert message.startswith("`data.content`: left out ") and "\n" not in message and "hidden" not in message
    for part in ("'notes.txt' (no ", "'x.heic', 'y.HEIC' (", "pip install", "'4.cr2' and 4 more (raw files"):
        assert part in message
    for file in (tmp_path / "d").glob("*.j*"):
        file.unlink()
    (tmp_path / "d" / "d" / "e.AVIF").unlink()
    with pytest.raises(InputError, match=r"got none; left out .*'x.heic', 'y.HEIC' \(HEIC needs pillow-heif"):
        open_source(f"folder:{tmp_path}")


def test_folder_follows_links_to_folders(tmp_path):
    picture = write(tmp_path / "elsewhere" / "a.png", noise())
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    source = open_source(f"folder:{tmp_path / 'root'}")
    assert [source.name(i) for i in range(len(source))] == ["link/a.png"]
    np.testing.assert_array_equal(source[0], picture)


def test_variables_and_home_are_expanded(tmp_path, monkeypatch):
    write(tmp_path / "set" / "a.png", noise())
    monkeypatch.setenv("PICTURES", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(open_source("folder:$PICTURES/set")) == len(open_source("folder:~/set")) == 1


@pytest.mark.parametrize("variable", ["$METASTYLE_SAMPLE_DATA", "${METASTYLE_SAMPLE_DATA}"])
def test_sample_data_are_found_by_default(tmp_path, monkeypatch, variable):
    write(tmp_path / "beside" / "set" / "a.png", noise())
    write(tmp_path / "chosen" / "set" / "b.png", noise())
    monkeypatch.setattr(paths, "sample_data", lambda: tmp_path / "beside")
    monkeypatch.delenv("METASTYLE_SAMPLE_DATA", raising=False)
    assert open_source(f"folder:{variable}/set").name(0) == "a.png"
    monkeypatch.setenv("METASTYLE_SAMPLE_DATA", str(tmp_path / "chosen"))
    assert open_source(f"folder:{variable}/set").name(0) == "b.png"


def test_without_sample_data_the_error_tells_what_to_do(monkeypatch):
    monkeypatch.setattr(paths, "sample_data", lambda: None)
    monkeypatch.delenv("METASTYLE_SAMPLE_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"^`data.style`: .*set METASTYLE_SAMPLE_DATA .*`procedural`$"):
        open_source("folder:$METASTYLE_SAMPLE_DATA/data/style/train", "style")


@pytest.mark.parametrize(
    "options, named",
    [({}, "data.content"), ({"kind": "style"}, "data.style"), ({"name": "data.val_style"}, "data.val_style")],
)
def test_missing_and_empty_folders_are_named(tmp_path, options, named):
    with pytest.raises(FileNotFoundError, match=f"^`{named}`: no such folder: '{tmp_path}/none'$"):
        open_source(f"folder:{tmp_path}/none", **options)
    with pytest.raises(InputError, match=f"^`{named}`: expected pictures .* in the folder '{tmp_path}', got none$"):
        open_source(f"folder:{tmp_path}", **options)


@pytest.mark.parametrize("spec", ["", "folder", "folder:", "tfds:", "/some/where", "procedural:3", "http://x"])
def test_any_other_spec_is_refused(spec):
    with pytest.raises(InputError, match=r"^`data.content`: expected `folder:PATH`"):
        open_source(spec)


@pytest.mark.parametrize("kind", ["content", "style"])
def test_procedural(kind):
    source = open_source("procedural", kind, seed=3)
    assert source[5].shape == (32, 32, 3)
    np.testing.assert_array_equal(source[5], ProceduralSource(kind, 32, 3)[5])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """12 pictures as a folder and as a dataset of it."""
    root = tmp_path_factory.mktemp("tfds")
    for i in range(12):
        write(root / "folder" / f"{i % 3}" / f"{i:02d}.png", noise(20 + i, 30 - i))
    prepare(root / "folder", root / "data" / "twelve" / "1.0.0", name="twelve", val=0)
    return root


def assert_equal_sources(actual, expected):
    assert len(actual) == len(expected)
    for i in range(len(expected)):
        assert actual.name(i) == expected.name(i)
        np.testing.assert_array_equal(actual[i], expected[i])


def test_tfds_of_a_folder_equals_the_folder(dataset, monkeypatch):
    folder = open_source(f"folder:{dataset}/folder")
    assert_equal_sources(open_source(f"tfds:{dataset}/data/twelve/1.0.0"), folder)
    monkeypatch.setenv("TFDS_DATA_DIR", str(dataset / "data"))
    assert_equal_sources(open_source("tfds:twelve"), folder)
    monkeypatch.chdir(dataset / "data")
    half = open_source("tfds:twelve/1.0.0:train[50%:]")
    assert [half.name(i) for i in range(len(half))] == [folder.name(i) for i in range(6, 12)]


def test_tfds_reads_from_many_threads(dataset):
    source, seen = open_source(f"tfds:{dataset}/data/twelve/1.0.0"), {}
    threads = [threading.Thread(target=lambda i=i: seen.update({i: source[i]})) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folder = open_source(f"folder:{dataset}/folder")
    for i in range(12):
        np.testing.assert_array_equal(seen[i], folder[i])


@pytest.mark.parametrize("spec", ["no_such_dataset", "/no/such/folder", "{dataset}/data/twelve/1.0.0:test", "mnist"])
def test_tfds_that_cannot_be_opened_is_one_line(dataset, monkeypatch, spec):
    monkeypatch.setenv("TFDS_DATA_DIR", str(dataset / "data"))
    with refused(r"^`data.content`: cannot open .*array_record.*prepare_data.*$"):
        open_source("tfds:" + spec.format(dataset=dataset))


def test_tfds_without_pictures_is_refused(tmp_path):
    tfds = sources.import_tfds()
    identity = tfds.core.dataset_info.DatasetIdentity("texts", "1.0.0", str(tmp_path), module_name="")
    features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, 10, file_format="array_record")
    writer.initialize_splits(["train"])
    writer.add_examples({"train": [{"text": "a"}]})
    writer.close_all()
    with pytest.raises(InputError, match=r"^`data.content`: expected .* feature `image`"):
        open_source(f"tfds:{tmp_path}")


def test_a_damaged_record_is_a_picture_that_cannot_be_read(tmp_path):
    for i in range(40):
        write(tmp_path / "folder" / f"{i:02d}.png", noise(64, 64))
    prepare(tmp_path / "folder", tmp_path / "out", val=0)
    (file,) = tmp_path.glob("out/*array_record*")
    data = bytearray(file.read_bytes())
    with io.BytesIO() as buffer:
        Image.fromarray(sources.FolderSource(tmp_path / "folder")[3]).save(buffer, "PNG")
        start = data.index(buffer.getvalue()[60:100])
    data[start : start + 100] = bytes(100)
    file.write_bytes(data)
    source = open_source(f"tfds:{tmp_path}/out")
    with pytest.raises(InputError, match=r"^`data.content`: cannot decode "):
        source[3]
    np.testing.assert_array_equal(sources.Resilient(source, "data.content")[3], source[4])


def test_unreadable_pictures_are_replaced_by_the_next_whatever_the_order():
    bad = {3, 4, 39, 7}
    expected = [0, 1, 2, 5, 5, 5, 6, 8, 8, *range(9, 39), 40, *range(40, 100)]
    for order in (range(100), reversed(range(100)), RNG.permutation(100).tolist()):
        source = sources.Resilient(Fake(100, bad), "data.content")
        seen = {i: int(source[i][0, 0, 0]) for i in order}
        assert [seen[i] for i in range(100)] == expected


def test_replacement_wraps_around_and_avoids_what_is_taken():
    source = sources.Resilient(Fake(40, bad=[39]), "data.content")
    assert source.read(39)[1] == 0
    picture, index = source.read(39, avoid={39, 0, 1, 3})
    assert index == picture[0, 0, 0] == 2
    assert source.read(38, avoid={38})[1] == 38
    with pytest.raises(InputError, match="no picture is left"):
        source.read(39, avoid=range(40))


def test_unreadable_pictures_are_tried_and_named_once(caplog):
    fake = Fake(40, bad=[3])
    source = sources.Resilient(fake, "data.content")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            source[3]
    assert fake.tried.count(3) == 1
    assert [record.getMessage() for record in caplog.records] == ["left out 003.jpg: cannot decode 003.jpg"]
    assert source.unreadable == {3: "cannot decode 003.jpg"}


def test_more_than_five_percent_unreadable_is_an_error():
    source = sources.Resilient(Fake(40, bad=[8, 30, 31]), "data.val_content")
    for i in range(30):
        source[i]
    assert source.read(31)[1] == 32  # two of 40 are just 5 %
    with pytest.raises(InputError, match=r"^`data.val_content`: more than 5% of .*: 3 of 40, first 008.jpg: .*$"):
        source[30]


def test_resilient_is_thread_safe():
    source = sources.Resilient(Fake(200, bad=range(0, 200, 25)), "data.content")
    seen = [[] for _ in range(8)]

    def read(values):
        values.extend(source.read(i)[1] for i in range(200))

    threads = [threading.Thread(target=read, args=(values,)) for values in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(values == [i + (i % 25 == 0) for i in range(200)] for values in seen)
    assert sorted(source.unreadable) == list(range(0, 200, 25))


def test_a_broken_file_in_a_folder_is_replaced(tmp_path, caplog):
    pictures = [write(tmp_path / f"{i:02d}.png", noise()) for i in range(20)]
    (tmp_path / "04.png").write_bytes((tmp_path / "04.png").read_bytes()[:200])
    source = sources.Resilient(open_source(f"folder:{tmp_path}"), "data.content")
    np.testing.assert_array_equal(source[4], pictures[5])
    assert "left out 04.png: cannot decode" in caplog.text
