"""The few-shot API, on the bundle of format 1: a net of 4 channels, 16 px, random VGG features, two learned steps."""

import dataclasses
import os
import re
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

import metastyle
from metastyle import config
from metastyle.data.procedural import source
from metastyle.errors import Stopped
from metastyle.images import codec
from metastyle.images.resize import resize_short, square
from metastyle.meta import adaptation, inner_loop
from metastyle.meta.parameters import Meta
from metastyle.meta.problem import Networks, style_problem
from metastyle.nets import generator, style_encoder, vgg
from metastyle.stylize import material, resumable, stylizer
from metastyle.weights import bundles, style_files, vgg_files
from tests.support.errors import refused
from tests.support.places import BUNDLE
from tests.support.styles import picture

pytestmark = pytest.mark.usefixtures("no_compile_cache")
PAINTING, OTHER, PHOTOGRAPH = picture(24, 20, seed=1), picture(18, 30, seed=2), picture(22, 30, seed=3)


@pytest.fixture
def start():
    return metastyle.load(BUNDLE)


def fit(start, styles=PAINTING, *, steps=1, support=(PHOTOGRAPH,), **options):
    return start.adapt(styles, steps=steps, support=support, **options)


@pytest.fixture
def style(start):
    return fit(start, steps=2)


def assert_same(a, b):
    """Bit-equal styles."""
    assert a.history == b.history
    assert a.file.fast.keys() == b.file.fast.keys()
    for path in a.file.fast:
        np.testing.assert_array_equal(a.file.fast[path], b.file.fast[path])


def differ(a, b):
    return any((a.file.fast[path] != b.file.fast[path]).any() for path in a.file.fast)


# Adaptation


@pytest.mark.slow
def test_learned_steps_are_those_of_meta_training(start):
    """The pictures go through the API as uint8 and one by one, through the inner loop of training as one task."""
    settings, meta = start.bundle.config, start.bundle.meta
    inner, size = settings.inner, settings.data.size
    style = fit(start, [PAINTING, OTHER], steps=inner.steps, support=[PHOTOGRAPH, OTHER], seed=7)

    as_square = lambda pixels: square(codec.load(pixels)[0], size)
    count = inner.steps * inner.support
    crops = np.stack(material.support_crops([PHOTOGRAPH, OTHER], count, size, 7, codec.MAX_PIXELS))
    np.testing.assert_array_equal(crops[:2], [as_square(PHOTOGRAPH), as_square(OTHER)])
    task = {
        "style": jnp.stack([as_square(PAINTING), as_square(OTHER)]),
        "support": jnp.asarray(crops.reshape(inner.steps, inner.support, size, size, 3)),
        "query": jnp.asarray(crops[:1]),
    }
    params = Networks(vgg.random_params())
    problem = style_problem(settings.generator, settings.loss)

    @jax.jit
    def train(meta, task, params):
        prepared = problem.prepare(task, params)
        return inner_loop.inner_loop(problem.loss, meta, prepared.support, (prepared.target, params), inner)

    expected = train(meta, task, params)
    np.testing.assert_allclose(style.history, expected.support_losses, rtol=1e-5)
    for path, x in expected.fast.items():
        np.testing.assert_allclose(style.file.fast[path], x, rtol=6e-4, atol=1e-5, err_msg=path)  # float16
        assert np.abs(x - meta.fast[path]).max() > 1e-3


def test_on_style_is_given_every_style_on_the_way(start):
    seen = []
    style = fit(start, steps=4, on_style=seen.append)
    assert [x.file.steps for x in seen] == [0, 1, 2, 3, 4]
    assert_same(seen[-1], style)
    for steps in (0, 1, 3):
        assert_same(seen[steps], fit(start, steps=steps))
    only = []
    fit(start, steps=0, on_style=only.append)
    assert [x.file.steps for x in only] == [0] and not differ(only[0], seen[0])


def test_until_ends_when_ten_steps_gain_little(start):
    whole = fit(start, steps=26)
    gain = 1 - np.mean(whole.history[10:20]) / np.mean(whole.history[:10])
    until = (gain + 1) / 2  # more than that
    assert 0 < until < 1
    assert_same(fit(start, steps=26, until=until), fit(start, steps=20))


