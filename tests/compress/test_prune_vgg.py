"""Where distillation starts: a pruned teacher, or a slim network that is there already."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metastyle.compress import distill_vgg, prune_vgg
from metastyle.errors import InputError
from metastyle.losses import perceptual
from metastyle.nets import vgg
from metastyle.train import distillation
from metastyle.weights import vgg_files
from tests.support.toy_distillation import FULL, FULL_RANK, LOSS, PICTURES, RANKS, SLIM, TEACHER, seen_of, settings

objective = jax.jit(distill_vgg.objective, static_argnums=4)


@pytest.mark.slow
def test_pruning_nothing_is_the_teacher():
    slim, scale = prune_vgg.prune(TEACHER, PICTURES, FULL, FULL_RANK)
    loss, metrics = objective(slim, seen_of(), TEACHER, scale, LOSS)
    assert set(metrics) == set(distill_vgg.METRICS)
    assert max(map(float, metrics.values())) < 1e-6 and float(loss) < 1e-6


def feature_errors(slim, scale):
    """What the objective calls features_*, without compiling it."""
    seen = jnp.concatenate(list(seen_of().values()))
    ours, theirs = vgg.features(prune_vgg.network(slim, TEACHER), seen), vgg.features(TEACHER, seen)
    return {t: float(perceptual.ratio(ours[t] @ slim.maps[t], theirs[t] * scale[t]).mean()) for t in vgg.TAPS}


@pytest.mark.slow
def test_pruning_leaves_less_the_narrower_and_more_than_random_features():
    errors = []
    for widths in (FULL, SLIM, (2,) * 10):
        slim, scale = prune_vgg.prune(TEACHER, PICTURES, widths, FULL_RANK)
        assert [slim.vgg[layer]["kernel"].shape[-1] for layer in vgg.LAYERS] == list(widths)
        errors.append(list(feature_errors(slim, scale).values()))
    assert (np.diff(errors, axis=0) > 0).all() and np.max(errors) < 1


@pytest.mark.slow
def test_a_kernel_of_lower_rank_loses_more_and_one_of_full_rank_nothing():
    errors = []
    for rank in (8, 4, 2):
        slim, scale = prune_vgg.prune(TEACHER, PICTURES, FULL, (0,) * 5 + (rank,) * 5)
        assert slim.vgg["conv4_3"]["mix"].shape == (rank, 8)
        errors.append(feature_errors(slim, scale)["relu4_3"])
    assert errors[0] < 1e-6 < errors[1] < errors[2] < 1


@pytest.mark.slow
def test_every_layer_starts_at_rms_1():
    slim, _ = prune_vgg.prune(TEACHER, PICTURES, SLIM, RANKS)
    relus = tuple(f"relu{layer[4:]}" for layer in vgg.LAYERS)
    for x in vgg.features(prune_vgg.network(slim, TEACHER), PICTURES, relus).values():
        np.testing.assert_allclose(np.sqrt(np.square(x).mean()), 1, rtol=1e-4)


def test_pivots_take_what_explains_most_first_and_nothing_twice():
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(100, 3)) * [10, 3, 1]
    features = np.stack([basis[:, 0], 0.99 * basis[:, 0], basis[:, 2], basis[:, 1]], 1)
    products = features.T @ features
    assert prune_vgg._pivots(products, 3) == [0, 3, 2]
    assert sorted(prune_vgg._pivots(products, 4)) == [0, 1, 2, 3]


def saved(path, slim):
    distillation.save_network(prune_vgg.network(slim, TEACHER), path)
    return str(path)


@pytest.mark.slow
def test_a_network_that_is_taken_up_is_itself_and_its_maps_are_those_of_pruning(tmp_path):
    pruned, scale = prune_vgg.prune(TEACHER, PICTURES, SLIM, RANKS)
    start = saved(tmp_path / "slim.safetensors", pruned)
    slim, again = prune_vgg.continue_from(vgg_files.load(start), settings(), TEACHER, PICTURES)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), slim.vgg, pruned.vgg)
    for tap in vgg.TAPS:
        np.testing.assert_allclose(again[tap], scale[tap], rtol=1e-5)
    before, after = feature_errors(pruned, scale), feature_errors(slim, again)
    for tap in vgg.TAPS:
        assert after[tap] == pytest.approx(before[tap], rel=0.02, abs=1e-4)


@pytest.mark.slow
def test_a_run_goes_on_from_a_network_that_is_there(tmp_path):
    pruned, _ = prune_vgg.prune(TEACHER, PICTURES, SLIM, RANKS)
    start = saved(tmp_path / "slim.safetensors", pruned)
    state = distill_vgg.initial_state(settings(), TEACHER, PICTURES, vgg_files.load(start))
    assert jax.tree.structure(state) == jax.tree.structure(distill_vgg.initial_state(settings(), TEACHER, PICTURES))
    np.testing.assert_allclose(state.slim.vgg["conv1_1"]["kernel"], pruned.vgg["conv1_1"]["kernel"], rtol=1e-3)


def test_only_a_network_of_distillation_and_of_these_widths_is_taken_up(tmp_path):
    other, _ = prune_vgg.prune(TEACHER, PICTURES, SLIM, FULL_RANK)
    vgg_files.save(tmp_path / "teacher.safetensors", vgg_files.tensors(TEACHER), vgg.TORCHVISION)
    same = dict(widths=FULL, ranks=FULL_RANK, start=str(tmp_path / "teacher.safetensors"))
    for asked in (settings(start=saved(tmp_path / "other.safetensors", other)), settings(**same)):
        with pytest.raises(InputError, match="`start`: expected a network that distillation made, of `widths`"):
            prune_vgg.continue_from(vgg_files.load(asked.start), asked, TEACHER, PICTURES)
    with pytest.raises(FileNotFoundError, match="`start`: expected"):
        distillation.distill(settings(start="nothing.safetensors"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_slim_network_has_its_zero_where_the_teacher_has():
    """Both pad with it."""
    slim, _ = prune_vgg.prune(TEACHER, PICTURES, SLIM, RANKS)
    np.testing.assert_array_equal(prune_vgg.network(slim, TEACHER)["input"]["mean"], TEACHER["input"]["mean"])
