"""How processes find one another, and when one of them counts as lost."""

import time

import jax
import pytest

from metastyle.errors import InputError
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
