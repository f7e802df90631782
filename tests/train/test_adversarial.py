"""A run of adversarial training: its style file, that a stopped run goes on exactly, and what is refused."""

import csv
import dataclasses

import numpy as np
import pytest
from PIL import Image

from metastyle import config
from metastyle.errors import InputError, Stopped
from metastyle.nets import vgg
from metastyle.stylize import stylizer
from metastyle.train import adversarial
from metastyle.weights import bundles, loss_network, vgg_files
from tests.support.encoders import PARAMS, network_settings, with_weights
from tests.support.stopping import stop_at
from tests.support.styles import picture

pytestmark = pytest.mark.usefixtures("no_compile_cache")


@pytest.fixture
def bundle(tmp_path):
    """A bundle with an encoder of PARAMS."""
    vgg_files.save(tmp_path / "vgg.safetensors", vgg_files.tensors(PARAMS), vgg.TORCHVISION)
    settings = dataclasses.asdict(network_settings()) | {"vgg": str(tmp_path / "vgg.safetensors")}
    settings["generator"]["arch"] = "s4,c3s1-6,R6x1a,p4-3,skip"
    settings["inner"] |= {"scope": "norm,adapter,out"}
    settings = config.from_dict(settings)
    meta = with_weights(settings)
    meta.fast["out/kernel"] *= 20
    digest = loss_network.digest(vgg_files.load(settings.vgg))
    bundles.save_bundle(tmp_path / "bundle", bundles.Bundle(settings, meta, 1e-3, network_sha256=digest))
    return str(tmp_path / "bundle")


@pytest.fixture
def pictures(tmp_path):
    """Folders of photographs and of art."""
    for name, first in (("photo", 0), ("art", 100)):
        (tmp_path / name).mkdir()
        for i in range(12):
            Image.fromarray(picture(48, 56, first + i)).save(tmp_path / name / f"{i}.png")
    return f"photo:{tmp_path / 'photo'},art:{tmp_path / 'art'}"


def chosen(bundle, pictures, **changes):
    values = {
        "run": {"steps": 6, "log_every": 1, "checkpoint_every": 2, "picture_every": 6},
        "data": {"domains": pictures, "short": 40, "size": 32},
        "bundle": bundle,
        "loss": {"style": 2.5},
        "critic_width": 4,
        "batch": 8,
        "warmup": 1,
    }
    return config.from_dict(values | changes, config.Adversarial)


def rows(workdir):
    with open(workdir / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k in ("step", "style", "critic")} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_a_stopped_run_goes_on_as_if_it_had_been_left_alone(bundle, pictures, tmp_path, monkeypatch, capsys):
    settings = chosen(bundle, pictures)
    adversarial.train(settings, tmp_path / "a")
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(Stopped, match="^stopped after step 3 of 6; the same line continues$"):
            adversarial.train(settings, tmp_path / "b")
    adversarial.train(settings, tmp_path / "b")
    assert rows(tmp_path / "a") == rows(tmp_path / "b") and len(rows(tmp_path / "a")) == 6
    styles = [(tmp_path / name / "style.safetensors").read_bytes() for name in "ab"]
    assert styles[0] == styles[1]
    assert (tmp_path / "a/pictures/step_0000006.png").exists()
    (tmp_path / "a/style.safetensors").unlink()
    adversarial.train(settings, tmp_path / "a")  # complete, but its file is gone
    assert (tmp_path / "a/style.safetensors").read_bytes() == styles[0]
    style = stylizer.load_style(tmp_path / "a/style.safetensors", bundle)
    start = stylizer.load(bundle).adapt([str(tmp_path / "art" / "1.png")], steps=0)
    photo = np.asarray(picture(32, 32, 7))
    assert style.stylize(photo).shape == (32, 32, 3) and style.file.steps == 6
    assert style.file.fast.keys() == start.file.fast.keys()


@pytest.mark.slow
def test_a_cycle_gan_makes_a_style_file_for_each_way_and_goes_on_exactly(pictures, tmp_path, monkeypatch):
    net = {"arch": "s4,c3s1-6.bare,R6x1,p4-3"}
    critic = "c4s2-4.bare.leaky,c4s2-6.bare.leaky,c4s1-1"
    more = {"system": "cycle_gan", "generator": net, "critic": critic, "vgg": "random", "augment": False, "pool": 16}
    settings = chosen("", pictures, **more)
    adversarial.train(settings, tmp_path / "a")
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(Stopped):
            adversarial.train(settings, tmp_path / "b")
    adversarial.train(settings, tmp_path / "b")
    for name in ("to_art", "to_photo"):
        made = [(tmp_path / run / f"{name}.safetensors").read_bytes() for run in "ab"]
        assert made[0] == made[1]
        style = stylizer.load_style(tmp_path / f"a/{name}.safetensors")
        assert style.stylize(picture(32, 40, 7)).shape == (32, 40, 3) and style.file.steps == 6
    assert (tmp_path / "a/pictures/step_0000006.png").exists()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"bundle": "nowhere"}, "`bundle`: expected a folder"),
        ({"data": {"domains": "photo:nowhere,art:nothing"}}, "`data.domains`: no such folder: 'nowhere'"),
        ({"kind": "x"}, "`kind`: expected one of hinge, least_squares, non_saturating, got 'x'"),
        ({"system": "x"}, "`system`: expected one of gan, cycle_gan, got 'x'"),
        ({"vgg": "nothing"}, "`vgg`: "),
        ({"pool": 7}, "`pool`: expected 0 or at least `batch`, 8, got 7"),
        ({"batch": 3}, "`batch`: expected a multiple of the 8 devices, got 3; use 8"),
    ],
)
def test_bad_settings_are_one_line_and_nothing_is_written(bundle, pictures, tmp_path, changes, message):
    with pytest.raises((InputError, FileNotFoundError), match=message):
        adversarial.train(chosen(**{"bundle": bundle, "pictures": pictures} | changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_gan_has_two_domains(bundle, pictures, tmp_path):
    three = f"{pictures},more:{tmp_path}"
    settings = chosen(bundle, pictures, data={"domains": three, "short": 40, "size": 32})
    with pytest.raises(InputError, match="expected photographs and one other domain for a gan, got photo, art, more"):
        adversarial.train(settings, tmp_path / "run")
