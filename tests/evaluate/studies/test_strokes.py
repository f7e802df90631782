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


def test_the_table_of_sizes():
    lengths, shares = np.array([[4.0, 8.0, 16.0], [6.0, 10.0, 20.0]]), np.array([[0.1, 0.05, 0.02], [0.12, 0.07, 0.04]])
    assert strokes.format_table(lengths, shares).splitlines() == [
        "--style_size=64    mean wavelength 5.0 px",
        "--style_size=128   mean wavelength 9.0 px",
        "--style_size=256   mean wavelength 18.0 px",
        "--content_size=256   mean wavelength 11.00% of the side",
        "--content_size=512   mean wavelength 6.00% of the side",
        "--content_size=1024  mean wavelength 3.00% of the side",
    ]


def test_the_table_of_transfers():
    found = np.array([[0.01, 0.02], [0.005, 0.0125]])
    assert strokes.format_transfers(found, (512, 1024), (1.0, 2.0)).splitlines() == [
        "transfer --size=512   --stroke=1     mean wavelength 1.00% of the side",
        "transfer --size=512   --stroke=2     mean wavelength 2.00% of the side",
        "transfer --size=1024  --stroke=1     mean wavelength 0.50% of the side",
        "transfer --size=1024  --stroke=2     mean wavelength 1.25% of the side",
    ]
