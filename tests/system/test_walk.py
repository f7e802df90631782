"""Links are followed, and each real file is found once."""

import os
import warnings

import pytest

from metastyle.data.sources import FolderSource
from metastyle.errors import Adjusted
from metastyle.system.files import expand
from metastyle.system.walk import walk

ANY = lambda name: name.endswith(".jpg")


@pytest.fixture
def tree(tmp_path):
    """The folder `photos` with a.jpg, b.jpg and in/c.jpg; beside it `other` with d.jpg."""
    for name in ("photos/a.jpg", "photos/b.jpg", "photos/in/c.jpg", "other/d.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path / "photos"


THREE = ["a.jpg", "b.jpg", "in/c.jpg"]
BACK = {
    "to itself": {"again": "."},
    "up and down again": {"up": "../photos"},
    "two that never end": {"again": ".", "up": "../photos"},
    "a folder inside, by two names": {"an": "in", "zn": "in"},
    "in each other": {"in/x": "../in/y", "in/y": "../in"},
    "a file, twice": {"0.jpg": "a.jpg", "in/z.jpg": "../a.jpg"},
}


@pytest.mark.parametrize("links", BACK.values(), ids=BACK)
def test_what_is_there_already_is_left_out_and_told_once(tree, links):
    for link, target in links.items():
        (tree / link).symlink_to(target)
    with pytest.warns(Adjusted) as told:
        assert walk(tree, ANY, "folder") == THREE
    first = min(str(tree / link) for link in links)
    message = f"`folder`: links to what is there already are left out: {len(links)}, such as {first}"
    assert [str(warning.message) for warning in told] == [message]


def test_links_to_elsewhere_are_followed(tree):
    (tree / "more").symlink_to("../other")
    (tree / "alone.jpg").symlink_to("../other/.hidden")
    (tree.parent / "other/.hidden").write_bytes(b"")
    with warnings.catch_warnings(action="error"):
        assert walk(tree, ANY, "folder") == ["a.jpg", "alone.jpg", "b.jpg", "in/c.jpg", "more/d.jpg"]


def test_a_link_to_the_folder_above_brings_what_is_beside(tree):
    (tree / "up").symlink_to("..")
    assert walk(tree, ANY, "folder") == [*THREE, "up/other/d.jpg"]


def test_the_root_may_be_a_link(tree):
    (tree.parent / "link").symlink_to(tree)
    assert walk(tree.parent / "link", ANY, "folder") == THREE


def test_links_to_nothing_are_left_to_the_reader(tree):
    (tree / "gone.jpg").symlink_to("nowhere.jpg")
    (tree / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(tree / "pipe.jpg")
    assert walk(tree, ANY, "folder") == ["a.jpg", "b.jpg", "gone.jpg", "in/c.jpg", "loop.jpg"]


def test_a_folder_that_cannot_be_listed_is_named(tree, monkeypatch):
    scandir = os.scandir

    def forbidden(path):
        if str(path).endswith("/in"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.warns(Adjusted, match=rf"`folder`: left out the folder {tree}/in \(Permission denied\)"):
        assert walk(tree, ANY, "folder") == ["a.jpg", "b.jpg"]


def test_every_walk_is_this_one(tree):
    for link, target in BACK["two that never end"].items():
        (tree / link).symlink_to(target)
    found = [str(tree / name) for name in THREE]
    with pytest.warns(Adjusted, match="left out: 2"):
        assert [str(tree / name) for name in FolderSource(tree)._names] == found
    for pattern in ("**", "**/*.jpg", "**/**"):
        with pytest.warns(Adjusted, match="left out: 2"):
            assert expand(f"{tree}/{pattern}", {".jpg"}, "content") == found
    (tree / "z.jpg").symlink_to("a.jpg")
    for names in (str(tree), f"{tree}/*"):
        with pytest.warns(Adjusted, match="left out: 1"):
            assert expand(names, {".jpg"}, "content") == found[:2]
    assert len(expand([f"{tree}/a.jpg", f"{tree}/z.jpg"], {".jpg"}, "content")) == 2, "names stand for themselves"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("**/c.jpg", ["in/c.jpg"]),
        ("**/in/*", ["in/c.jpg"]),
        ("in/**", ["in/c.jpg"]),
        ("[i]n/**/*.jpg", ["in/c.jpg"]),
        ("**/[ab].jpg", ["a.jpg", "b.jpg"]),
        ("*/**/*.jpg", ["in/c.jpg"]),
    ],
)
def test_patterns_of_any_depth(tree, pattern, found, monkeypatch):
    assert expand(f"{tree}/{pattern}", {".jpg"}, "content") == [str(tree / name) for name in found]
    monkeypatch.chdir(tree)
    assert expand(pattern, {".jpg"}, "content") == found
