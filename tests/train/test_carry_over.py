"""A bundle for another loss network: what is kept of its guesses, and what is refused.

The other one has the same features but for the last tap: one channel less, in another order and on another scale.
"""

import dataclasses

import jax
import numpy as np
import pytest

from metastyle import config
from metastyle.errors import InputError
from metastyle.meta import outer_loop
from metastyle.meta.parameters import guess_start
from metastyle.nets import style_encoder, vgg
from metastyle.train import carry_over
from metastyle.weights import bundles, loss_network, vgg_files
from tests.support import toy
from tests.support.encoders import LENGTH, PARAMS, network_settings, with_weights

LAST = PARAMS["conv4_3"]
OTHER = PARAMS | {"conv4_3": {"kernel": 3 * LAST["kernel"][..., [5, 4, 3, 2, 1]], "bias": LAST["bias"][:5]}}


@pytest.fixture
def given(tmp_path):
    """A bundle with an encoder of PARAMS, and both networks as files."""
    settings = network_settings()
    data = {"content": "procedural", "style": "procedural", "size": 32}
    settings = config.from_dict(dataclasses.asdict(settings) | {"data": data})
    bundles.save_bundle(tmp_path / "b", bundles.Bundle(settings, with_weights(settings), 1e-3))
    for name, params in {"before": PARAMS, "after": OTHER}.items():
        vgg_files.save(tmp_path / f"{name}.safetensors", vgg_files.tensors(params), vgg.TORCHVISION)
    return tmp_path


def carried(folder, **changes):
    names = [folder / "b", str(folder / "before.safetensors"), str(folder / "after.safetensors"), folder / "out"]
    return carry_over.carry_over(*names, **{"styles": 240} | changes)


@pytest.mark.slow
def test_the_bundle_reads_the_other_network_and_guesses_about_the_same(given):
    lost = carried(given)
    before, after = bundles.load_bundle(given / "b"), bundles.load_bundle(given / "out")
    assert after.config.vgg == str(given / "after.safetensors")
    assert before.config.encoder.code == LENGTH and after.config.encoder.code == style_encoder.size(OTHER)
    loss_network.check_reads(after, OTHER)
    same_size = vgg.random_params(1, widths=[len(OTHER[layer]["bias"]) for layer in vgg.LAYERS])
    style_encoder.check(after.config, same_size)
    with pytest.raises(InputError, match="`vgg`: expected the loss network that the encoder was trained with"):
        loss_network.check_reads(after, same_size)
    unrecorded = dataclasses.replace(after, network_sha256="")  # as bundles were at first
    loss_network.check_reads(unrecorded, same_size)
    for part in ("fast", "slow", "log_lr"):
        jax.tree.map(np.testing.assert_array_equal, before.meta.parts()[part], after.meta.parts()[part])
    assert 0 < lost < 0.5


@pytest.mark.slow
def test_a_narrower_encoder_loses_more(given):
    assert carried(given, hidden=1) > carried(given)
    assert bundles.load_bundle(given / "out").config.encoder.hidden == 4


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"styles": 20}, f"`styles`: expected at least {2 * style_encoder.size(OTHER)}, .*, got 20"),
        ({"hidden": 5}, "`hidden`: expected 1 to 4, .*, got 5"),
    ],
)
def test_what_does_not_fit_is_one_line_and_nothing_is_written(given, changes, message):
    with pytest.raises(InputError, match=message):
        carried(given, **changes)
    assert not (given / "out").exists()


def test_networks_the_wrong_way_round_are_refused(given):
    names = [given / "b", str(given / "after.safetensors"), str(given / "before.safetensors"), given / "out"]
    with pytest.raises(InputError, match="`vgg_before`: expected the loss network that the encoder is for"):
        carry_over.carry_over(*names)
    names[1] = str(given / "gone.safetensors")
    with pytest.raises(FileNotFoundError, match="`vgg_before`: expected .*gone"):
        carry_over.carry_over(*names)


def test_a_bundle_without_an_encoder_needs_none(given):
    settings = toy.settings()
    start = bundles.Bundle(settings, outer_loop.initial_meta(settings), 1e-3)
    bundles.save_bundle(given / "b", start)
    with pytest.raises(InputError, match="`bundle`: expected one with an encoder"):
        carried(given)


def codes(seed=0, count=200):
    """Of the same styles by two networks: the second's are linear in the first's."""
    rng = np.random.default_rng(seed)
    before = rng.normal(size=(count, 6)).astype(np.float32)
    turn = np.random.default_rng(9).normal(size=(6, 9))
    return before, (before @ turn).astype(np.float32)


def guesses(weights, codes, start):
    fast = [guess_start(dataclasses.replace(start, encoder=weights), code).fast for code in codes]
    return np.stack([np.concatenate([np.ravel(x) for x in flat.values()]) for flat in fast])


def carried_error(hidden):
    settings = config.from_dict({"generator": {"arch": toy.ARCH}, "encoder": {"hidden": 8, "code": 6}})
    start, (before, after), (unseen, unseen_after) = with_weights(settings), codes(), codes(1)
    weights = carry_over.refit_encoder(start.encoder, before, after, hidden)
    assert weights["hidden/kernel"].shape == (9, hidden)
    goal, found = guesses(start.encoder, unseen, start), guesses(weights, unseen_after, start)
    return np.square(found - goal).sum() / np.square(goal - goal.mean(0)).sum()


def test_carried_over_it_guesses_nearly_the_same_from_other_codes_and_less_with_fewer_units():
    errors = [carried_error(hidden) for hidden in (8, 6, 2)]
    assert errors[0] < 0.2 and errors[0] < errors[1] < errors[2] < 1


def test_it_cannot_be_carried_over_to_more_units():
    start, (before, after) = with_weights(toy.settings(hidden=4)), codes()
    with pytest.raises(InputError, match="`hidden`: expected 1 to 4, the width of the encoder as it is, got 5"):
        carry_over.refit_encoder(start.encoder, before, after, 5)
