"""Flat parameters: how they are split and flattened."""

import re

import pytest

from metastyle.config import Generator
from metastyle.errors import InputError
from metastyle.nets.params import flatten, split_by_scope, unflatten
from tests.support.numpy_nets import random_params


@pytest.mark.parametrize(
    "scope, chosen",
    [
        ("norm", r"(.*/)?norm\d/.*"),
        ("all", ".*"),
        ("out", "out/.*"),
        ("block1,out", "(block1|out)/.*"),
        ("block1/conv1", "block1/conv1/kernel"),
        ("norm, out/bias", r"(.*/)?norm\d/.*|out/bias"),
        ("adapter", r"block\d+/conv2/adapter"),
    ],
)
def test_split_and_its_inverse(scope, chosen):
    params = random_params(Generator("c3s1-8,R8x10a,c3s1-3"))
    fast, slow = split_by_scope(params, scope)
    assert set(fast) == {path for path in params if re.fullmatch(chosen, path)} != set()
    assert fast.keys().isdisjoint(slow) and fast | slow == params


@pytest.mark.parametrize("scope", ["", "norms", "block", "block3", "out,block1/conv3", "norm,,out"])
def test_a_scope_that_picks_nothing_is_refused(scope):
    params = random_params(Generator("c3s1-8,R8x2,c3s1-3"))
    expected = (
        "`inner.scope`: expected norm, adapter, noise, all or prefixes of block1, block2, conv1, norm1, out, got "
    )
    with pytest.raises(InputError, match=expected):
        split_by_scope(params, scope)


def test_flatten_and_its_inverse():
    tree = {"b": {"kernel": 1}, "a": {"c": {"bias": 2, "a": 3}}}
    flat = flatten(tree)
    assert list(flat.items()) == [("a/c/a", 3), ("a/c/bias", 2), ("b/kernel", 1)]
    assert unflatten(flat) == tree
    assert flatten(unflatten(flat)) == flat