def test_steps_beyond_the_learned_ones_are_adam_at_the_bundles_rate(start):
    two, three = fit(start, steps=2), fit(start, steps=3)
    assert three.history[:2] == two.history
    moved = np.concatenate([np.abs(three.file.fast[path] - two.file.fast[path]).ravel() for path in two.file.fast])
    np.testing.assert_allclose(moved.mean(), start.bundle.adam_lr / adaptation.ADAM_WARMUP, rtol=0.02)  # float16


def test_adaptation_lowers_the_loss(start):
    history = fit(start, steps=40).history
    assert np.mean(history[-16:]) < 0.7 * np.mean(history[:2])


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_history_holds_the_loss_before_each_step_as_the_callback_is_told(start, steps):
    told = []
    style = fit(start, steps=steps, on_step=told.append)
    assert [s.step for s in told] == list(range(steps))
    assert tuple(s.loss for s in told) == style.history
    assert style.file.steps == len(style.history) == steps


def test_no_steps_give_the_start_and_need_no_weights(start, monkeypatch):
    monkeypatch.setattr(vgg_files, "load", None)
    style = fit(start, steps=0)
    assert style.history == ()
    for path, x in start.bundle.meta.fast.items():
        np.testing.assert_array_equal(style.file.fast[path], x)


def test_paths_pil_images_and_arrays_are_the_same(start, tmp_path):
    Image.fromarray(PAINTING).save(tmp_path / "a.png")
    Image.fromarray(PHOTOGRAPH).save(tmp_path / "b.png")

    def forms(name, pixels):
        floats = pixels / np.float32(255)
        return tmp_path / name, str(tmp_path / name), Image.fromarray(pixels), floats, floats.astype(np.float64)

    expected = fit(start, steps=3)
    for painting, photograph in zip(forms("a.png", PAINTING), forms("b.png", PHOTOGRAPH), strict=True):
        assert_same(fit(start, painting, steps=3, support=[photograph]), expected)
        np.testing.assert_array_equal(expected.stylize(photograph), expected.stylize(PHOTOGRAPH))


def test_one_picture_a_list_and_a_tuple_are_the_same(start):
    expected = fit(start)
    for one in ([PAINTING], (PAINTING,)):
        assert_same(fit(start, one), expected)
    assert_same(fit(start, support=PHOTOGRAPH), expected)


def test_several_pictures_are_one_target(start):
    both = fit(start, [PAINTING, OTHER])
    assert_same(fit(start, [PAINTING, PAINTING]), fit(start, PAINTING))
    np.testing.assert_allclose(fit(start, [OTHER, PAINTING]).history, both.history, rtol=1e-5)
    alone = [fit(start, one) for one in (PAINTING, OTHER)]
    assert all(differ(both, one) and both.history != one.history for one in alone)


def test_same_seed_and_input_give_the_same_style(start):
    assert_same(fit(start, steps=3), fit(metastyle.load(BUNDLE), steps=3))
    assert differ(fit(start, steps=3), fit(start, steps=3, seed=1))


def test_own_photographs_are_learned_on(start):
    assert differ(fit(start), fit(start, support=[OTHER]))
    assert_same(fit(start, support=None), fit(start, support=source.photographs(3, 16)))


def test_no_more_synthetic_photographs_are_drawn_than_steps_need_or_there_shall_be(start, monkeypatch):
    drawn, draw = [], source.photographs
    monkeypatch.setattr(material, "SYNTHETIC_POOL", 4)
    monkeypatch.setattr(source, "photographs", lambda count, *rest: drawn.append(count) or draw(count, *rest))
    for steps in (0, 1, 3):
        fit(start, steps=steps, support=None)
    assert drawn == [0, 2, 4]  # two for each step


