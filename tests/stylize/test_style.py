"""What can be done with styles after adaptation: strength, blends, regions, sizes, batches; on a net of 4 channels."""

import dataclasses
import math
import re
import warnings

import numpy as np
import pytest
from PIL import Image

import metastyle
from metastyle import config
from metastyle.errors import Adjusted, InputError
from metastyle.images import codec, color, masks
from metastyle.images.resize import resize_short
from metastyle.meta import outer_loop
from metastyle.nets import padded
from metastyle.stylize.style import Knobs
from metastyle.weights import bundles
from tests.support import toy
from tests.support.errors import refused
from tests.support.styles import bundle_with_plain_parameters, made, picture

pytestmark = pytest.mark.usefixtures("no_compile_cache")
PHOTOGRAPH = picture(22, 30, seed=3)


@pytest.fixture(scope="module")
def start():
    return bundle_with_plain_parameters()


@pytest.fixture(scope="module")
def styles(start):
    return [made(start, seed) for seed in (1, 2, 3)]


def network(made, params, photograph=PHOTOGRAPH):
    """f32[H, W, 3]: the generator alone."""
    return padded.stylize(made.config.generator, params, np.float32(photograph)[None] / 255)[0]


def level(value, height=22, width=30):
    return np.full((height, width), value, np.uint8)


# Strength


def test_strength_0_is_the_photograph_and_1_the_style(styles):
    np.testing.assert_array_equal(styles[0].stylize(PHOTOGRAPH, strength=0), PHOTOGRAPH)
    expected = codec.to_uint8(network(styles[0], styles[0].slow | styles[0].file.fast))
    np.testing.assert_array_equal(styles[0].stylize(PHOTOGRAPH, strength=1), expected)
    np.testing.assert_array_equal(styles[0].stylize(PHOTOGRAPH), expected)


@pytest.mark.parametrize("s", [0.001, 0.25, 0.5, 0.75, 1.2, 1.5])
def test_strength_is_the_formula_of_the_module(styles, s):
    one = styles[0]
    theta = {path: one.plain[path] + s * (x - one.plain[path]) for path, x in one.file.fast.items()}
    photograph = np.float32(PHOTOGRAPH) / 255
    expected = network(one, one.slow | theta)
    expected = expected + max(0, 1 - s) * (photograph - network(one, one.slow | one.plain))
    difference = one.stylize(PHOTOGRAPH, strength=s).astype(int) - codec.to_uint8(np.clip(expected, 0, 1))
    assert np.abs(difference).max() <= 1  # a rounding
    assert np.abs(expected - network(one, one.slow | one.file.fast)).max() > 0.01


def test_strength_is_continuous_at_both_ends(styles):
    for s, end in ((1e-4, 0), (1 - 1e-4, 1), (1 + 1e-4, 1)):
        near, there = (styles[0].stylize(PHOTOGRAPH, strength=x).astype(int) for x in (s, end))
        assert np.abs(near - there).max() <= 1


@pytest.mark.parametrize("s", [-0.1, 1.6, math.nan, math.inf])
def test_strength_out_of_range(styles, s):
    with refused(r"^`strength`: expected a number from 0 to 1\.5, got "):
        styles[0].stylize(PHOTOGRAPH, strength=s)


def test_strength_needs_plain_parameters(styles):
    bare = dataclasses.replace(styles[0], plain=None)
    with refused("^`strength`: expected 1, for the bundle of this style has no plain"):
        bare.stylize(PHOTOGRAPH, strength=0.5)
    bare.stylize(PHOTOGRAPH)


