"""Transfers as methods of an evaluation."""

import numpy as np
import pytest

import metastyle
from metastyle.config import METHODS
from metastyle.evaluate import transferring
from metastyle.evaluate.pairs import Pair
from metastyle.images import codec
from tests.support.styles import picture

pytestmark = pytest.mark.usefixtures("no_compile_cache")


def small_pair():
    content, style = (codec.load(picture(64, 64, seed=seed))[0] for seed in (1, 2))
    return Pair(0, "photo", "painting", content, style, [content])


@pytest.mark.slow
@pytest.mark.parametrize("level", ["fast", "good"])
def test_a_level_gives_what_the_api_gives(level):
    pair = small_pair()
    method = transferring.transferred(level)
    (view,) = method.views(pair)
    np.testing.assert_array_equal(
        codec.to_uint8(view.picture), metastyle.transfer(pair.content, pair.style, quality=level)
    )
    assert view.steps == method.last == {"fast": 0, "good": 13}[level]
    assert view.adapt_s > 0 and view.stylize_ms > 0
    assert (view.shift is None) == (level == "good")


def test_every_level_is_a_method_with_its_network():
    assert set(transferring.LEVELS) < set(METHODS)
    note = transferring.transferred("best_offline").note
    assert note == "metastyle transfer: 3 steps of adaptation, 20 iterations of refinement with half"


def test_without_vgg16_best_is_refused(cache):
    with pytest.raises(FileNotFoundError, match="^VGG-16 weights not found"):
        transferring.transferred("best")