def test_support_crops_go_round_the_photographs():
    crops = material.support_crops([PHOTOGRAPH, OTHER], 6, 16, 0, codec.MAX_PIXELS)
    assert len(crops) == 6 and all(crop.shape == (16, 16, 3) and crop.dtype == np.float32 for crop in crops)
    assert len({crop.tobytes() for crop in crops}) == 6
    for i, crop in enumerate(crops):  # each resembles the photograph whose turn it is
        errors = [np.abs(crop.mean((0, 1)) - p.mean((0, 1)) / 255).max() for p in (PHOTOGRAPH, OTHER)]
        assert np.argmin(errors) == i % 2
    assert len(material.support_crops([PHOTOGRAPH, OTHER], 1, 16, 0, codec.MAX_PIXELS)) == 1


def test_a_style_for_an_output_size_is_learned_from_tiles_of_that_size(start, tmp_path):
    large = fit(start, output_size=32, support=None)
    scaled = resize_short(codec.load(PAINTING)[0], 32)  # 38 x 32 px
    tiles = [scaled[y : y + 16, x : x + 16] for y in (0, 11, 22) for x in (0, 16)]
    assert_same(large, fit(start, tiles, support=None))
    assert (large.file.output_size, large.file.style_size) == (32, 16)
    assert differ(large, fit(start, support=None))
    large.save(tmp_path / "a.safetensors")
    assert stylizer.load_style(tmp_path / "a.safetensors", start).file.output_size == 32
    with refused("^`style_size`: expected none beside `output_size`"):
        fit(start, output_size=32, style_size=16)


def test_of_a_large_painting_no_more_than_sixteen_tiles_are_learned_and_they_are_spread():
    painting = np.zeros((160, 320, 3), np.float32)
    painting[..., 0] = np.arange(320) // 16 / 25  # columns of tiles by their red
    found = material.tiles(painting, 16, 160)
    assert len(found) == material.MOST_TILES and {x.shape for x in found} == {(16, 16, 3)}
    assert len({round(float(255 * x[..., 0].mean())) for x in found}) == 8
    (small,) = material.tiles(painting[:, :160], 16, 16)
    assert small.shape == (16, 16, 3)


def test_support_for_an_output_size_is_cut_without_a_change_of_scale():
    crops = material.support_crops([PHOTOGRAPH, OTHER], 6, 16, 0, codec.MAX_PIXELS, 40)
    for i, crop in enumerate(crops):
        scaled = resize_short(codec.load((PHOTOGRAPH, OTHER)[i % 2])[0], 40)
        windows = np.lib.stride_tricks.sliding_window_view(scaled, (16, 16), (0, 1)).transpose(0, 1, 3, 4, 2)
        assert np.abs(windows - crop).max((2, 3, 4)).min() < 0.01, i


def test_style_size(start):
    default, same, smaller = fit(start), fit(start, style_size=16), fit(start, style_size=20)
    assert_same(default, same)
    assert (default.file.style_size, smaller.file.style_size) == (16, 20)
    assert differ(default, smaller)