def test_plain_parameters_are_kept_by_bundles_and_self_contained_styles(start, styles, tmp_path):
    bundles.save_bundle(tmp_path / "b", start)
    again = bundles.load_bundle(tmp_path / "b")
    assert again.meta.parts().keys() == start.meta.parts().keys()
    for path, x in start.plain.items():
        np.testing.assert_array_equal(again.plain[path], x)
    file = dataclasses.replace(styles[0].file, bundle=str(tmp_path / "b"))
    small = dataclasses.replace(styles[0], file=file)
    small.save(tmp_path / "a.safetensors")
    small.save(tmp_path / "c.safetensors", self_contained=True)
    expected = styles[0].stylize(PHOTOGRAPH, strength=0.4)
    for name in ("a", "c"):
        loaded = metastyle.load_style(tmp_path / f"{name}.safetensors")
        np.testing.assert_array_equal(loaded.stylize(PHOTOGRAPH, strength=0.4), expected)
    assert (tmp_path / "a.safetensors").stat().st_size < (tmp_path / "c.safetensors").stat().st_size


def test_plain_parameters_of_another_shape_are_no_bundle(start, tmp_path):
    wrong = {path: x[:1] for path, x in start.plain.items()}
    bundles.save_bundle(tmp_path / "b", dataclasses.replace(start, plain=wrong))
    with refused("^`bundle`: "):
        bundles.load_bundle(tmp_path / "b")


# Blends


def test_weight_1_is_that_style_bit_for_bit(styles):
    for i, one in enumerate(styles):
        same = metastyle.blend([(other, float(i == j)) for j, other in enumerate(styles)])
        np.testing.assert_array_equal(same.stylize(PHOTOGRAPH), one.stylize(PHOTOGRAPH))
        assert same.file.sha256 == one.file.sha256


def test_a_blend_is_the_weighted_mean_of_fast_parameters(styles):
    found = metastyle.blend(list(zip(styles, (0.2, 0.3, 0.5), strict=True)))
    for path, x in found.file.fast.items():
        mean = sum(w * one.file.fast[path] for w, one in zip((0.2, 0.3, 0.5), styles, strict=True))
        np.testing.assert_allclose(x, mean, rtol=1e-3, atol=1e-6)  # half precision
    assert found.file.steps == 3 and found.history == ()


def test_a_blend_of_a_style_with_itself_is_that_style(styles):
    found = metastyle.blend([(styles[0], 0.5), (styles[0], 0.5)])
    assert found.file.sha256 == styles[0].file.sha256


def test_weights_are_divided_by_their_sum_which_is_said(styles):
    with pytest.warns(Adjusted, match="`weights`: divided by their sum, 4, to 0.25, 0.75$"):
        found = metastyle.blend([(styles[0], 1), (styles[1], 3)])
    exact = metastyle.blend([(styles[0], 0.25), (styles[1], 0.75)])
    assert found.file.sha256 == exact.file.sha256 != styles[1].file.sha256


