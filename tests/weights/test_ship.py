"""A bundle becomes the packaged one."""

import dataclasses

import jax
import numpy as np
import pytest

from metastyle.errors import InputError
from metastyle.meta import outer_loop
from metastyle.nets import vgg
from metastyle.weights import bundles, ship, vgg_files
from tests.support import toy
from tests.support.stored import toy_bundle
from tests.support.trees import assert_trees_equal


def test_a_bundle_is_shipped_in_half_precision_with_the_loss_network_it_learns_with(tmp_path, monkeypatch):
    assets, network = tmp_path / "assets", tmp_path / "network.safetensors"
    assets.mkdir()
    params = vgg.random_params(seed=3)
    vgg_files.save(network, vgg_files.tensors(params), vgg.TORCHVISION)
    monkeypatch.setattr(bundles, "ASSETS", assets)
    monkeypatch.setattr(vgg_files, "SLIM", assets / "slim_vgg.safetensors")
    trained = toy_bundle()
    halved = dataclasses.replace(trained.config.generator, dtype="bfloat16")
    settings = dataclasses.replace(trained.config, vgg=str(network), generator=halved)
    trained = dataclasses.replace(trained, config=settings)
    bundles.save_bundle(tmp_path / "bundle", trained)
    by_path = dataclasses.replace(trained, config=dataclasses.replace(trained.config, vgg=str(vgg_files.SLIM)))
    bundles.save_bundle(tmp_path / "by_path", by_path)

    for source in (tmp_path / "bundle", tmp_path / "by_path", assets / "bundle"):  # the last two: as it is already
        files = ship.ship_bundle(source)
        shipped = bundles.load_bundle("default")
        assert (shipped.config.vgg, shipped.config.generator.dtype) == ("slim", "float32")
        halves = jax.tree.map(lambda x: np.float32(np.float16(x)), trained.meta)
        assert_trees_equal(shipped.meta, halves)
        assert_trees_equal(vgg_files.load("slim"), params)
        assert files == [assets / "bundle/config.json", assets / "bundle/params.safetensors", vgg_files.SLIM]


def test_shipping_what_does_not_read_its_loss_network_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "ASSETS", tmp_path / "assets")
    settings = toy.settings(hidden=2)
    start = jax.tree.map(np.asarray, outer_loop.initial_meta(settings))
    bundles.save_bundle(tmp_path / "bundle", bundles.Bundle(settings, start, 0.003))
    with pytest.raises(InputError, match="`vgg`: expected the loss network"):
        ship.ship_bundle(tmp_path / "bundle")
    assert not (tmp_path / "assets").exists()
