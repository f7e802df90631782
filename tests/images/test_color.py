"""Oklab against Ottosson's numbers, and what each kind of colour transfer keeps and changes."""

import numpy as np
import pytest

from metastyle.errors import InputError
from metastyle.images import color


def _picture(height=40, width=50, low=0.0, high=1.0, seed=0):
    return np.random.default_rng(seed).uniform(low, high, (height, width, 3)).astype(np.float32)


def _hue(lab):
    return np.arctan2(lab[2], lab[1])


@pytest.mark.parametrize(
    "rgb, lab",
    [
        ((1, 1, 1), (1, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (0.62796, 0.22486, 0.12585)),
        ((0, 1, 0), (0.86644, -0.23389, 0.17950)),
        ((0, 0, 1), (0.45201, -0.03246, -0.31153)),
    ],
)
def test_oklab_of_known_colours(rgb, lab):
    np.testing.assert_allclose(color.to_oklab(np.float32([[rgb]]))[:, 0, 0], lab, atol=1e-5)


def test_oklab_of_ottossons_examples():
    """The table of his post, which rounds to 3 digits: XYZ with the white point D65 to L, a and b."""
    from_xyz = np.array([[3.2409699, -1.5373832, -0.4986108], [-0.9692436, 1.8759675, 0.0415551]])
    from_xyz = np.vstack([from_xyz, [0.0556301, -0.2039770, 1.0569715]])
    matrix = color.TO_CONES @ from_xyz
    for xyz, lab in [
        ((0.95, 1, 1.089), (1, 0, 0)),
        ((1, 0, 0), (0.45, 1.236, -0.019)),
        ((0, 1, 0), (0.922, -0.671, 0.263)),
    ]:
        np.testing.assert_allclose(color.TO_LAB @ np.cbrt(matrix @ xyz), lab, atol=2e-3)


def test_recolored_has_the_colours_of_the_other_and_its_own_shapes():
    rng = np.random.default_rng(0)
    picture, like = 0.5 + 0.1 * rng.normal(size=(2, 40, 50, 3)), 0.4 + 0.05 * rng.normal(size=(30, 20, 3))
    like[..., 0] += 0.2  # redder
    picture, like = (np.float32(np.clip(x, 0, 1)) for x in (picture, like))
    found = color.recolor(picture, like)
    assert found.shape == picture.shape and found.min() >= 0 and found.max() <= 1
    before, after, goal = (color.to_oklab(x).reshape(3, -1) for x in (picture, found, like))
    np.testing.assert_allclose(after.mean(1), goal.mean(1), atol=5e-3)
    np.testing.assert_allclose(after.std(1), goal.std(1), atol=5e-3)
    assert np.corrcoef(before[0], after[0])[0, 1] > 0.99
    np.testing.assert_allclose(color.recolor(picture, picture), picture, atol=1e-4)


def test_recolored_makes_no_noise_of_what_is_flat():
    flat = np.full((8, 8, 3), 0.5, np.float32)
    flat[0, 0] += 1e-3
    found = color.recolor(flat, _picture())
    assert np.ptp(found, (0, 1)).max() < 0.02 and np.isfinite(found).all()


def test_oklab_round_trip():
    levels = np.float32(np.linspace(0, 1, 18))
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(18, -1, 3)  # every corner and edge of the gamut
    np.testing.assert_allclose(color.from_oklab(color.to_oklab(cube)), cube, atol=2e-4)
    inner = 0.05 + 0.9 * cube
    np.testing.assert_allclose(color.from_oklab(color.to_oklab(inner)), inner, atol=2e-5)


def test_every_colour_of_srgb_is_within_the_histograms():
    levels = np.linspace(0, 1, 30, dtype=np.float32)
    lab = color.to_oklab(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(30, -1, 3)).reshape(3, -1)
    assert (lab.min(1) >= color._LOWEST - 1e-6).all() and (lab.max(1) <= color._LOWEST + 1 + 1e-6).all()


def test_out_of_gamut_keeps_lightness_and_hue():
    rng = np.random.default_rng(0)
    lightness, hue = rng.uniform(0.2, 0.9, (2, 40, 50))
    lab = np.stack([lightness, 0.4 * np.cos(hue * 7), 0.4 * np.sin(hue * 7)]).astype(np.float32)
    rgb = color.from_oklab(lab)
    assert rgb.dtype == np.float32 and rgb.min() >= 0 and rgb.max() <= 1
    found = color.to_oklab(rgb)
    np.testing.assert_allclose(found[0], lab[0], atol=1e-3)
    chroma = np.hypot(found[1], found[2])
    assert (chroma < 0.4).all() and (chroma > 0.02).all()
    turned = np.angle(np.exp(1j * (_hue(found) - _hue(lab))))
    assert np.abs(turned * chroma).max() < 1e-3
    # And it is at the gamut's edge: some channel is (nearly) 0 or 1.
    assert (np.minimum(rgb.min(-1), 1 - rgb.max(-1)) < 0.02).all()


def test_style_is_the_same_array():
    stylised = _picture()
    assert color.transfer("style", stylised, _picture(seed=1)) is stylised


def test_content_takes_the_lightness_of_one_and_the_hue_of_the_other():
    stylised, photograph = _picture(), _picture(seed=1)
    out = color.transfer("content", stylised, photograph)
    assert out.dtype == np.float32 and out.shape == stylised.shape and out.min() >= 0 and out.max() <= 1
    found, light, colours = map(color.to_oklab, (out, stylised, photograph))
    np.testing.assert_allclose(found[0], light[0], atol=1e-3)
    chroma, before = np.hypot(found[1], found[2]), np.hypot(colours[1], colours[2])
    assert (chroma <= before + 1e-3).all()
    assert np.abs(np.angle(np.exp(1j * (_hue(found) - _hue(colours)))) * chroma).max() < 1e-3
    inside = (out.min(-1) > 0.01) & (out.max(-1) < 0.99)
    assert inside.mean() > 0.3
    np.testing.assert_allclose(found[:, inside], np.stack([light[0], *colours[1:]])[:, inside], atol=1e-5)


@pytest.mark.parametrize("kind", ["content", "histogram"])
def test_a_grey_photograph_gives_a_grey_picture(kind):
    grey = np.repeat(_picture()[..., :1], 3, axis=-1)
    out = color.transfer(kind, _picture(seed=1), grey)
    assert np.ptp(out, axis=-1).max() < (1e-5 if kind == "content" else 1e-3)  # a bin's width


@pytest.mark.parametrize("kind", ["content", "histogram"])
def test_a_picture_with_its_own_colours_stays_as_it_is(kind):
    for picture in (_picture(), np.round(_picture() * 255) / np.float32(255), np.full((4, 5, 3), 0.3, np.float32)):
        np.testing.assert_allclose(color.transfer(kind, picture, picture.copy()), picture, atol=1e-3)
    inner = _picture(low=0.1, high=0.9)
    np.testing.assert_allclose(color.transfer(kind, inner, inner.copy()), inner, atol=2e-5)


def test_histogram_matches_the_quantiles():
    stylised = _picture(200, 220, 0.3, 0.6)
    photograph = np.square(_picture(200, 220, 0.55, 0.8, seed=1))  # so that nothing gets out of gamut
    out = color.transfer("histogram", stylised, photograph)
    found, source, target = (color.to_oklab(x).reshape(3, -1) for x in (out, stylised, photograph))
    shares = np.linspace(0, 1, 101)
    np.testing.assert_allclose(np.quantile(found, shares, axis=1), np.quantile(target, shares, axis=1), atol=2e-4)
    for before, after in zip(source, found, strict=True):  # increasing: the order of the pixels stays
        assert np.diff(after[np.argsort(before)]).min() > -1e-5


def test_histogram_puts_nothing_into_a_gap():
    stylised = np.repeat(_picture(50, 60, 0.2, 0.8)[..., :1], 3, axis=-1)
    photograph = np.where(np.arange(50)[:, None, None] < 20, np.float32(0.1), np.float32(0.9)) * np.ones(
        (50, 60, 3), np.float32
    )
    out = color.transfer("histogram", stylised, photograph)
    dark = np.abs(out - 0.1).max(-1) < 1e-3
    assert (dark | (np.abs(out - 0.9).max(-1) < 1e-3)).all()
    assert dark.mean() == pytest.approx(0.4, abs=1e-3)


@pytest.mark.parametrize("kind", ["content", "histogram"])
@pytest.mark.parametrize("pixels", [1, 333, 1700])
def test_strips_give_what_the_whole_gives(monkeypatch, kind, pixels):
    stylised, photograph = _picture(), _picture(seed=1)
    whole = color.transfer(kind, stylised, photograph)
    monkeypatch.setattr(color, "_STRIP", pixels)
    np.testing.assert_array_equal(color.transfer(kind, stylised, photograph), whole)


def test_inputs_are_left_alone():
    stylised, photograph = _picture(), _picture(seed=1)
    before = stylised.copy(), photograph.copy()
    for kind in color.COLORS:
        color.transfer(kind, stylised, photograph)
    np.testing.assert_array_equal((stylised, photograph), before)


def test_refusals():
    with pytest.raises(InputError) as info:
        color.transfer("colour", _picture(), _picture())
    assert str(info.value) == "`color`: expected one of style, content, histogram, got 'colour'"
    for other in (_picture(40, 51), _picture()[..., :1], _picture()[0]):
        with pytest.raises(ValueError, match=r"`photograph`: expected \[H, W, 3\] as `stylised`, \(40, 50, 3\), got"):
            color.transfer("content", _picture(), other)
