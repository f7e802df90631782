"""Losses against golden values of another framework, against numpy, and their identities."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.config import Loss
from metastyle.losses import perceptual
from metastyle.losses.grid import grid_loss
from metastyle.nets import vgg
from metastyle.nets.octaves import octaves
from metastyle.weights import vgg_files
from tests.support.places import WEIGHTS
from tests.support.toy import relative_error

GRAM, MEAN_STD = Loss(), Loss(statistic="mean_std")
PAPER = Loss(kind="paper", style=1e5)
KINDS = {"gram": GRAM, "mean_std": MEAN_STD, "paper": PAPER}
PARAMS = vgg.random_params()
SILENT, CONSTANT = (  # every feature is 0, or 1
    {k: v if k == "input" else {"kernel": 0 * v["kernel"], "bias": 0 * v["bias"] + x} for k, v in PARAMS.items()}
    for x in (0, 1)
)

FEATURES = jax.jit(vgg.features, static_argnums=(2, 3))

every_kind = pytest.mark.parametrize("loss", KINDS.values(), ids=KINDS)
every_statistic = pytest.mark.parametrize("loss", [GRAM, MEAN_STD], ids=["gram", "mean_std"])


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch):
    """The network alone is compiled: one compilation serves every kind of loss."""
    monkeypatch.setattr(vgg, "features", FEATURES)


def pictures(count, seed=0, side=16):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(count, side, side, 3)), jnp.float32)


def parts(outputs, photographs, style, loss, params=PARAMS):
    """`losses.perceptual` from pictures."""
    content, target = perceptual.content_target(params, photographs, loss), perceptual.style_target(params, style, loss)
    return perceptual.perceptual(params, outputs, content, target, loss)


# Golden values


@pytest.mark.slow
def test_golden_grams_and_losses(sample_data):
    golden = np.load(sample_data / "weights/golden.npz")
    params = vgg_files.load(sample_data / WEIGHTS)
    image, style, output = (jnp.asarray(golden[name])[None] for name in ("image", "style", "output"))
    with jax.default_matmul_precision("highest"):
        target = perceptual.style_target(params, image, GRAM)
        ours = parts(output, image, style, GRAM, params)
    for tap in vgg.TAPS:
        expected = golden[f"gram_{tap}"]
        assert relative_error(target[tap]["gram"][0, : len(expected), : len(expected)], expected) < 1e-5, tap
    assert relative_error(ours.content, golden["content_loss"]) < 1e-5
    assert relative_error(ours.style, golden["style_loss"]) < 1e-5
    assert relative_error(ours.total, golden["content_loss"] + 5 * golden["style_loss"]) < 1e-5


# Statistics


def test_gram_is_numpy_s():
    features = np.random.default_rng(0).normal(size=(2, 5, 7, 11)).astype(np.float32)
    expected = [x.reshape(-1, 11).T.astype(np.float64) @ x.reshape(-1, 11) / 35 for x in features]
    np.testing.assert_allclose(perceptual.gram(features), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_gradients_of_gram_are_those_of_the_plain_product(count):
    features = jnp.asarray(np.random.default_rng(0).normal(size=(count, 3, 4, 3)), jnp.float32)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(count, 3, 3)), jnp.float32)  # not symmetric
    plain = lambda x: jnp.einsum("nhwc,nhwd->ncd", x, x) / 12
    of = lambda gram: lambda x: (weights * jnp.square(gram(x) - 0.3)).sum()
    for derivative in (jax.grad, jax.jacfwd, jax.hessian):
        assert relative_error(derivative(of(perceptual.gram))(features), derivative(of(plain))(features)) < 1e-5


def test_gram_s_gradient_is_one_product():
    features = jnp.ones((1, 4, 4, 3))
    gradient = jax.make_jaxpr(jax.vjp(perceptual.gram, features)[1])(jnp.ones((1, 3, 3)))
    assert str(gradient).count("dot_general") == 1


def test_moments_are_numpy_s():
    features = np.random.default_rng(0).normal(3, 2, size=(2, 5, 7, 11)).astype(np.float32)
    mean, variance = perceptual.moments(features)
    np.testing.assert_allclose(mean, features.mean((1, 2), np.float64), rtol=1e-5)
    np.testing.assert_allclose(variance, features.var((1, 2), np.float64), rtol=1e-5)


def test_total_variation_of_known_pictures():
    ramp = np.tile(np.arange(8)[:, None, None] / 10, (1, 4, 3))  # 0.1 from row to row
    checkerboard = np.tile((np.indices((8, 4)).sum(0) % 2)[..., None], (1, 1, 3))
    constant = np.full((8, 4, 3), 0.3)
    images = jnp.asarray([ramp, checkerboard, constant], jnp.float32)
    np.testing.assert_allclose(perceptual.total_variation(images), [0.1, 2, 0], rtol=1e-6)


def test_gram_target_of_shots_is_the_unweighted_mean():
    shots = pictures(3)
    target = perceptual.style_target(PARAMS, shots, GRAM)
    for tap, x in vgg.features(PARAMS, shots).items():
        flat = np.asarray(x, np.float64).reshape(3, -1, x.shape[-1])
        expected = np.mean([f.T @ f / len(f) for f in flat], 0)
        assert target[tap]["gram"].shape == (1, *expected.shape)
        assert relative_error(target[tap]["gram"][0], expected) < 1e-5, tap


def test_mean_std_target_of_shots_is_that_of_all_pixels_pooled():
    shots = pictures(3) * jnp.array([0.2, 0.5, 1.0])[:, None, None, None]  # means that differ
    target = perceptual.style_target(PARAMS, shots, MEAN_STD)
    for tap, x in vgg.features(PARAMS, shots).items():
        pixels = np.asarray(x, np.float64).reshape(-1, x.shape[-1])
        assert relative_error(target[tap]["mean"][0], pixels.mean(0)) < 1e-5, tap
        assert relative_error(target[tap]["variance"][0], pixels.var(0)) < 1e-5, tap


@every_statistic
def test_pictures_measured_one_by_one_give_the_target_of_all(loss):
    shots = pictures(3)
    together = perceptual.style_target(PARAMS, shots, loss)
    alone = perceptual.mean_target([perceptual.style_target(PARAMS, shots[i : i + 1], loss) for i in range(3)])
    assert jax.tree.map(jnp.shape, alone) == jax.tree.map(jnp.shape, together)
    assert relative_error(alone, together) < 1e-5


def test_pictures_of_different_sizes_weigh_the_same():
    targets = [
        perceptual.style_target(PARAMS, picture, GRAM) for picture in (pictures(1), pictures(1, seed=1, side=24))
    ]
    expected = jax.tree.map(lambda a, b: (a + b) / 2, *targets)
    assert relative_error(perceptual.mean_target(targets), expected) < 1e-6


# Octaves


@every_kind
def test_the_style_loss_is_the_mean_over_octaves_and_the_content_loss_of_the_picture_itself(loss):
    output, photograph, style = pictures(1, side=32), pictures(1, seed=1, side=32), pictures(1, seed=2, side=32)
    found = parts(output, photograph, style, dataclasses.replace(loss, octaves=3))
    alone = [parts(*scaled, loss) for scaled in zip(*(octaves(x, 3) for x in (output, photograph, style)), strict=True)]
    np.testing.assert_allclose(found.by_octave[0], [float(x.style[0]) for x in alone], rtol=1e-5)
    np.testing.assert_allclose(found.style, found.by_octave.mean(1), rtol=1e-5)
    np.testing.assert_allclose(found.content, alone[0].content, rtol=1e-6)
    np.testing.assert_allclose(found.total, loss.content * found.content + loss.style * found.style, rtol=1e-5)


@every_statistic
def test_pictures_measured_one_by_one_give_the_target_of_all_at_every_octave(loss):
    loss, shots = dataclasses.replace(loss, octaves=2), pictures(2)
    together = perceptual.style_target(PARAMS, shots, loss)
    alone = perceptual.mean_target([perceptual.style_target(PARAMS, x[None], loss) for x in shots])
    assert sorted(alone) == sorted([*vgg.TAPS, *(f"{tap}/2" for tap in vgg.TAPS)])
    assert relative_error(alone, together) < 1e-5


# The loss


@pytest.mark.slow
@every_kind
def test_a_batch_gives_each_picture_its_own_loss(loss):
    outputs, photographs, style = pictures(3), pictures(3, seed=1), pictures(1, seed=2)
    batch = parts(outputs, photographs, style, loss)
    assert {part.shape for part in batch[:-1]} == {(3,)} and batch.by_octave.shape == (3, 1)
    alone = [parts(outputs[i : i + 1], photographs[i : i + 1], style, loss) for i in range(3)]
    for name, part in batch._asdict().items():
        np.testing.assert_allclose(part, [getattr(one, name)[0] for one in alone], rtol=1e-4, err_msg=name)


@every_kind
def test_a_picture_is_its_own_content_and_style(loss):
    picture = pictures(1)
    same, other = parts(picture, picture, picture, loss), parts(1 - picture, picture, picture, loss)
    for name in ("content", "style"):
        assert 0 <= getattr(same, name)[0] < 1e-9 * getattr(other, name)[0], name


@every_statistic
def test_the_relative_loss_does_not_depend_on_the_scale_of_features(loss):
    """Without biases every feature of the network is proportional to its first layer."""
    scaled = PARAMS | {"conv1_1": jax.tree.map(lambda x: 30 * x, PARAMS["conv1_1"])}
    triple = [pictures(1, seed) for seed in range(3)]
    assert (
        relative_error(vgg.features(scaled, triple[0])["relu4_3"] / 30, vgg.features(PARAMS, triple[0])["relu4_3"])
        < 1e-5
    )
    assert relative_error(parts(*triple, loss, scaled), parts(*triple, loss)) < 1e-4


def numpy_loss(out, photo, style, kind, unit):
    """(content, style) from features, dicts of f64[1, h, w, C]; `unit`: how many times larger than the paper's."""
    gram = lambda x: np.einsum("nhwc,nhwd->cd", x, x) / (x.shape[1] * x.shape[2])
    pairs = [(gram(out[tap]), gram(style[tap])) for tap in vgg.TAPS]
    if kind == "relative":
        content = ((out["relu3_3"] - photo["relu3_3"]) ** 2).sum() / (photo["relu3_3"] ** 2).sum()
        return content, np.mean([((a - b) ** 2).sum() / (b**2).sum() for a, b in pairs])
    content = np.mean(((out["relu2_2"] - photo["relu2_2"]) / unit) ** 2)
    return content, sum(np.mean(((a - b) / len(a) / unit**2) ** 2) for a, b in pairs)


