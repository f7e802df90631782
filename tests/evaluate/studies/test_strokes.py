"""The size of strokes: of waves it is their length, and the smooth picture has hardly any."""

import numpy as np
import pytest

from metastyle.evaluate.studies import strokes


@pytest.mark.parametrize("angle", [0, 0.6, np.pi / 2])
@pytest.mark.parametrize("length", [10, 20, 30])
def test_a_wave_has_its_length(angle, length):
    y, x = np.mgrid[:300, :300]
    wave = 0.5 + 0.3 * np.sin(2 * np.pi / length * (x * np.cos(angle) + y * np.sin(angle)))
    found = strokes.wavelength(np.repeat(wave[..., None], 3, -1))
    assert found == pytest.approx(length, rel=0.04)
    slow = 0.1 * x[..., None] / 300
    assert strokes.wavelength(np.repeat(wave[..., None], 3, -1) + slow) == pytest.approx(found, rel=0.01)


def test_the_smooth_picture_is_smooth():
    assert (
        strokes.make_smooth_picture().shape == (512, 512, 3) and strokes.wavelength(strokes.make_smooth_picture()) > 40
    )
