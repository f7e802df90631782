import os
import tempfile

import jax
import pytest

from metastyle import paths

_cache = tempfile.TemporaryDirectory(prefix="metastyle-tests-")
os.environ["METASTYLE_CACHE"] = _cache.name  # tests neither use nor fill the user's cache
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture
def sample_data():
    folder = paths.sample_data()
    if folder is None:
        pytest.skip("no sample data: set METASTYLE_SAMPLE_DATA, or put a folder `shared` beside the checkout")
    return folder


@pytest.fixture(scope="module")
def quick_compile():
    """For tests that compile much and run little."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
