"""Where outputs may go, files written whole or not at all, and the files that names stand for."""

import os

import pytest

from metastyle.errors import InputError
from metastyle.images import codec
from metastyle.system import files
from metastyle.system.files import expand
from tests.support.pictures import noise, one_line

# Where outputs may go.


def test_check_output_accepts_new_and_existing_files_and_creates_none(tmp_path, monkeypatch):
    (tmp_path / "old.jpg").write_bytes(b"x")
    for name in ("new.png", "old.jpg", "UPPER.PNG"):
        files.check_output(tmp_path / name, suffixes=codec.IMAGE_SUFFIXES)
    files.check_output(str(tmp_path / "style.safetensors"), suffixes={".safetensors"})
    monkeypatch.chdir(tmp_path)
    files.check_output("relative.png", suffixes=codec.IMAGE_SUFFIXES)
    assert [p.name for p in tmp_path.iterdir()] == ["old.jpg"]


def test_check_output_refuses(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    cases = [
        (tmp_path / "none" / "a.png", {}, FileNotFoundError, "no such folder"),
        (tmp_path / "file" / "a.png", {}, FileNotFoundError, "no such folder"),
        (tmp_path / "folder.png", {}, InputError, "got the folder"),
        (tmp_path / "a.txt", {}, InputError, ".png"),
        (tmp_path / "a", {}, InputError, ".png"),
        (tmp_path / "a.png", {"suffixes": {".safetensors"}}, InputError, ".safetensors"),
        (tmp_path / ("x" * 300 + ".png"), {}, InputError, "too long"),
    ]
    for path, options, error, reason in cases:
        with pytest.raises(error) as info:
            files.check_output(path, **{"suffixes": codec.IMAGE_SUFFIXES} | options, name="style_out")
        one_line(info, "`style_out`", str(path), reason)
    with pytest.raises(FileNotFoundError):
        codec.save(tmp_path / "none" / "a.png", noise(4, 4, 3))


def test_check_output_refuses_a_read_only_folder(tmp_path, monkeypatch):
    # Root may write anywhere, so permissions alone would prove nothing here.
    monkeypatch.setattr(files.os, "access", lambda path, mode: not (mode & os.W_OK and path == str(tmp_path)))
    with pytest.raises(InputError) as info:
        files.check_output(tmp_path / "a.png", suffixes=codec.IMAGE_SUFFIXES)
    one_line(info, "`output`", str(tmp_path), "cannot write")


def test_atomic_replaces_on_success(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"before")
    with files.atomic(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".safetensors" and temporary != path
        temporary.write_bytes(b"after")
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_atomic_leaves_nothing_on_failure(tmp_path, error):
    path = tmp_path / "a.json"
    path.write_bytes(b"before")
    with pytest.raises(error), files.atomic(path) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(error), files.atomic(tmp_path / "b.json"):
        raise error
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_uses_a_fresh_name_each_time(tmp_path):
    with files.atomic(tmp_path / "a.txt") as first, files.atomic(tmp_path / "a.txt") as second:
        assert first != second
        first.write_text("outer")
        second.write_text("inner")
    assert (tmp_path / "a.txt").read_text() == "outer"


def test_atomic_follows_a_symbolic_link(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "real" / "target")
    with files.atomic(link) as temporary:
        assert temporary.suffix == ".txt" and temporary.parent == tmp_path / "real"
        temporary.write_text("x")
    assert link.is_symlink() and (tmp_path / "real" / "target").read_text() == "x"
    assert len(list((tmp_path / "real").iterdir())) == 1


# The files that names stand for.


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.jpg", "a.PNG", "c.txt", ".hidden.png", "deep/d.png", "deep/er/e.jpg", "empty/readme.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "spec, files",
    [
        ("b.jpg", ["b.jpg"]),
        ("c.txt", ["c.txt"]),  # what one names oneself is for `load` to judge
        (".", ["./a.PNG", "./b.jpg"]),
        ("deep/", ["deep/d.png"]),
        ("*", ["a.PNG", "b.jpg"]),
        ("*.jpg", ["b.jpg"]),
        ("**", ["a.PNG", "b.jpg", "deep/d.png", "deep/er/e.jpg"]),
        ("deep/**/*.jpg", ["deep/er/e.jpg"]),
        ("[ab].*", ["a.PNG", "b.jpg"]),
        (["b.jpg", "."], ["b.jpg", "./a.PNG"]),
        (["deep", "b.jpg", "deep/d.png", "./b.jpg", "a.*"], ["deep/d.png", "b.jpg", "a.PNG"]),
        ("-", ["-"]),
        (["-", "b.jpg", "-"], ["-", "b.jpg"]),
        ([], []),
    ],
)
def test_expand(folder, spec, files):
    assert expand(spec, codec.IMAGE_SUFFIXES, "content") == files


def test_expand_takes_paths(folder):
    assert expand(folder / "b.jpg", {".jpg"}, "content") == [str(folder / "b.jpg")]
    assert expand([folder], {".jpg"}, "content") == [str(folder / "b.jpg")]


def test_a_name_that_exists_is_no_pattern(folder):
    for name in ("a[1].jpg", "a*.jpg", "what?.jpg", "in [2020]/x.jpg", "in 2/y.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    for name in ("a[1].jpg", "a*.jpg", "what?.jpg"):
        assert expand(name, {".jpg"}, "content") == [name]
    assert expand("in [2020]", {".jpg"}, "content") == ["in [2020]/x.jpg"]
    assert expand("in [2020]/*.jpg", {".jpg"}, "content") == ["in [2020]/x.jpg"]
    assert expand("in [23]/*.jpg", {".jpg"}, "content") == ["in 2/y.jpg"]
    assert expand(f"{folder}/in [2020]/*", {".jpg"}, "content") == [f"{folder}/in [2020]/x.jpg"]


def test_expand_refuses(folder):
    for spec, reason in [
        ("*.webp", "'*.webp' matches no file that ends in .jpg .png"),
        ("none/**", "matches no file"),
        ("a[", "matches no file"),
        ("empty", "the folder 'empty' has no file that ends in .jpg .png"),
        ("a\0b", "null"),
    ]:
        with pytest.raises(InputError) as info:
            expand(["b.jpg", spec], {".png", ".jpg"}, "content")
        one_line(info, "`content`", reason)
    with pytest.raises(FileNotFoundError) as info:
        expand(["b.jpg", "none.jpg"], {".jpg"}, "photos")
    one_line(info, "`photos`", "no such file", "'none.jpg'")


def test_expand_leaves_out_what_is_no_file(folder):
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    (folder / "dangling.jpg").symlink_to("nowhere")
    assert expand("*.jpg", {".jpg"}, "content") == expand("b.jpg", {".jpg"}, "content")
