"""A photograph in the style of a painting in one call: it is what its parts give, and it says what it costs."""

import numpy as np
import pytest

import metastyle
from metastyle.errors import Adjusted
from metastyle.images import codec
from metastyle.images.resize import resize_short
from metastyle.stylize import cost, transfer
from metastyle.stylize.cost import Recipe, Work
from metastyle.stylize.transfer import Options
from metastyle.weights import vgg_files
from tests.support.errors import refused
from tests.support.places import BUNDLE
from tests.support.styles import picture

pytestmark = pytest.mark.usefixtures("no_compile_cache")
PHOTOGRAPH, PAINTING = picture(40, 50, seed=1), picture(44, 36, seed=2)
GIVEN = {"bundle": str(BUNDLE), "vgg": "random"}


def made(**options):
    return metastyle.transfer(PHOTOGRAPH, PAINTING, **GIVEN | options)


def by_parts(steps, size=None, photograph=PHOTOGRAPH, palette=0.25, **knobs):
    """The same by `adapt` and `stylize`."""
    scaled = photograph if size is None else resize_short(codec.load(photograph)[0], size)
    short = min(scaled.shape[:2])
    style = metastyle.load(BUNDLE).adapt(PAINTING, steps=steps, support=scaled, output_size=short)
    backend = transfer.backend_for((40, 50))
    given = {"content_size": size, "vgg": "random", "backend": backend, "phases": 4, "palette": palette}
    return style.stylize(photograph, **given, **knobs)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"quality": "fast"}, {"steps": 0}),
        ({}, {"steps": 3, "refine": 10}),
        ({"quality": "best", "size": 32}, {"steps": 3, "refine": 15, "size": 32}),
        ({"quality": "fast", "color": "content", "palette": 0.5}, {"steps": 0, "color": "content", "palette": 0.5}),
    ],
    ids=str,
)
def test_it_is_what_its_parts_give(options, parts):
    np.testing.assert_array_equal(made(**options), by_parts(**parts))


def test_a_mask_keeps_the_photograph_where_it_is_black():
    mask = np.zeros((40, 50), np.uint8)
    mask[:, 25:] = 255
    result = made(quality="fast", mask=mask, feather=0)
    np.testing.assert_array_equal(result[:, :25], PHOTOGRAPH[:, :25])
    np.testing.assert_array_equal(result[:, 25:], made(quality="fast")[:, 25:])


def test_where_the_photograph_is_transparent_so_is_the_result():
    alpha = np.full((40, 50, 1), 255, np.uint8)
    alpha[:10] = 0
    job = transfer.prepare(np.concatenate([PHOTOGRAPH, alpha], 2), PAINTING, None, Options("best", **GIVEN))
    found = job.run().alpha
    np.testing.assert_array_equal(found == 0, alpha[..., 0] == 0)


def test_the_progress_grows_to_the_end():
    seen = []
    made(quality="best", on_step=seen.append)
    shares = [progress.share for progress in seen]
    assert shares == sorted(shares) and shares[-1] == 1 and 0 < shares[0] < 0.5
    assert [x for x in dict.fromkeys(progress.doing for progress in seen)] == [
        "learning the style",
        "stylising",
        "refining",
        "done",
    ]


# What it costs


WORK = Work((512, 640), (1.3,), 1.0)
BEST = Recipe(steps=3, refine=10, vgg="vgg16")


def test_more_work_costs_more():
    base = cost.estimate(WORK, BEST, 1.0)
    for more in (
        cost.estimate(WORK._replace(size=(1024, 1280)), BEST, 1.0),
        cost.estimate(WORK, BEST._replace(steps=20), 1.0),
        cost.estimate(WORK, BEST._replace(refine=20), 1.0),
        cost.estimate(WORK, BEST, 1.5),
    ):
        assert more.seconds > base.seconds
    assert cost.estimate(WORK, BEST._replace(vgg="slim"), 1.0).seconds < base.seconds


