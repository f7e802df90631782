"""Where the cache, the sample data and the packaged pictures are."""

import pathlib

import pytest

from metastyle.images import codec
from metastyle.system import paths


def test_cache_dir(monkeypatch):
    monkeypatch.setenv("METASTYLE_CACHE", "/a/b")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert paths.cache_dir() == pathlib.Path("/a/b")
    monkeypatch.delenv("METASTYLE_CACHE")
    assert paths.cache_dir() == pathlib.Path("/c/metastyle")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert paths.cache_dir() == pathlib.Path("/home/someone/.cache/metastyle")


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
