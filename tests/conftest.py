import os
import tempfile

import pytest

_cache = tempfile.TemporaryDirectory(prefix="metastyle-tests-")
os.environ["METASTYLE_CACHE"] = _cache.name  # tests neither use nor fill the user's cache
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Tests, and processes that they start, compile more than they run. What users get by default: test_default.py.
QUICK_COMPILE = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false",
}
AS_USERS_COMPILE = {name: os.environ.get(name) for name in QUICK_COMPILE}
os.environ |= QUICK_COMPILE

import jax  # noqa: E402

from metastyle import paths  # noqa: E402

jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture
def as_users_compile(monkeypatch):
    """Processes that the test starts compile with all optimisations."""
    for name, value in AS_USERS_COMPILE.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)


@pytest.fixture
def sample_data():
    folder = paths.sample_data()
    if folder is None:
        pytest.skip("no sample data: set METASTYLE_SAMPLE_DATA, or put a folder `shared` beside the checkout")
    return folder
