"""A bundle and a style file on disk; a server of VGG-16 and an empty cache."""

import pytest

from metastyle.system import compile_cache
from metastyle.weights import bundles, style_files
from tests.support.stored import toy_bundle, toy_style
from tests.support.vgg_download import empty_cache, serving, slim_tensors


@pytest.fixture(autouse=True)
def no_compile_cache(monkeypatch):
    monkeypatch.setattr(compile_cache, "enable_compile_cache", lambda: None)


@pytest.fixture
def folder(tmp_path):
    bundles.save_bundle(tmp_path / "bundle", toy_bundle())
    return tmp_path / "bundle"


@pytest.fixture
def style_file(tmp_path):
    bundle = toy_bundle()
    style_files.save_style(tmp_path / "a.safetensors", toy_style(bundle, slow=bundle.meta.slow, config=bundle.config))
    return tmp_path / "a.safetensors"


@pytest.fixture
def tensors():
    return slim_tensors()


@pytest.fixture
def server(tmp_path, tensors):
    with serving(tmp_path, tensors) as server:
        yield server


@pytest.fixture
def cache(tmp_path, monkeypatch):
    return empty_cache(tmp_path, monkeypatch)
