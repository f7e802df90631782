"""Free memory as the system reports it, and arrays that are in memory or in files."""

import os
import tempfile
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from metastyle.system import memory

GIB = 2**30
V1 = {"memory.limit_in_bytes": GIB, "memory.usage_in_bytes": GIB // 2}
V2 = {"memory.max": GIB, "memory.current": GIB // 2}


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Writes a system's files: `available` KiB, what /proc/self/cgroup says, and the files of groups by folder."""
    monkeypatch.setattr(memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "cgroup")

    def write(available=8 * GIB // 1024, groups="", **folders):
        (tmp_path / "proc/self").mkdir(parents=True)
        if available:
            (tmp_path / "proc/meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:   {available} kB\n")
        (tmp_path / "proc/self/cgroup").write_text(groups)
        for folder, files in folders.items():
            inner = tmp_path / "cgroup" / folder
            inner.mkdir(parents=True, exist_ok=True)
            for name, value in files.items():
                (inner / name).write_text(f"{value}\n")

    return write


def test_free_is_what_is_available(system):
    system()
    assert memory.free() == 8 * GIB


GROUPS = [
    ("0::/jobs/one\n", "jobs/one", V2 | {"memory.stat": "inactive_file 1000\nactive_file 7"}),
    ("0::/jobs/one\n", "jobs", V2 | {"memory.stat": "inactive_file 1000"}),
    ("0::/\n", ".", V2 | {"memory.stat": "anon 3\ninactive_file 1000"}),
    ("0::/not/seen/in/here\n", ".", V2 | {"memory.stat": "inactive_file 1000"}),
    ("9:cpu:/\n4:memory:/a:b\n0::/\n", "memory/a:b", V1 | {"memory.stat": "inactive_file 5\ntotal_inactive_file 1000"}),
    ("4:memory:/docker/1\n", "memory", V1 | {"memory.stat": "total_inactive_file 1000"}),
]


@pytest.mark.parametrize("groups, folder, files", GROUPS)
def test_a_group_leaves_less(system, groups, folder, files):
    system(groups=groups, **{folder: files})
    assert memory.free() == GIB // 2 + 1000


@pytest.mark.parametrize("files", [{"memory.max": "max"}, {"memory.max": 16 * GIB}, {"memory.current": GIB}, {}])
def test_a_group_without_a_limit_or_with_a_high_one_leaves_all(system, files):
    system(groups="0::/\n", **{".": {"memory.current": GIB, "memory.stat": ""} | files})
    assert memory.free() == 8 * GIB


def test_of_several_groups_the_tightest_counts_and_none_leaves_less_than_nothing(system):
    tight = {"memory.max": GIB, "memory.current": 2 * GIB, "memory.stat": "inactive_file 0"}
    system(groups="0::/a/b\n", **{"a/b": V2 | {"memory.stat": "inactive_file 0"}, "a": tight})
    assert memory.free() == 0


def test_where_nothing_is_told_half_of_the_machine_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_PROC", tmp_path)
    assert memory.free() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def test_this_machine_has_some():
    assert 2**20 < memory.free() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "stats, expected", [(None, None), ({"bytes_in_use": 3}, None), ({"bytes_in_use": 3, "bytes_limit": 10}, 7)]
)
def test_free_on_a_device(stats, expected, monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: [SimpleNamespace(memory_stats=lambda: stats)])
    assert memory.free_on_device() == expected


def test_arrays_are_counted_until_nothing_refers_to_them():
    arrays = memory.Arrays(budget=1000)
    a, b = arrays.new((10, 10)), arrays.new((10, 15))
    c = arrays.new((1,), np.uint8)  # for which there is no room left
    assert arrays.most == {"memory": 1000, "disk": 1}
    a[...], b[...], c[...] = 1, 2, 3
    arrays.ease()
    assert (a == 1).all() and (b == 2).all() and (c == 3).all()
    del a, b, c
    d = arrays.new((250,))
    assert d.size == 250 and arrays.most == {"memory": 1000, "disk": 1}


def test_a_view_holds_on_to_its_room():
    for budget in (1000, 0):  # in memory, in a file
        arrays = memory.Arrays(budget=budget)
        a = arrays.new((4, 4))
        a[...] = 1
        view = a[1:]
        del a
        arrays.new((4, 4))[...] = 7
        assert (view == 1).all()


def test_imagined_arrays_have_the_shape_and_take_nothing():
    arrays = memory.Arrays(imagined=True)
    huge = arrays.new((2**20, 2**20, 2**10))
    assert huge.shape == (2**20, 2**20, 2**10) and huge.dtype == np.float32
    assert arrays.most == {"memory": 2**52, "disk": 0}


def test_files_lose_nothing_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    arrays, rng = memory.Arrays(budget=0), np.random.default_rng(0)
    for _ in range(3):  # the second and third may get the room of the one before
        array, values = arrays.new((300, 700)), rng.normal(size=(300, 700)).astype(np.float32)
        array[...] = values
        arrays.ease()
        np.testing.assert_array_equal(array, values)
    assert arrays.most["memory"] == 0 and list(tmp_path.iterdir()) == []


def test_large_files_are_not_kept_where_memory_is(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    monkeypatch.setattr(os, "access", lambda path, mode: path == "/var/tmp")
    assert memory.folder() == "/var/tmp"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert memory.folder() == "/tmp"
    monkeypatch.setattr(tempfile, "tempdir", "/somewhere")
    assert memory.folder() == "/somewhere"


def test_the_peak_stays_when_the_memory_is_given_back():
    held = np.ones(64 * 2**20, np.uint8)
    assert memory.peak() >= held.nbytes
    before = memory.peak()
    del held
    assert memory.peak() >= before