def test_a_saved_blend_is_the_same(styles, tmp_path):
    found = metastyle.blend([(styles[0], 0.4), (styles[1], 0.6)])
    found.save(tmp_path / "x.safetensors", self_contained=True)
    again = metastyle.load_style(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(again.stylize(PHOTOGRAPH), found.stylize(PHOTOGRAPH))


@pytest.mark.parametrize("weights", [(-0.5, 1.5), (0, 0), (math.nan, 1), (math.inf, 1)])
def test_weights_that_are_none(styles, weights):
    parts = list(zip(styles, weights, strict=False))
    with refused("^`weights`: expected (a number of at least 0|numbers of at least 0, not all of them 0), got "):
        metastyle.blend(parts)


def test_styles_of_different_bundles_cannot_be_blended(start, styles):
    slow = {path: x + 1 for path, x in start.meta.slow.items()}
    other = made(dataclasses.replace(start, meta=dataclasses.replace(start.meta, slow=slow)), 1)
    parts = [(styles[0], 0.5), (other, 0.5)]
    with refused("^`style_file`: expected styles adapted from one bundle, got styles of"):
        metastyle.blend(parts)
    with refused("^`parts`: expected at least one pair \\(style, weight\\), got none"):
        metastyle.blend([])


# Regions


def test_a_white_mask_is_the_style_and_a_black_one_the_photograph(styles):
    whole = styles[0].stylize(PHOTOGRAPH)
    np.testing.assert_array_equal(styles[0].stylize(PHOTOGRAPH, mask=level(255)), whole)
    np.testing.assert_array_equal(styles[0].stylize(PHOTOGRAPH, mask=level(0)), PHOTOGRAPH)


def test_grey_is_partly(styles):
    grey = styles[0].stylize(PHOTOGRAPH, mask=level(51)).astype(float)
    expected = PHOTOGRAPH + 0.2 * (styles[0].stylize(PHOTOGRAPH) - PHOTOGRAPH.astype(float))
    assert np.abs(grey - expected).max() <= 1.1  # roundings


def test_masks_pair_with_styles_in_order(styles):
    left = np.zeros((22, 30), np.uint8)
    left[:, :15] = 255
    found = metastyle.compose(PHOTOGRAPH, [(styles[0], left), (styles[1], 255 - left)], feather=0)
    np.testing.assert_array_equal(found[:, :15], styles[0].stylize(PHOTOGRAPH)[:, :15])
    np.testing.assert_array_equal(found[:, 15:], styles[1].stylize(PHOTOGRAPH)[:, 15:])
    alone = metastyle.compose(PHOTOGRAPH, [(styles[0], left)], feather=0)
    np.testing.assert_array_equal(alone[:, 15:], PHOTOGRAPH[:, 15:])


def test_masks_that_overlap_are_divided_by_their_sum(styles):
    found = metastyle.compose(PHOTOGRAPH, [(styles[0], level(255)), (styles[1], None)]).astype(float)
    halves = (styles[0].stylize(PHOTOGRAPH).astype(float) + styles[1].stylize(PHOTOGRAPH)) / 2
    assert np.abs(found - halves).max() <= 1


def test_edges_are_feathered(styles):
    left = np.zeros((22, 30), np.uint8)
    left[:, :15] = 255
    hard = styles[0].stylize(PHOTOGRAPH, mask=left, feather=0).astype(int)
    soft = styles[0].stylize(PHOTOGRAPH, mask=left, feather=2).astype(int)
    difference = np.abs(hard - soft).max((0, 2))
    assert difference[12:18].max() > 3 * max(difference[:5].max(), difference[-5:].max(), 1)
    np.testing.assert_array_equal(soft, styles[0].stylize(PHOTOGRAPH, mask=masks.feather(left / 255.0, 2), feather=0))


def test_a_mask_of_another_size_is_resized_and_said(styles):
    with pytest.warns(Adjusted, match=r"`mask`: .* 15 x 11.*30 x 22"):
        found = styles[0].stylize(PHOTOGRAPH, mask=level(255, 11, 15))
    np.testing.assert_array_equal(found, styles[0].stylize(PHOTOGRAPH))


def test_regions_may_be_of_different_bundles(start, styles):
    slow = {path: 1.1 * x for path, x in start.meta.slow.items()}
    other = made(dataclasses.replace(start, meta=dataclasses.replace(start.meta, slow=slow)), 1)
    found = metastyle.compose(PHOTOGRAPH, [(styles[0], level(0)), (other, level(255))])
    np.testing.assert_array_equal(found, other.stylize(PHOTOGRAPH))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"feather": -1}, "`feather`: expected a number of at least 0, got -1"),
        ({"feather": "1"}, "`feather`: expected a number of at least 0, got '1'"),
        ({"strength": "0.5"}, "`strength`: expected a number from 0 to 1.5, got '0.5'"),
        ({"mask": "gone.png"}, "`mask`: no such file: 'gone.png'"),
        ({"color": "sepia"}, "`color`: expected one of style, content, histogram, got 'sepia'"),
        ({"content_size": 8}, "`content_size`: expected whole px, at least 16, got 8"),
        ({"content_size": 64.0}, "`content_size`: expected whole px, at least 16, got 64.0"),
        (
            {"content_size": 10**6, "max_pixels": 10**6},
            "`content_size`: expected at most 1000000 pixels, got 1363636363636 for a photograph of 30 x 22 px",
        ),
        ({"tile": 32, "backend": "onnx"}, "`tile`: expected none, for onnx takes whole pictures"),
        ({"backend": "torch"}, "`backend`: expected one of jax, onnx, onnx-int8, got 'torch'"),
        ({"tile": -1}, "`tile`: expected"),
    ],
)
def test_bad_knobs(styles, knobs, message):
    kind = FileNotFoundError if "mask" in knobs else InputError
    with refused("^" + re.escape(message), kind):
        styles[0].stylize(PHOTOGRAPH, **knobs)


