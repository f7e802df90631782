"""The architecture language: what it refuses."""

import pytest

from metastyle.config import Generator
from metastyle.errors import InputError
from metastyle.nets import generator


@pytest.mark.parametrize(
    "arch, message",
    [
        ("jonson", 'johnson, compact, compact_half or tokens such as .*got "jonson" in "jonson"'),
        ("c9s1-32,x64,c9s1-3", 'got "x64"'),
        ("c9s2-32,c9s1-3", 'got "c9s2-32"'),
        ("c4s1-32,c9s1-3", 'got "c4s1-32"'),
        ("c9s1-0,c9s1-3", 'got "c9s1-0"'),
        ("c9s1-32,,c9s1-3", 'got ""'),
        ("", 'got "" in ""'),
        ("c9s1-32,d64,c9s1-3", "a net that ends in .* at its input's size"),
        ("c9s1-32,c9s1-4", "a net that ends in c9s1-3 or p4-3"),
        ("d8,u3", "a net that ends in c9s1-3 or p4-3"),
        ("R3x2", "a net that ends in c9s1-3 or p4-3"),
        ("s4,p4-8,c3s1-3", "its only p"),
        ("skip,c3s1-3", "and then skip at most"),
        ("c3s1-3,skip,skip", "and then skip at most"),
        ("skip", "a net that ends in c9s1-3 or p4-3"),
        ("c9s1-32,R64x2,c9s1-3", r'as many channels as come in, R32x2, got "R64x2"'),
        ("s4,R64x2,p4-3", r'R48x2, got "R64x2"'),
        ("d8,d8,d8,u8,u8,u8,c3s1-3", r"goes down to 1/4 of its input's size at most, got \"d8\""),
        ("s4,s2,c3s1-8,p2-12,p4-3", r"goes down to 1/4 of its input's size at most, got \"s2\""),
    ],
)
def test_what_is_not_in_the_language_is_refused(arch, message):
    with pytest.raises(InputError, match=f"^`generator.arch`: expected .*{message}") as error:
        generator.network(Generator(arch))
    assert "\n" not in str(error.value)