@pytest.mark.parametrize("loss", [GRAM, PAPER], ids=["relative", "paper"])
@pytest.mark.parametrize("network", ["torchvision", "caffe"])
def test_the_loss_is_numpy_s(loss, network):
    loss = dataclasses.replace(loss, content=2.0, tv=0.3, grid=0.2)
    unit, std = {"torchvision": (1.0, vgg.TORCHVISION.std), "caffe": (57.63, vgg.CAFFE.std)}[network]
    params = PARAMS | {"input": PARAMS["input"] | {"std": jnp.asarray(std)}}
    triple = [pictures(1, seed) for seed in range(3)]
    features = [{tap: np.asarray(x, np.float64) for tap, x in vgg.features(params, y).items()} for y in triple]
    content, style = numpy_loss(*features, loss.kind, unit)
    ours = parts(*triple, loss, params)
    tv, grid = perceptual.total_variation(triple[0]), grid_loss(triple[0])
    assert relative_error(ours.content, content) < 1e-3
    assert relative_error(ours.style, style) < 1e-3
    assert relative_error(ours.tv, tv) < 1e-6 and relative_error(ours.grid, grid) < 1e-6
    assert relative_error(ours.total, 2 * ours.content + loss.style * ours.style + 0.3 * tv + 0.2 * grid) < 1e-6


