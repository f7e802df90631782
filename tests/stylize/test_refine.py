"""The refinement of a stylised photograph: what it lowers, from coarse to fine, and how it is stopped and continued."""

import os
import signal

import numpy as np
import pytest

from metastyle.config import Loss
from metastyle.errors import InputError, Stopped
from metastyle.images.resize import resize
from metastyle.losses import whole_picture
from metastyle.nets import vgg
from metastyle.nets.extent import Extent
from metastyle.stylize import refine
from metastyle.stylize.refine import Refinement, Watch
from tests.support.errors import refused

PARAMS = vgg.random_params()


def picture(seed, height=40, width=48):
    """A soft picture with some noise, f32[H, W, 3]."""
    rng = np.random.default_rng(seed)
    soft = resize(rng.uniform(size=(4, 4, 3)), (height, width))
    return np.float32(np.clip(soft + 0.05 * rng.normal(size=soft.shape), 0, 1))


PHOTOGRAPH, START, PAINTING = picture(0), picture(1), picture(2, 60, 44)


def refined(plan, watch=None, start=START, photograph=PHOTOGRAPH, paintings=((PAINTING, 1.0),)):
    return refine.refine(start, photograph, paintings, PARAMS, plan, watch or Watch())


def j3(result, photograph, painting):
    """C + 5 S at the octaves that the refinement matches, towards the painting at the photograph's size."""
    plan, count = Refinement(0), refine.octaves(*photograph.shape[:2])
    goal = refine._goal(PARAMS, photograph, [(painting, 1.0)], plan)
    assert len(goal) == count
    place = Extent.of(*photograph.shape[:2])
    return float(whole_picture.objective(PARAMS, photograph, goal, Loss())(place.pad(result))[0])


def test_the_loss_falls_from_the_start_and_pixels_stay_in_bounds():
    steps = []
    result = refined(Refinement(6), Watch(steps.append))
    assert result.shape == START.shape and result.dtype == np.float32
    assert 0 <= result.min() and result.max() <= 1
    assert [s[:2] for s in steps] == [(k, 6) for k in range(7)] and steps[-1].share == 1
    np.testing.assert_allclose(steps[0].loss, j3(START, PHOTOGRAPH, PAINTING), rtol=1e-5)
    np.testing.assert_allclose(steps[-1].loss, j3(result, PHOTOGRAPH, PAINTING), rtol=1e-5)
    assert steps[-1].loss < 0.8 * steps[0].loss


def test_without_iterations_the_start_stays():
    np.testing.assert_allclose(refined(Refinement(0)), START, atol=1e-6)


def test_a_large_picture_is_refined_at_half_its_size_first(monkeypatch):
    assert refine.levels(128, 900) == [(128, 900)]
    assert refine.levels(301, 402) == [(75, 100), (150, 201), (301, 402)]
    monkeypatch.setattr(refine, "_COARSEST", 24)
    steps = []
    result = refined(Refinement(3), Watch(steps.append))
    assert [s.done for s in steps] == [0, 1, 2, 3, 3, 4, 5, 6] and steps[-1].of == 6
    assert j3(result, PHOTOGRAPH, PAINTING) < j3(refine_once(3), PHOTOGRAPH, PAINTING)


def refine_once(iterations):
    """At full size only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refine, "_COARSEST", 128)
        return refined(Refinement(iterations))


def test_strength_moves_the_goal_from_the_photograph_to_the_painting():
    still = refined(Refinement(4, strength=0.0), start=PHOTOGRAPH)
    np.testing.assert_allclose(still, PHOTOGRAPH, atol=2e-3)
    ends = {s: refined(Refinement(8, strength=s), start=PHOTOGRAPH) for s in (0.3, 1.0)}
    assert np.abs(ends[0.3] - PHOTOGRAPH).mean() < 0.8 * np.abs(ends[1.0] - PHOTOGRAPH).mean()


def test_two_paintings_are_one_goal():
    other = picture(5, 50, 50)
    goals = [refine._goal(PARAMS, PHOTOGRAPH, [(x, 1.0)], Refinement(1)) for x in (PAINTING, other)]
    mixed = refine._goal(PARAMS, PHOTOGRAPH, [(PAINTING, 0.25), (other, 0.75)], Refinement(1))
    expected = 0.25 * goals[0][1]["relu2_2"] + 0.75 * goals[1][1]["relu2_2"]
    np.testing.assert_allclose(mixed[1]["relu2_2"], expected, rtol=1e-5, atol=1e-7)


def terminate_at(iteration):
    """An `on_step` that has SIGTERM sent to this process after that iteration."""

    def on_step(step):
        if step.done == iteration:
            os.kill(os.getpid(), signal.SIGTERM)

    return on_step


@pytest.mark.parametrize("at", [2, 6])
def test_stopped_work_goes_on_as_if_it_had_not_been_stopped(tmp_path, monkeypatch, at):
    monkeypatch.setattr(refine, "_COARSEST", 24)
    whole, state = refined(Refinement(4)), tmp_path / "out.png.state"
    with pytest.raises(Stopped, match=rf"^stopped after iteration {at} of 8; the same line continues$"):
        refined(Refinement(4), Watch(terminate_at(at), state))
    seen = []
    np.testing.assert_array_equal(refined(Refinement(4), Watch(seen.append, state)), whole)
    assert seen[0].done == at
    with refused(r"^`refine`: the run that .*out.png.state continues has 4, got 5; set it back"):
        refined(Refinement(5), Watch(None, state))
    with refused("^`style`: the run that "):
        refined(Refinement(4), Watch(None, state), paintings=((PAINTING[:-1], 1.0),))
    state.write_bytes(b"damaged")
    with pytest.raises(InputError, match="^`out`: cannot continue .*delete it to start afresh$"):
        refined(Refinement(4), Watch(None, state))
