"""How processes find one another, and when one of them counts as lost."""

import time

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from metastyle.errors import InputError, InUse, Stopped
from metastyle.system.signals import StopSignal
from metastyle.train import multihost


@pytest.mark.parametrize(
    ("given", "missing"), [({}, "JAX_NUM_PROCESSES"), ({"JAX_NUM_PROCESSES": "2"}, "JAX_PROCESS_ID")]
)
def test_a_process_that_is_told_half_is_refused(monkeypatch, given, missing):
    for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"JAX_COORDINATOR_ADDRESS": "127.0.0.1:1"} | given).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=f"`{missing}`: expected a number beside JAX_COORDINATOR_ADDRESS"):
        multihost.join()


@pytest.mark.parametrize(("index", "kind"), [(0, InUse), (1, Stopped)])
def test_a_run_that_another_does_is_refused_in_all_its_processes(tmp_path, monkeypatch, index, kind):
    with multihost.only_run(tmp_path / "run"):
        monkeypatch.setattr(jax, "process_index", lambda: index)
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", lambda refused: np.array(True))
        with pytest.raises(kind), multihost.only_run(tmp_path / "run"):
            pass
    assert not list((tmp_path / "run").iterdir())


def test_work_of_ones_own_is_not_taken_for_silence(monkeypatch):
    left = []
    monkeypatch.setattr(multihost, "_leave", lambda line, status: left.append(line))
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with StopSignal() as stop, multihost.Lockstep(stop, 0.4) as lockstep:
        lockstep.should_stop(None)
        with lockstep.busy():
            time.sleep(1)
        assert left == []
        time.sleep(1)
        assert left and set(left) == {"no answer from the other processes for 0.4 s"}
