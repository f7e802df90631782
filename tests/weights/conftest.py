"""A bundle and a style file on disk."""

import pytest

from metastyle.weights import bundles, style_files
from tests.support.stored import toy_bundle, toy_style


@pytest.fixture(autouse=True)
def without_compile_cache(no_compile_cache): ...


@pytest.fixture
def folder(tmp_path):
    bundles.save_bundle(tmp_path / "bundle", toy_bundle())
    return tmp_path / "bundle"


@pytest.fixture
def style_file(tmp_path):
    bundle = toy_bundle()
    style_files.save_style(tmp_path / "a.safetensors", toy_style(bundle, slow=bundle.meta.slow, config=bundle.config))
    return tmp_path / "a.safetensors"
