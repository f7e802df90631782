"""The mean over places on the pixel grid: which places, the same result on every path, and what it is for."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.config import PHASES, Generator
from metastyle.nets import architecture, generator
from metastyle.nets.phases import mean_over_phases, shifts
from metastyle.stylize import tiling
from tests.support.numpy_nets import random_params
from tests.support.pictures import noise

COMPACT = Generator("s4,c3s1-16,R16x1a,u8,p2-3,skip")
DEEP = Generator("s4,d6.blur,save-a,d8,u6.bilinear,add-a,u6,p4-3")  # its multiple is 16 px


def test_one_phase_pads_to_a_multiple_alone():
    assert shifts(1, 17, 24, 4) == [((0, 0), (3, 0))]


@pytest.mark.parametrize("phases", PHASES[1:])
@pytest.mark.parametrize("height, width, multiple", [(17, 24, 4), (64, 33, 16)])
def test_padded_pictures_have_one_size_and_places_are_spread_over_the_grid(phases, height, width, multiple):
    found = shifts(phases, height, width, multiple)
    sizes = {(height + b[0] + a[0], width + b[1] + a[1]) for b, a in found}
    assert len(found) == phases and len(sizes) == 1
    assert all(side % multiple == 0 for side in sizes.pop())
    assert all(0 <= pad < 2 * multiple for shift in found for pair in shift for pad in pair)
    quarters = [tuple(4 * pad // multiple for pad in before) for before, _ in found]
    assert len(set(quarters)) == phases
    assert {row for row, _ in quarters} == {column for _, column in quarters} == {0, 1, 2, 3}


@pytest.mark.parametrize("settings", [COMPACT, DEEP], ids=["compact", "deep"])
def test_the_result_is_the_mean_over_shifted_pictures(settings):
    params, picture = random_params(settings), noise(1, 66, 75, 3)
    multiple = architecture.parse(settings.arch).multiple
    run = lambda x: generator.stylize(settings, params, x)
    outputs = []
    for row, column in ((0, 0), (1, 2), (2, 3), (3, 1)):
        row, column = row * multiple // 4, column * multiple // 4
        rows, columns = -66 % multiple + multiple, -75 % multiple + multiple
        pad = ((0, 0), (row, rows - row), (column, columns - column), (0, 0))
        outputs.append(run(np.pad(picture, pad, "reflect"))[:, row : row + 66, column : column + 75])
    four = dataclasses.replace(settings, phases=4)
    found = generator.stylize(four, params, picture)
    np.testing.assert_allclose(found, np.mean(outputs, 0), atol=1e-5)
    assert np.abs(found - outputs[0]).max() > 0.01


@pytest.mark.parametrize("phases", PHASES)
def test_one_after_the_other_they_are_those_that_are_computed_together(phases):
    settings = dataclasses.replace(COMPACT, phases=phases)
    params, picture = random_params(settings), noise(2, 21, 30, 3)
    expected = generator.stylize(settings, params, picture)
    run = lambda x: np.asarray(generator.stylize(COMPACT, params, x[None])[0])
    for i in range(2):
        np.testing.assert_allclose(mean_over_phases(run, picture[i], phases, 4), expected[i], atol=2e-5)
    in_tiles = tiling.stylize(settings, params, picture[0], tile=16)
    np.testing.assert_allclose(in_tiles, expected[0], atol=1e-4)


def test_with_all_phases_a_shifted_picture_gives_the_shifted_result_inside():
    wide, differences = noise(1, 64, 96, 3), {}
    params = random_params(COMPACT)
    for phases in PHASES:
        settings = dataclasses.replace(COMPACT, phases=phases)
        a, b = (generator.stylize(settings, params, x) for x in (wide[:, :, :92], wide[:, :, 1:93]))
        inside = slice(24, 60)
        change = jnp.square(a[:, 16:48, 25:61] - b[:, 16:48, inside]).mean()
        differences[phases] = float(change / a.var())
    assert differences[16] < 0.02 < differences[1]
    assert differences[16] < differences[4] < differences[1]
