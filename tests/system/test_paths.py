"""Where the cache, the sample data and the packaged pictures are."""

import os
import pathlib

import pytest

from metastyle.errors import Adjusted, InputError
from metastyle.images import codec
from metastyle.system import paths
from metastyle.weights import fetch, vgg_files


def test_cache_dir(monkeypatch):
    monkeypatch.setenv("METASTYLE_CACHE", "/a/b")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert paths.cache_dir() == pathlib.Path("/a/b")
    monkeypatch.delenv("METASTYLE_CACHE")
    assert paths.cache_dir() == pathlib.Path("/c/metastyle")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert paths.cache_dir() == pathlib.Path("/home/someone/.cache/metastyle")


@pytest.fixture
def homeless(monkeypatch):
    """No HOME, and a user without an entry in passwd."""

    def missing(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("METASTYLE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", missing)


@pytest.mark.parametrize("cache", ["", "~/cache"])
def test_without_a_home_there_is_no_cache_and_that_is_told(homeless, monkeypatch, cache):
    monkeypatch.setenv("METASTYLE_CACHE", cache)
    assert paths.cache_dir() is None
    with pytest.warns(Adjusted, match="there is no home folder, so nothing is cached .* METASTYLE_CACHE can name"):
        assert paths.cache_folder("xla") is None
    with pytest.raises(InputError, match="`fetch`: there is no home folder for a cache; set METASTYLE_CACHE"):
        fetch.fetch()
    assert vgg_files.at_hand() in ("vgg16", "half")
    monkeypatch.setenv("METASTYLE_SAMPLE_DATA", "~/shared")
    assert paths.sample_data() is None


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("METASTYLE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(Adjusted, match=f"cannot write in {tmp_path}/file/cache, so nothing is cached"):
        assert paths.cache_folder("xla") is None
    monkeypatch.setenv("METASTYLE_CACHE", str(tmp_path / "cache"))
    assert paths.cache_folder("xla") == tmp_path / "cache" / "xla"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.warns(Adjusted, match=f"cannot write in {tmp_path}/cache, so nothing is cached"):
        assert paths.cache_folder("xla") is None


def test_sample_data(tmp_path, monkeypatch):
    monkeypatch.setenv("METASTYLE_SAMPLE_DATA", str(tmp_path))
    assert paths.sample_data() == tmp_path
    monkeypatch.setenv("METASTYLE_SAMPLE_DATA", str(tmp_path / "none"))
    assert paths.sample_data() is None

    monkeypatch.delenv("METASTYLE_SAMPLE_DATA")
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "checkout" / "metastyle" / "system" / "paths.py"))
    assert paths.sample_data() is None
    (tmp_path / "shared").mkdir()
    assert paths.sample_data() == tmp_path / "shared"


def test_demo_pictures_are_packaged_and_attributed():
    attribution = (paths.ASSETS / "demo" / "README.md").read_text()
    for kind, count in (("photos", 4), ("styles", 6)):
        pictures = paths.demo_pictures(kind)
        assert len(pictures) == count and pictures == sorted(pictures)
        for picture in pictures:
            rgb, alpha = codec.load(picture)
            assert min(rgb.shape[:2]) >= 256 and alpha is None
            assert f"{kind}/{picture.name}" in attribution
    with pytest.raises(ValueError, match="`kind`"):
        paths.demo_pictures("videos")