def test_no_style(styles):
    with refused("^`parts`: expected at least one pair \\(style, mask\\), got none"):
        metastyle.compose(PHOTOGRAPH, [])


# Colour, size, files


@pytest.mark.parametrize("kind", ["content", "histogram"])
def test_color_is_transferred_from_the_photograph(styles, kind):
    photograph = np.float32(PHOTOGRAPH) / 255
    output = network(styles[0], styles[0].params())
    expected = codec.to_uint8(color.transfer(kind, output, photograph))
    np.testing.assert_array_equal(styles[0].stylize(PHOTOGRAPH, color=kind), expected)
    assert (expected != styles[0].stylize(PHOTOGRAPH)).any()


def test_content_size_is_the_shorter_side_of_what_is_stylised(styles):
    found = styles[0].stylize(PHOTOGRAPH, content_size=44)
    assert found.shape == (44, 60, 3)
    larger = resize_short(np.float32(PHOTOGRAPH) / 255, 44)
    np.testing.assert_array_equal(found, styles[0].stylize(larger))


@pytest.mark.slow
@pytest.mark.parametrize("knobs", [{}, {"strength": 0.5}, {"color": "content"}, {"mask": level(128)}])
def test_tiles_change_nothing(styles, knobs):
    photograph = picture(75, 98, seed=5)
    if "mask" in knobs:
        knobs = {"mask": level(128, 75, 98)}
    whole, tiled = (styles[0].stylize(photograph, tile=tile, **knobs).astype(int) for tile in (0, 32))
    assert np.abs(whole - tiled).max() <= 1


@pytest.mark.parametrize("s", [1, 0.5])
def test_onnx_takes_the_same_knobs(styles, s):
    pytest.importorskip("onnxruntime")
    ours, theirs = (
        styles[0].stylize(PHOTOGRAPH, strength=s, color="content", backend=backend).astype(int)
        for backend in ("jax", "onnx")
    )
    assert np.abs(ours - theirs).max() <= 2


def test_a_file_says_how_it_was_made(styles, tmp_path):
    styles[0].stylize_file(PHOTOGRAPH, tmp_path / "x.png", strength=0.5, color="content")
    assert codec.read_metadata(tmp_path / "x.png") == {
        "Software": f"metastyle {metastyle.__version__}",
        "Description": f"style {styles[0].file.sha256[:12]}, strength 0.5, color content",
    }


def test_transparency_stays_with_every_knob(styles, tmp_path):
    rgba = np.dstack([PHOTOGRAPH, picture(22, 30, seed=9, channels=1)])
    styles[0].stylize_file(rgba, tmp_path / "x.png", mask=level(200), content_size=44, strength=0.7)
    with Image.open(tmp_path / "x.png") as written:
        assert written.mode == "RGBA" and written.size == (60, 44)
        expected = codec.to_uint8(resize_short(rgba[..., 3] / np.float32(255), 44))
        np.testing.assert_array_equal(np.asarray(written)[..., 3], expected)


def test_half_transparent_strength_0_is_the_photograph(styles, tmp_path):
    rgba = np.dstack([PHOTOGRAPH, np.full(PHOTOGRAPH.shape[:2], 128, np.uint8)])
    styles[0].stylize_file(rgba, tmp_path / "x.png", strength=0)
    with Image.open(tmp_path / "x.png") as written:
        np.testing.assert_array_equal(np.asarray(written), rgba)


