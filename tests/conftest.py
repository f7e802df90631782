import os
import tempfile
from importlib.metadata import version

import pytest

_cache = tempfile.TemporaryDirectory(prefix="metastyle-tests-")
os.environ["METASTYLE_CACHE"] = _cache.name  # Tests neither use nor fill the user's cache.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Tests, and processes that they start, compile more than they run, so the compiler saves its optimisations.
# test_default.py tests a command with the optimisations that users get (the fixture `as_users_compile`).
_for_users = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0", "XLA_FLAGS": os.environ.get("XLA_FLAGS", "")}
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):  # Later versions don't know the flag and abort.
    os.environ["XLA_FLAGS"] = f"{_for_users['XLA_FLAGS']} --xla_cpu_use_fusion_emitters=false"

import jax  # noqa: E402

from metastyle.system import compile_cache, paths  # noqa: E402
from tests.support import heard_signals  # noqa: E402

heard_signals.hear()

jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture
def as_users_compile(monkeypatch):
    """Lets processes that the test starts compile with all optimisations."""
    for name, value in _for_users.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def sample_data():
    """Returns the folder of the sample data; skips the test where it is missing."""
    folder = paths.sample_data()
    if folder is None:
        pytest.skip("no sample data: set METASTYLE_SAMPLE_DATA, or put a folder `shared` beside the checkout")
    return folder


@pytest.fixture
def no_compile_cache(monkeypatch):
    """The compile cache stays off; returns what each call that would turn it on adds to."""
    calls = []
    monkeypatch.setattr(compile_cache, "enable_compile_cache", lambda: calls.append(True))
    return calls


@pytest.fixture
def tensors():
    """Those of a slim VGG-16."""
    from tests.support.vgg_download import slim_tensors

    return slim_tensors()


@pytest.fixture
def server(tmp_path, tensors):
    """A server on this machine that has these tensors; see `serving`."""
    from tests.support.vgg_download import serving

    with serving(tmp_path, tensors) as server:
        yield server


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The user's cache, empty, and no other weights."""
    from tests.support.vgg_download import empty_cache

    return empty_cache(tmp_path, monkeypatch)
