"""The checkpoints of a run, evaluated as they come."""

import dataclasses

import pytest

from metastyle import config
from metastyle.errors import InputError
from metastyle.evaluate import follow
from metastyle.meta import outer_loop
from metastyle.train import checkpoint
from tests.support import toy
from tests.support.evaluations import line, protocol


@pytest.mark.slow
def test_checkpoints_are_followed_and_kept(tmp_path):
    settings = dataclasses.replace(toy.settings(inner={"steps": 1}, run={"steps": 4}), vgg="random")
    run, out = tmp_path / "run", tmp_path / "out"
    judged = protocol(methods=("identity",), pairs=1)
    with checkpoint.Checkpoints(run / "checkpoints", keep=1) as saved:
        checkpoint.claim(run, settings)
        with pytest.raises(InputError, match="`checkpoints`: expected checkpoints of a run in .*, got none"):
            follow.follow_run(judged, run / "checkpoints", out)
        for step in (2, 4):
            state = outer_loop.initial_state(settings)
            fast = {k: x + step for k, x in state.meta.fast.items()}
            state = state._replace(meta=dataclasses.replace(state.meta, fast=fast))
            saved.save(step, state, settings)
            saved.wait()
            found = follow.follow_run(judged, run / "checkpoints", out, watch=step == 4)
    names = [m.name for m in found.methods]
    assert names == ["photograph", "step_0000002", "step_0000004"], "the run has deleted step 2, the evaluation has not"
    assert line(found, "step_0000002", 0).J != line(found, "step_0000004", 0).J
    told = {m.name: (m.note.split(" (")[0], m.pictures_seen) for m in found.methods}
    assert told["step_0000002"] == ("2 meta-training steps", 2 * 8 * 2)  # 8 tasks of 2 photographs
    assert told["step_0000004"] == ("4 meta-training steps", 4 * 8 * 2)
    with pytest.raises(FileNotFoundError, match="`checkpoints`: expected the folder `checkpoints` of a run"):
        follow.follow_run(judged, tmp_path / "nobody", out)
    with pytest.raises(InputError, match="`bundle`: expected bundles or --checkpoints, got both"):
        both = dataclasses.replace(judged, bundles={"ours": config.Deployment("default")})
        follow.follow_run(both, run / "checkpoints", out)