def test_weights_are_the_argument_else_those_of_training_else_vgg16(start, tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(vgg_files, "load", lambda weights: loaded.append(weights) or vgg.random_params())
    (tmp_path / "there.safetensors").touch()
    trained_with = ["random", "slim", str(tmp_path / "there.safetensors"), str(tmp_path / "gone.safetensors")]
    for weights in trained_with:
        settings = dataclasses.replace(start.bundle.config, vgg=weights)
        fit(stylizer.Stylizer(dataclasses.replace(start.bundle, config=settings)))
    fit(start, weights="mine.safetensors")
    assert loaded == ["random", "slim", trained_with[2], "vgg16", "mine.safetensors"]


@pytest.mark.slow
def test_an_encoder_reads_by_its_own_network_whatever_is_learned_with(start, tmp_path):
    settings, meta, own = start.bundle.config, start.bundle.meta, vgg.random_params()
    settings = dataclasses.replace(settings, encoder=config.Encoder(hidden=3, code=style_encoder.size(own)))
    weights = style_encoder.initial(settings.encoder, meta.fast, 0)
    weights["out/kernel"] = 0.1 * jnp.ones_like(weights["out/kernel"])
    bundle = dataclasses.replace(start.bundle, config=settings, meta=dataclasses.replace(meta, encoder=weights))
    wider = tmp_path / "wider.safetensors"
    vgg_files.save(wider, vgg_files.tensors(vgg.random_params(widths=(4,) * 10)), vgg.TORCHVISION)
    plain, ours, theirs = (
        [fit(stylizer.Stylizer(b), steps=k, weights=w) for k in (0, 1)]
        for b, w in ((start.bundle, None), (bundle, None), (bundle, wider))
    )
    assert differ(plain[0], ours[0])
    assert_same(ours[0], theirs[0])
    assert differ(ours[1], theirs[1]) and ours[1].history != theirs[1].history


def test_a_style_is_learned_and_kept_with_its_phases(start, tmp_path):
    one, four = fit(start), fit(start, phases=4)
    assert differ(one, four) and one.history != four.history
    assert (one.file.phases, four.file.phases) == (1, 4)
    photograph = picture(22, 30, seed=5)
    np.testing.assert_array_equal(four.stylize(photograph, phases=4), four.stylize(photograph))
    assert (four.stylize(photograph, phases=1) != four.stylize(photograph)).any()
    for self_contained in (False, True):
        four.save(tmp_path / "a.safetensors", self_contained=self_contained)
        again = stylizer.load_style(tmp_path / "a.safetensors", None if self_contained else start)
        assert again.config.generator.phases == 4
        np.testing.assert_array_equal(again.stylize(photograph), four.stylize(photograph))
    mixed = metastyle.blend([(one, 0.5), (four, 0.5)])
    assert mixed.config.generator.phases == mixed.file.phases == 4


def test_divergence_is_told_at_once_and_gives_no_style(start, tmp_path, monkeypatch):
    monkeypatch.setattr(resumable, "KEEP_EVERY", -1)  # seconds: always
    diverging, told = stylizer.Stylizer(dataclasses.replace(start.bundle, adam_lr=np.inf)), []
    message = "`steps`: the adaptation left the finite numbers within 9 steps; use fewer"
    for options in ({}, {"state_file": tmp_path / "x.state"}):
        with refused(message):
            fit(diverging, steps=9, on_step=told.append, **options)
    assert [s.step for s in told] == [0, 1, 2] * 2
    with safe_open(tmp_path / "x.state", "numpy") as kept:
        assert len(kept.get_tensor("history")) == 2  # the last good one


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "`steps`: expected a whole number of at least 0, got -1"),
        ({"steps": 1.5}, "`steps`: expected a whole number of at least 0, got 1.5"),
        ({"seed": -1}, "`seed`: expected a whole number of at least 0, got -1"),
        ({"output_size": 15}, "`output_size`: expected a whole number of at least 16, got 15"),
        ({"output_size": 30, "max_pixels": 800}, "`output_size`: expected at most 800 pixels, got 30 x 30"),
        ({"phases": 2}, "`phases`: expected one of 1, 4, 16, got 2"),
        ({"style_size": 15}, "`style_size`: expected a whole number of at least 16, got 15"),
        ({"styles": []}, "`style`: expected at least one picture, got none"),
        ({"support": []}, "`support`: expected at least one picture, got none"),
        (
            {"styles": [PAINTING, 3]},
            "`style`: expected a picture, got int; pass a path, the bytes of a file, ",
        ),
        ({"styles": [np.stack([PAINTING] * 2)]}, r"`style`: expected one picture, got 2 in .* shape \(2, 24, 20, 3\)"),
        ({"styles": PAINTING[:1, :1]}, "`style`: expected at least 2 x 2 pixels, got 1 x 1"),
        ({"max_pixels": 100}, "`style`: expected at most 100 pixels, got 20 x 24"),
        ({"max_pixels": 500}, "`support`: expected at most 500 pixels, got 30 x 22"),
    ],
)
def test_bad_argument(start, options, message):
    with refused(message):
        fit(start, **options)


def test_missing_files(start, tmp_path):
    gone = tmp_path / "gone"
    with refused("`style`: no such file: .*gone", FileNotFoundError):
        fit(start, [PAINTING, gone])
    with refused("`support`: no such file: .*gone", FileNotFoundError):
        fit(start, support=[gone])
    with refused("`vgg`: expected slim, .*gone", FileNotFoundError):
        fit(start, weights=gone)
    gone.write_bytes(b"no weights")
    with refused("`vgg`: .*gone is not a readable safetensors file"):
        fit(start, weights=gone)


