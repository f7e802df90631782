"""Training on one style that is stopped and goes on."""

import numpy as np
import pytest
from safetensors import safe_open

from metastyle.errors import InputError, Stopped
from metastyle.evaluate.baselines import johnson
from metastyle.weights import vgg_files
from tests.support import toy
from tests.support.stopping import stop_at


@pytest.mark.slow
def test_johnson_goes_on_as_if_it_had_not_been_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(johnson, "SAVE_EVERY", 2)
    settings = johnson.settings("procedural", size=32, steps=8, arch=toy.ARCH)
    style, params, looks = np.random.default_rng(0).random((32, 32, 3), np.float32), vgg_files.load("random"), {0, 3, 8}
    whole = list(johnson.train(settings, style, params, tmp_path / "whole", looks))
    assert [trained.steps for trained in whole] == [0, 3, 8]
    first = johnson.train(settings, style, params, tmp_path / "parts", looks)
    assert [next(first).steps, next(first).steps] == [0, 3]
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        with pytest.raises(Stopped, match="^stopped after step 6 of 8; the same line continues$"):
            next(first)
    with safe_open(tmp_path / "parts", "numpy") as file:
        before = float(file.metadata()["seconds"])
    parts = list(johnson.train(settings, style, params, tmp_path / "parts", looks))
    assert [trained.steps for trained in parts] == [8]
    assert parts[0].seconds > before > 0
    for name, x in whole[-1].params.items():
        np.testing.assert_array_equal(x, parts[-1].params[name], err_msg=name)
    with pytest.raises(InputError, match="`state_file`: .* is of other settings or another style"):
        next(johnson.train(settings, style, params, tmp_path / "parts", looks, key="another"))
    (tmp_path / "parts").write_bytes(b"no safetensors")
    with pytest.raises(InputError, match="`state_file`: .* is damaged"):
        next(johnson.train(settings, style, params, tmp_path / "parts", looks))
