"""Styles as objects of another program: equality, copies, forks, and settings of JAX that are not ours."""

import copy
import multiprocessing
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import metastyle
from metastyle.stylize import onnx_sessions
from tests.support.errors import refused
from tests.support.places import ROOT

PHOTOGRAPH = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
PAINTING = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)

pytestmark = pytest.mark.usefixtures("no_compile_cache")


@pytest.fixture(scope="module")
def stylizer():
    return metastyle.load()


@pytest.fixture(scope="module")
def file(stylizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("style") / "a.safetensors"
    stylizer.adapt(PAINTING, steps=0).save(path)
    return path


def test_equal_styles_are_equal_and_hash_alike(file, stylizer):
    first, second = metastyle.load_style(file), metastyle.load_style(file)
    other = stylizer.adapt(255 - PAINTING, steps=0)
    assert first == second and hash(first) == hash(second) and first in [second] and {first: 1}[second] == 1
    assert first != other and other not in {first} and first != "a style"
    assert stylizer == metastyle.load() and hash(stylizer) == hash(metastyle.load())


def test_what_notebooks_print_is_one_short_line(file, stylizer):
    style = metastyle.load_style(file)
    for thing in (style, stylizer, style.file, stylizer.bundle):
        assert len(repr(thing)) < 150 and "\n" not in repr(thing)
        assert repr(thing).startswith(f"<{type(thing).__name__} ")


def test_styles_are_copied_and_pickled_before_and_after_every_backend(file):
    pytest.importorskip("onnxruntime")
    style = metastyle.load_style(file)
    for backend in (None, "onnx", "jax"):
        if backend:
            expected = style.stylize(PHOTOGRAPH, backend=backend)
        for twin in (copy.copy(style), copy.deepcopy(style), pickle.loads(pickle.dumps(style))):
            assert twin == style
            if backend:
                np.testing.assert_array_equal(twin.stylize(PHOTOGRAPH, backend=backend), expected)
    again = pickle.loads(pickle.dumps(metastyle.load()))
    assert again == metastyle.load()


def test_same_style_same_bytes(file, stylizer, tmp_path):
    style = metastyle.load_style(file)
    contents = set()
    for i in range(8):
        style.save(tmp_path / f"{i}.safetensors", self_contained=True)
        contents.add((tmp_path / f"{i}.safetensors").read_bytes())
    assert len(contents) == 1
    assert metastyle.load_style(tmp_path / "0.safetensors") == style


SETTINGS = {
    "jax_numpy_rank_promotion": "raise",
    "jax_numpy_dtype_promotion": "strict",
    "jax_transfer_guard": "disallow",
    "jax_debug_nans": True,
    "jax_enable_x64": True,
}


@pytest.mark.slow
@pytest.mark.parametrize("name, value", SETTINGS.items(), ids=SETTINGS)
def test_strict_settings_of_the_host_are_kept_and_break_nothing(name, value):
    """In a new process, since settings are global."""
    code = f"""
        import jax, numpy as np
        jax.config.update("jax_compilation_cache_dir", None)
        jax.config.update({name!r}, {value!r})
        before = dict(jax.config.values)
        import metastyle
        photograph = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
        seen = []
        style = metastyle.load().adapt(photograph[:32, :32], steps=1, on_step=seen.append)
        whole, tiled = style.stylize(photograph, backend="jax"), style.stylize(photograph, tile=16)
        assert np.abs(whole.astype(int) - tiled).max() <= 1
        assert np.isfinite(style.stylize(photograph, refine=1, vgg="random")).all() and len(seen) == 1
        assert dict(jax.config.values) == before
        print("fine")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "fine\n", done.stderr[-2000:]


def run_forked(code, file):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(file)], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    return done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the system has no fork")
def test_a_child_that_is_forked_after_loading_computes(file):
    code = """
        import os, sys, numpy as np, metastyle
        style = metastyle.load_style(sys.argv[1])
        child = os.fork()
        if not child:
            style.stylize(np.zeros((32, 32, 3), np.uint8), backend="jax")
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run_forked(code, file)[0] == "0\n"


@pytest.mark.slow
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the system has no fork")
def test_a_child_that_is_forked_after_computing_is_told_so(file):
    code = """
        import os, sys, numpy as np, metastyle
        style, photograph = metastyle.load_style(sys.argv[1]), np.zeros((32, 32, 3), np.uint8)
        style.stylize(photograph, backend="jax")
        child = os.fork()
        if not child:
            try:
                style.stylize(photograph, backend="jax")
            except ValueError as error:
                print(error, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """
    assert "`fork`: expected a process in which JAX can compute" in run_forked(code, file)[0]


def test_callbacks_that_are_none_are_refused(stylizer):
    with refused("`on_step`: expected a function, got int; pass one, or None"):
        stylizer.adapt(PAINTING, steps=1, on_step=3)


# Sessions of onnxruntime


@pytest.fixture
def sessions(monkeypatch):
    pytest.importorskip("onnxruntime")
    fresh = onnx_sessions._Latest()
    monkeypatch.setattr(onnx_sessions, "_sessions", fresh)
    return fresh._kept


def test_sessions_of_many_strengths_and_styles_are_bounded(file, sessions):
    style = metastyle.load_style(file)
    for strength in np.linspace(0.5, 1, 12):
        style.stylize(PHOTOGRAPH, strength=float(strength), backend="onnx")
        assert sum(size for _, size in sessions.values()) <= onnx_sessions.MOST
    assert 2 <= len(sessions) < 12


def test_equal_styles_share_a_session(file, sessions):
    for _ in range(3):
        metastyle.load_style(file).stylize(PHOTOGRAPH, backend="onnx")
    assert len(sessions) == 1