# Stylising


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 23), (33, 18), (40, 61)])
def test_output_has_the_photographs_size(style, height, width):
    output = style.stylize(picture(height, width))
    assert output.shape == (height, width, 3) and output.dtype == np.uint8
    assert output.std() > 1


def test_too_small_photograph(style):
    for height, width in ((15, 40), (40, 15)):
        message = f"`content`: expected sides of at least 16 px, got {width} x {height}"
        with refused(message):
            style.stylize(picture(height, width))
    with refused("`content`: expected at most 600 pixels, got 30 x 22"):
        style.stylize(PHOTOGRAPH, max_pixels=600)


def test_file_is_what_stylize_returns(style, tmp_path):
    style.stylize_file(PHOTOGRAPH, tmp_path / "out.png")
    written = Image.open(tmp_path / "out.png")
    assert written.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(written), style.stylize(PHOTOGRAPH))


def test_transparency_is_kept(style, tmp_path):
    transparent = picture(22, 30, channels=4)
    transparent[:4, :, 3] = 0
    style.stylize_file(Image.fromarray(transparent), tmp_path / "out.png")
    written = np.asarray(Image.open(tmp_path / "out.png"))
    np.testing.assert_array_equal(written[..., 3], transparent[..., 3])
    alpha = transparent[..., 3:] / np.float32(255)
    on_white = transparent[..., :3] / np.float32(255) * alpha + (1 - alpha)
    shown = written[..., :3] / np.float32(255) * alpha + (1 - alpha)
    expected = np.where(alpha > 0, np.maximum(style.stylize(on_white) / np.float32(255), 1 - alpha), 1)
    np.testing.assert_allclose(shown, expected, atol=1.01 / 255)  # on white nothing can be darker than that


def test_bad_output_is_told_before_the_photograph_is_read(style, tmp_path):
    gone = tmp_path / "gone"
    with refused("`out`: no such folder", FileNotFoundError):
        style.stylize_file(gone, gone / "out.png")
    with refused("`out`: expected a name that ends in"):
        style.stylize_file(gone, tmp_path / "out.txt")
    with refused("`content`: no such file", FileNotFoundError):
        style.stylize_file(gone, tmp_path / "out.png")
    assert list(tmp_path.iterdir()) == []


# Style files


@pytest.fixture
def moved(tmp_path):
    """A bundle at a path of its own, as (stylizer, folder)."""
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    return metastyle.load(tmp_path / "bundle"), tmp_path / "bundle"


def other_bundle(folder, **changes):
    """A bundle like the one of format 1, but for `changes` of its tensors, by part."""
    bundle = bundles.load_bundle(BUNDLE)
    parts = bundle.meta.parts().items()
    meta = {part: {p: x + changes.get(part, 0) for p, x in flat.items()} for part, flat in parts}
    bundles.save_bundle(folder, dataclasses.replace(bundle, meta=Meta(**meta)))
    return folder


@pytest.mark.parametrize("self_contained", [False, True])
def test_saved_style_makes_the_same_pictures(start, style, tmp_path, self_contained):
    style.save(tmp_path / "a.safetensors", self_contained=self_contained)
    loaded = metastyle.load_style(tmp_path / "a.safetensors")
    assert_same(loaded, style)
    assert loaded.file == dataclasses.replace(style.file, fast=loaded.file.fast)
    np.testing.assert_array_equal(loaded.stylize(PHOTOGRAPH), style.stylize(PHOTOGRAPH))


def test_style_file_holds_the_fast_parameters_alone(style, tmp_path):
    style.save(tmp_path / "a.safetensors")
    style.save(tmp_path / "b.safetensors", self_contained=True)
    loaded = style_files.load_style(tmp_path / "a.safetensors")
    assert loaded.slow is None and loaded.config is None and loaded.fast.keys() == style.file.fast.keys()
    assert (loaded.bundle, loaded.scope, loaded.steps) == (str(BUNDLE.resolve()), "norm", 2)
    assert (tmp_path / "a.safetensors").stat().st_size < 2000 < (tmp_path / "b.safetensors").stat().st_size


