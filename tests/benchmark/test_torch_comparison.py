"""The PyTorch twin computes what the package computes."""

import importlib.util
import sys

import numpy as np
import pytest

from metastyle.benchmark import torch_comparison
from metastyle.nets import vgg


def test_without_torch_the_twin_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert torch_comparison.time_twins() == {"skipped": "torch is not installed"}


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_the_torch_twin_computes_the_same():
    settings = torch_comparison.comparison_settings("c9s1-3,d4,d4,R4x1,u4,u3,c9s1-3", 16, 1)
    ours, theirs = (
        stage.call() for stage in torch_comparison.build_twins(settings, vgg.random_params(widths=(4,) * 10))
    )
    assert max(torch_comparison.relative_differences(ours, theirs).values()) < 1e-4
    assert set(ours[1]) == set(theirs[1])
    tolerance = 1e-5 * max(float(g.abs().max()) for g in theirs[1].values())  # some gradients are nothing but rounding
    for path, gradient in theirs[1].items():
        gradient = gradient.permute(2, 3, 1, 0) if gradient.ndim == 4 else gradient
        np.testing.assert_allclose(ours[1][path], gradient.numpy(), rtol=1e-3, atol=tolerance, err_msg=path)
