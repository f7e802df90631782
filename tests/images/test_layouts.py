"""Every layout and colour declaration of the formats that are read: each picture is read right or refused in one line.

`pytest -s tests/images/test_layouts.py` prints how many of each format were read and how many were refused.
"""

import warnings

import numpy as np
import pytest

from metastyle.errors import Adjusted, InputError
from metastyle.images import codec
from tests.support.layout_cases import Case, H, W, bmp_cases, png_cases, pnm_cases, tiff_cases


def _verdict(case: Case) -> str:
    """ "read", "refused", or what is wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", Adjusted)
            rgb, alpha = codec.load(case.data)
    except InputError as error:
        fine = "\n" not in str(error) and str(error).startswith("`content`: ") and not case.must
        return "refused" if fine else f"{case.name}: refused: {error}"
    if case.rgb is None:
        return f"{case.name}: read, though nobody can say what it shows"
    opacity = np.ones((H, W)) if case.alpha is None else case.alpha
    if rgb.shape != (H, W, 3):
        return f"{case.name}: of shape {rgb.shape}"
    wrong = np.abs(rgb - (case.rgb * opacity[..., None] + 1 - opacity[..., None])).max() * 255
    off = np.abs((1 if alpha is None else alpha) - opacity).max() * 255
    if wrong > case.within + 1e-3 or off > 1 + 1e-3:
        return f"{case.name}: colours {wrong:.1f}, alpha {off:.1f} of 255 away"
    return "read"


@pytest.mark.parametrize("cases", [png_cases, tiff_cases, bmp_cases, pnm_cases])
def test_every_layout_is_read_right_or_refused(cases, capsys):
    verdicts = [_verdict(case) for case in cases()]
    wrong = [text for text in verdicts if text not in ("read", "refused")]
    name = cases.__name__.strip("_").split("_")[0].upper()
    with capsys.disabled():
        print(f"\n{name}: {verdicts.count('read')} read right, {verdicts.count('refused')} refused, {len(wrong)} wrong")
    assert not wrong, "\n" + "\n".join(wrong[:200])