def test_the_photograph_is_not_replaced(styles, tmp_path):
    Image.fromarray(PHOTOGRAPH).save(tmp_path / "x.png")
    with refused("^`out`: "):
        styles[0].stylize_file(tmp_path / "x.png", tmp_path / "." / "x.png")
    with refused("^`out`: "):
        styles[0].stylize_file(PHOTOGRAPH, tmp_path / "x.png", mask=tmp_path / "x.png")


def test_onnx_is_the_same_to_a_255th_for_what_is_no_bytes(styles):
    pytest.importorskip("onnxruntime")
    for knobs in ({"content_size": 40}, {"color": "histogram"}, {"content_size": 40, "color": "content"}):
        ours, theirs = (styles[0].stylize(PHOTOGRAPH, backend=x, **knobs).astype(int) for x in ("jax", "onnx"))
        assert np.abs(ours - theirs).max() <= 1


# Batches


def test_a_batch_of_mixed_styles_is_each_photograph_by_itself(styles):
    photographs = [picture(22, 30, seed=seed) for seed in range(3)]
    found = metastyle.stylize_batch(photographs, styles)
    for photograph, one, output in zip(photographs, styles, found, strict=True):
        difference = output.astype(int) - one.stylize(photograph)
        assert np.abs(difference).max() <= 1
    assert (found[0] != styles[1].stylize(photographs[0])).any()


def test_batches_that_do_not_match(start, styles):
    same, other_size = [PHOTOGRAPH] * 2, [PHOTOGRAPH, picture(24, 30)]
    batch = metastyle.stylize_batch
    with refused("^`styles`: expected one for each photograph, got 1 for 2"):
        batch(same, styles[:1])
    with refused("^`photographs`: expected one size, got 30 x 22 and 30 x 24"):
        batch(other_size, styles[:2])
    slow = {path: x + 1 for path, x in start.meta.slow.items()}
    other = made(dataclasses.replace(start, meta=dataclasses.replace(start.meta, slow=slow)), 1)
    with refused("^`styles`: expected styles adapted from one bundle"):
        batch(same, [styles[0], other])


def test_knobs_are_documented_one_by_one():
    for field in dataclasses.fields(Knobs):
        assert f"\n    {field.name}: " in Knobs.__doc__, field.name


def test_nothing_is_said_where_nothing_was_adjusted(styles):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metastyle.compose(PHOTOGRAPH, [(metastyle.blend([(styles[0], 0.5), (styles[1], 0.5)]), level(9))])


# Noise


def test_a_seed_is_another_drawing_with_both_backends():
    """A bundle of random parameters whose network has noise maps; seed 0 is what the parameters say."""
    settings = toy.settings(inner={"scope": "norm,noise"})
    settings = dataclasses.replace(settings, generator=config.Generator("s4,c3s1-8,n2x2,R8x1,p4-3"))
    learned = outer_loop.initial_meta(settings)
    one = made(bundles.Bundle(settings, learned, 1e-3), 1)
    drawings = [one.stylize(PHOTOGRAPH, seed=seed) for seed in (0, 1, 2**24 - 1)]
    np.testing.assert_array_equal(drawings[0], one.stylize(PHOTOGRAPH))
    for other in drawings[1:]:
        assert (drawings[0] != other).mean() > 0.1
    pytest.importorskip("onnxruntime")
    for seed, expected in enumerate(drawings[:2]):
        found = one.stylize(PHOTOGRAPH, seed=seed, backend="onnx")
        assert np.abs(found.astype(int) - expected).max() <= 1
    for wrong in (-1, 2**24, 0.5):
        with refused("`seed`: expected a whole number from 0 to 16777215, got"):
            one.stylize(PHOTOGRAPH, seed=wrong)
