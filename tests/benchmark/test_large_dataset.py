"""The measurement of a large data set, on a small one."""

import pytest

from metastyle.benchmark import large_dataset


@pytest.mark.processes
@pytest.mark.slow
def test_a_large_data_set_in_small():
    found = large_dataset.measure_large_dataset(120)
    assert found["prepare 12: shards"] == found["prepare 120: shards"] == 1
    for form in ("tfds", "folder"):
        assert found[f"{form}, random reads, pictures/s"] > 0 and found[f"{form}, peak memory, MiB"] > 10