def test_the_style_loss_of_means_and_deviations_is_numpy_s():
    out, style = pictures(1), pictures(1, 2)
    expected = []
    for both in zip(*(vgg.features(PARAMS, x).values() for x in (out, style)), strict=True):
        wide = [np.asarray(x, np.float64) for x in both]
        a, b = (np.concatenate([x.mean((0, 1, 2)), x.std((0, 1, 2))]) for x in wide)
        expected.append(np.square(a - b).sum() / np.square(b).sum())
    assert relative_error(parts(out, out, style, MEAN_STD).style[0], np.mean(expected)) < 1e-3


@partial(jax.jit, static_argnums=4)
def value_and_gradient(outputs, params, content, target, loss):
    return jax.value_and_grad(lambda x: perceptual.perceptual(params, x, content, target, loss).total.sum())(outputs)


@pytest.mark.slow
@every_statistic
def test_flat_pictures_and_flat_features_give_finite_losses_and_gradients(loss):
    """Black and white in every role. Features of 0 have no norm to divide by, equal ones no slope of their std."""
    black, white, picture = jnp.zeros((1, 16, 16, 3)), jnp.ones((1, 16, 16, 3)), pictures(1)
    outputs, photographs = jnp.concatenate([black, white, picture]), jnp.concatenate([picture, white, black])
    for params in (PARAMS, SILENT, CONSTANT):
        content, target = (
            perceptual.content_target(params, photographs, loss),
            perceptual.style_target(params, black, loss),
        )
        value, gradient = value_and_gradient(outputs, params, content, target, loss)
        assert jnp.isfinite(value) and jnp.isfinite(gradient).all()
        assert (params is not PARAMS) == (value == 0) == (not gradient.any())
