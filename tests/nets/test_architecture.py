"""The architecture language: what it refuses."""

import weakref

import pytest

from metastyle.config import Generator
from metastyle.errors import InputError
from metastyle.nets import architecture, generator
from tests.support.errors import refused


@pytest.mark.parametrize(
    "arch, message",
    [
        ("jonson", 'johnson, compact, compact_half, compact_noise or tokens such as .*got "jonson" in "jonson"'),
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
        ("skip,c3s1-3", "and then skip at most"),
        ("c3s1-3,skip,skip", "and then skip at most"),
        ("skip", "a net that ends in c9s1-3 or p4-3"),
        ("c9s1-32,R64x2,c9s1-3", r'as many channels as come in, R32x2, got "R64x2"'),
        ("s4,R64x2,p4-3", r'R48x2, got "R64x2"'),
        ("d8,d8,d8,d8,d8,u8,c3s1-3", r"goes down to 1/16 of its input's size at most, got \"d8\""),
        ("s4,s4,s2,c3s1-8,p2-12,p4-3", r"goes down to 1/16 of its input's size at most, got \"s2\""),
        ("d8.blurry,u8,c3s1-3", r"at most .blur, .leaky, .linear, .bare behind d8, .*got \"d8.blurry\""),
        ("u8.blur,s2,c3s1-3", r"at most .bilinear, .leaky, .linear, .bare behind u8, .*got \"u8.blur\""),
        ("c3s1-8.leaky.linear,c3s1-3", r"not both .leaky and .linear, got \"c3s1-8.leaky.linear\""),
        ("c3s1-8.bare.bare,c3s1-3", r"each once, .*got \"c3s1-8.bare.bare\""),
        ("c3s1-8,R8x1.linear,c3s1-3", r"at most .leaky, .bare behind R8x1"),
        ("s4.leaky,p4-3", r"no words behind s4"),
        ("c3s1-3.bare", "a net that ends in c9s1-3 or p4-3"),
        ("save-a,c3s1-8,add-b,c3s1-3", r"a name that a save- before it has \(a\), got \"add-b\""),
        ("c3s1-8,cat-a,c3s1-3", r"a name that a save- before it has \(none so far\), got \"cat-a\""),
        ("save-a,c3s1-8,c3s1-3", r"an add- or a cat- of the same name behind it, got \"save-a\""),
        ("save-a,c3s1-3,save-a,add-a,c3s1-3", r"a name that no save- before it has, got \"save-a\""),
        (
            "save-a,d8,cat-a,u8,c3s1-3",
            r"the same size as save-a keeps, 3 channels at 1 .*, not 8 channels at 0.5",
        ),
        ("save-a,c3s1-8,add-a,c3s1-3", r"3 channels at 1 of the input's size, as save-a keeps, not 8 channels at 1 of"),
        ("save-A,c3s1-8,add-A,c3s1-3", 'got "save-A"'),
        ("c4s1-8,c3s1-3", r"an odd kernel in a generator, .*half a pixel, got \"c4s1-8\""),
        ("c4s2-8,c4s1-1", r"an odd kernel in a generator"),
        ("d8,c3s1-1", "a net that ends in c9s1-3 or p4-3"),
    ],
)
def test_what_is_not_in_the_language_is_refused(arch, message):
    with refused(f"^`generator.arch`: expected .*{message}"):
        generator.network(Generator(arch))


@pytest.mark.parametrize(
    "arch, message",
    [
        ("c4s2-8,c4s1-3", r"a discriminator that ends in c4s1-1, below its input's size, without skip, got \"c4s1-3\""),
        ("c4s1-8,c4s1-1", r"a discriminator that ends in c4s1-1, .*got \"c4s1-1\""),
        ("c4s2-8,p2-1", r"a discriminator that ends in c4s1-1, .*got \"p2-1\""),
        ("c4s2-8,c4s1-1,skip", r"a discriminator that ends in c4s1-1"),
        ("johnson", r"a discriminator that ends in c4s1-1"),
    ],
)
def test_what_is_no_discriminator_is_refused_where_one_is_asked_for(arch, message):
    with pytest.raises(InputError, match=f"^`discriminator`: expected {message}"):
        architecture.parse(arch, "discriminator", "patch")


@pytest.mark.parametrize(
    "arch, multiple",
    [*((arch, 4) for arch in architecture.ARCHITECTURES), ("c3s1-3", 4), ("s4,d8,u8,p4-3", 8), ("s4,s4,p4-8,p4-3", 16)],
)
def test_sides_are_multiples_of_what_the_deepest_features_need(arch, multiple):
    net = architecture.parse(arch)
    assert (net.multiple, net.min_side) == (multiple, 4 * multiple)


def test_a_name_is_a_string():
    for name, arch in architecture.ARCHITECTURES.items():
        assert architecture.parse(name) == architecture.parse(arch) != architecture.parse("c3s1-3")


class Result:
    def __init__(self, name):
        self.name = name


class Names:
    """Layers whose results are the names of how they were made; `held` counts the results alive before each call."""

    def __init__(self):
        self.held, self._alive = [], weakref.WeakSet()

    def __getattr__(self, kind):
        def call(x, *arguments):
            self.held.append(len(self._alive))
            made = Result(f"{kind}({','.join(y.name for y in (x, *arguments) if isinstance(y, Result))})")
            self._alive.add(made)
            return made

        return call


def test_named_features_go_where_their_string_says():
    net = architecture.parse("save-a,c3s1-3.bare.linear,save-b,add-a,cat-b,c3s1-3")
    out = architecture.walk(net, Names(), Result("x"))
    assert out.name == "sigmoid(conv(concat(add(conv(x),x),conv(x))))"


def test_named_features_are_held_no_longer_than_they_are_used():
    layers = Names()
    net = architecture.parse("c3s1-3.bare.linear,save-a,s2,p2-3.bare.linear,add-a,add-a,s2,s2,p4-3")
    architecture.walk(net, layers, Result("x"))
    assert layers.held == [0, 1, 2, 2, 2, 1, 1, 1, 1]