def test_seconds_choose_the_best_that_fits(monkeypatch):
    monkeypatch.setattr(cost, "measure", lambda: 1.0)
    chosen = []
    for seconds in (0.01, 3, 10, 40, 10_000):
        if seconds == 0.01:
            with pytest.warns(Adjusted, match="^`seconds`: the quickest way takes about .*, got 0.01; it is what"):
                job = transfer.prepare(PHOTOGRAPH, PAINTING, None, Options(seconds=seconds, size=256, **GIVEN))
        else:
            job = transfer.prepare(PHOTOGRAPH, PAINTING, None, Options(seconds=seconds, size=256, **GIVEN))
            assert cost.estimate(job.work, job.recipe, 1.0).seconds <= seconds
        chosen.append(job.recipe)
    assert chosen[0] == Recipe(phases=1) and chosen[-1].refine == 100
    steps = [(recipe.steps, recipe.refine) for recipe in chosen]
    assert steps == sorted(steps) and len(set(steps)) >= 4


def test_the_line_says_what_is_done_and_what_it_takes():
    line = cost.describe(WORK, BEST, 1.0)
    assert line.startswith("640 x 512 px: 3 steps of adaptation, 10 iterations of refinement with vgg16; about ")
    assert "GiB of memory" in line and "s more where the programs are not compiled yet" in line
    assert cost.describe(WORK, Recipe(steps=0), 1.0).startswith("640 x 512 px: the style as it is guessed; about ")
    assert [cost.duration(x) for x in (0.24, 12.3, 120, 7200)] == ["0.2 s", "12 s", "2.0 min", "2.0 hours"]


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": "finest"}, "`quality`: expected one of fast, good, best, got 'finest'"),
        ({"seconds": 0}, "`seconds`: expected more than 0, got 0"),
        ({"seconds": -1.5}, "`seconds`: expected more than 0, got -1.5"),
        ({"size": 8}, "`size`: expected a whole number of at least 16, got 8"),
        ({"size": 10**6}, "`size`: expected at most 400000000 pixels"),
        ({"strength": 2}, "`strength`: expected a number from 0 to 1.5, got 2"),
        ({"color": "none"}, "`color`: expected one of "),
        ({"palette": 1.1}, "`palette`: expected a number from 0 to 1, got 1.1"),
        ({"stroke": 5}, "`stroke`: expected a number from 0.25 to 4, got 5"),
        ({"seed": -1}, "`seed`: expected a whole number from 0 to 16777215, got -1"),
        ({"bundle": "gone"}, "`bundle`: expected a folder with config.json"),
        ({"mask": np.zeros((3, 3, 5))}, "`mask`: "),
    ],
    ids=str,
)
def test_bad_options(options, message):
    with refused(f"^{message}", Exception):
        made(**options)


def test_bad_pictures():
    for photo, styles, message in (
        (PHOTOGRAPH[:12], PAINTING, "^`content`: expected sides of at least 16 px, got 50 x 12"),
        (PHOTOGRAPH, PAINTING[:, :12], "^`style`: expected sides of at least 16 px, got 12 x 44"),
        (PHOTOGRAPH, [], "^`style`: expected at least one picture, got none"),
    ):
        with refused(message):
            metastyle.transfer(photo, styles, **GIVEN)


def test_best_without_its_weights(cache):
    with refused("^VGG-16 weights not found; type `metastyle fetch vgg16`", FileNotFoundError):
        made(quality="best", vgg="vgg16")
    recipe = transfer.prepare(PHOTOGRAPH, PAINTING, None, Options("best")).recipe
    assert (recipe.vgg, recipe.refine) == (vgg_files.PACKAGED, 20)


def test_recipes_are_in_the_order_of_their_cost():
    found = [cost.estimate(WORK, recipe, 1.0).seconds for recipe in Options(vgg="vgg16").ladder()]
    assert found == sorted(found)