def test_loaded_self_contained_style_can_be_saved_either_way(style, tmp_path):
    style.save(tmp_path / "a.safetensors", self_contained=True)
    loaded = metastyle.load_style(tmp_path / "a.safetensors")
    loaded.save(tmp_path / "b.safetensors", self_contained=True)
    (tmp_path / "a.safetensors").unlink()
    np.testing.assert_array_equal(metastyle.load_style(tmp_path / "b.safetensors").stylize(OTHER), style.stylize(OTHER))
    loaded.save(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(metastyle.load_style(tmp_path / "c.safetensors").stylize(OTHER), style.stylize(OTHER))


def test_bundle_comes_from_the_argument(moved, tmp_path):
    start, folder = moved
    style = fit(start)
    style.save(tmp_path / "a.safetensors")
    shutil.rmtree(folder)
    for bundle in (BUNDLE, str(BUNDLE), metastyle.load(BUNDLE)):
        loaded = metastyle.load_style(tmp_path / "a.safetensors", bundle=bundle)
        np.testing.assert_array_equal(loaded.stylize(PHOTOGRAPH), style.stylize(PHOTOGRAPH))
        assert loaded.file.bundle == str(BUNDLE.resolve())
    with pytest.raises(FileNotFoundError, match="`bundle`: expected a folder"):
        metastyle.load_style(tmp_path / "a.safetensors", folder)


def test_argument_goes_before_the_recorded_path_and_the_files_own_tensors(moved, tmp_path):
    start, folder = moved
    for name, self_contained in (("a", False), ("b", True)):
        fit(start).save(tmp_path / f"{name}.safetensors", self_contained=self_contained)
        other = other_bundle(tmp_path / "other", slow=0.1)
        with refused("another bundle than"):
            metastyle.load_style(tmp_path / f"{name}.safetensors", bundle=other)


def test_recorded_path_is_absolute(moved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    style = fit(metastyle.load("bundle"))
    style.save("a.safetensors")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    loaded = metastyle.load_style("../a.safetensors")
    assert loaded.file.bundle == str((tmp_path / "bundle").resolve())
    np.testing.assert_array_equal(loaded.stylize(PHOTOGRAPH), style.stylize(PHOTOGRAPH))


def test_no_bundle_to_be_found(moved, tmp_path):
    start, folder = moved
    fit(start).save(tmp_path / "a.safetensors")
    fit(stylizer.Stylizer(dataclasses.replace(start.bundle, path=None))).save(tmp_path / "b.safetensors")
    shutil.rmtree(folder)
    for name, message in (("a", f"the recorded {folder} is not there"), ("b", "the file records none")):
        with refused(f"`bundle`: .*, and {message}; pass --bundle"):
            metastyle.load_style(tmp_path / f"{name}.safetensors")


def test_self_contained_style_needs_no_bundle(moved, tmp_path):
    start, folder = moved
    style = fit(start)
    style.save(tmp_path / "a.safetensors", self_contained=True)
    shutil.rmtree(folder)
    loaded = metastyle.load_style(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(loaded.stylize(PHOTOGRAPH), style.stylize(PHOTOGRAPH))


def test_bundle_that_was_trained_on_at_the_recorded_path(moved, tmp_path):
    start, folder = moved
    fit(start).save(tmp_path / "a.safetensors")
    digest = start.bundle.slow_sha256[:12]
    other_bundle(folder, slow=0.1)
    got = metastyle.load(folder).bundle.slow_sha256[:12]
    message = f"`bundle`: .* from another bundle than {re.escape(str(folder))} .* {digest}, got .* {got}.*pass --bundle"
    with refused(message):
        metastyle.load_style(tmp_path / "a.safetensors")


def test_same_slow_tensors_are_enough(moved, tmp_path):
    """Nothing else is needed of a bundle: not its start, not its rates."""
    start, _ = moved
    style = fit(start)
    style.save(tmp_path / "a.safetensors")
    other = other_bundle(tmp_path / "other", fast=0.5, log_lr=1)
    loaded = metastyle.load_style(tmp_path / "a.safetensors", bundle=other)
    np.testing.assert_array_equal(loaded.stylize(PHOTOGRAPH), style.stylize(PHOTOGRAPH))


def everything_fast(folder, arch):
    """A bundle in which the tensors of format 1's are all fast, as far as `arch` has them."""
    bundle = bundles.load_bundle(BUNDLE)
    net = dataclasses.replace(bundle.config.generator, arch=arch)
    inner = dataclasses.replace(bundle.config.inner, scope="all")
    fast = {path: (bundle.meta.fast | bundle.meta.slow)[path] for path in generator.shapes(net)}
    meta = Meta(fast=fast, slow={}, log_lr=inner_loop.initial_log_lr(fast, inner))
    settings = dataclasses.replace(bundle.config, generator=net, inner=inner)
    bundles.save_bundle(folder, bundles.Bundle(settings, meta, 0.01))
    return folder


def test_where_nothing_is_slow_the_architecture_tells_bundles_apart(tmp_path):
    arch = "s4,c3s1-4,R4x1,p4-3,skip"
    style = fit(metastyle.load(everything_fast(tmp_path / "bundle", arch)), steps=0)
    style.save(tmp_path / "a.safetensors")
    loaded = metastyle.load_style(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(loaded.stylize(PHOTOGRAPH), style.stylize(PHOTOGRAPH))
    other = everything_fast(tmp_path / "other", "s4,c3s1-4,R4x1,p4-3")
    with refused("expected .*,skip with .* got .*,p4-3 with"):
        metastyle.load_style(tmp_path / "a.safetensors", other)


def test_fast_parameters_of_another_shape(start, style, tmp_path):
    file = dataclasses.replace(style.file, fast={path: x[:2] for path, x in style.file.fast.items()})
    style_files.save_style(tmp_path / "a.safetensors", file)
    with refused("was adapted from another bundle"):
        metastyle.load_style(tmp_path / "a.safetensors", start)


def test_style_can_only_be_saved_where_a_style_file_can_be(style, tmp_path, monkeypatch):
    with refused("`out`: expected a name that ends in .safetensors"):
        style.save(tmp_path / "a.npz")
    with refused("`out`: no such folder", FileNotFoundError):
        style.save(tmp_path / "gone" / "a.safetensors")
    with refused("`out`: expected a file to write, got the folder"):
        style.save(tmp_path)
    monkeypatch.setattr(codec.os, "access", lambda path, mode: False)
    with refused("`out`: cannot write in the folder"):
        style.save(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_loading_changes_no_setting_of_jax(style, tmp_path):
    before = dict(jax.config.values)
    style.save(tmp_path / "a.safetensors", self_contained=True)
    metastyle.load_style(tmp_path / "a.safetensors")
    metastyle.load(BUNDLE)
    assert dict(jax.config.values) == before


# Long work


def stopping(at):
    """An `on_step` that asks the process to stop at that step."""
    return lambda s: os.kill(os.getpid(), signal.SIGTERM) if s.step == at else None


@pytest.mark.parametrize("at", [1, 6], ids=["in the learned steps", "in those of Adam"])
def test_a_stopped_adaptation_goes_on_as_if_it_had_never_stopped(start, tmp_path, at):
    state_file, told = tmp_path / "x.state", []
    with pytest.raises(Stopped, match=f"^stopped after step {at + 1} of 9; the same line continues$"):
        fit(start, steps=9, state_file=state_file, on_step=stopping(at))
    continued = fit(start, steps=9, state_file=state_file, on_step=lambda s: told.append(s.step))
    assert told == list(range(at + 1, 9))
    assert_same(continued, fit(start, steps=9))


def test_a_state_file_of_other_work_is_refused(start, tmp_path):
    state_file = tmp_path / "x.state"
    with pytest.raises(Stopped):
        fit(start, steps=9, state_file=state_file, on_step=stopping(4))
    with refused("`style`: the run that .*x.state continues has"):
        fit(start, OTHER, steps=9, state_file=state_file)
    message = "`steps`: the work that .*x.state continues has done 5, got 3; ask for at least 5, use another"
    with refused(message):
        fit(start, steps=3, state_file=state_file)
    state_file.write_bytes(state_file.read_bytes()[:100])
    with refused("`out`: cannot continue .*x.state, which is damaged"):
        fit(start, steps=9, state_file=state_file)
