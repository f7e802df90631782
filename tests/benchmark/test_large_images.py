"""The measurement of large pictures, on small ones."""

import os
import time

import pytest

from metastyle.benchmark import large_images, speed


@pytest.mark.processes
@pytest.mark.slow
def test_large_pictures_in_small():
    net, side = "s4,c3s1-8,p4-3", 256
    began = time.perf_counter()
    found = large_images.measure_large_images({net: (side,)})
    assert found.pop(f"{net}, {side} px, tiled: on disk, GiB") == 0
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    for way in ("tiled", "untiled"):
        assert 0 < found.pop(f"{net}, {side} px, {way}: s") < time.perf_counter() - began
        assert 0.1 < found.pop(f"{net}, {side} px, {way}: peak memory, GiB") < machine, (
            "Python with JAX alone takes 0.1"
        )
    assert not found


@pytest.mark.slow
def test_tiles_of_large_pictures_are_timed_in_turns(monkeypatch):
    monkeypatch.setattr(large_images, "run_module", lambda *_: {})
    monkeypatch.setattr(large_images, "_TILES", (16, 32))
    monkeypatch.setattr(large_images, "draw", lambda side: speed.random_tasks(1, 1, side // 16)["query"][0, 0])
    net = "s4,c3s1-8,p4-3"
    *seconds, difference = large_images.measure_large_images({net: (1024, 4096)}).items()
    ways = ["untiled", *(f"tiles of {tile} px" for tile in (16, 32))]
    assert [name for name, value in seconds if value > 0] == [f"{net}, 1024 px, in turns, {way}, s" for way in ways]
    assert difference[0] == f"{net}, 1024 px, largest difference, 255ths" and 0 <= difference[1] < 0.01
