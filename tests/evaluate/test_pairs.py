"""The protocol: which photograph is judged in which style, and what may be learned on."""

import numpy as np
import pytest

from metastyle.errors import InputError
from metastyle.evaluate.pairs import SUPPORT, Pairs
from metastyle.images import codec


@pytest.fixture
def folders(tmp_path):
    """20 photographs and 3 styles, each of one colour, which tells them apart."""
    for kind, count in (("contents", 20), ("styles", 3)):
        (tmp_path / kind).mkdir()
        for i in range(count):
            codec.save(tmp_path / kind / f"{i:02d}.png", np.full((40, 48, 3), (i + 1) / 32, np.float32))
    return str(tmp_path / "contents"), str(tmp_path / "styles")


def test_photographs_go_round_and_styles_are_permuted(folders):
    pairs = Pairs(*folders, 24, 32)
    assert [pair.content_name for pair in pairs] == [f"{i % 20:02d}.png" for i in range(24)]
    order = np.random.default_rng(0).permutation(3)
    assert [pair.style_name for pair in pairs] == [f"{order[i % 3]:02d}.png" for i in range(24)]
    assert pairs[7].content.shape == pairs[7].style.shape == (32, 32, 3)


def test_no_pair_comes_twice(tmp_path):
    for kind, count in (("contents", 4), ("styles", 6)):
        (tmp_path / kind).mkdir()
        for i in range(count):
            codec.save(tmp_path / kind / f"{i}.png", np.full((16, 16, 3), i / 8, np.float32))
    folders = str(tmp_path / "contents"), str(tmp_path / "styles")
    pairs = Pairs(*folders, 100, 16)
    assert len(pairs) == len({(pair.content_name, pair.style_name) for pair in pairs}) == 24
    assert [pair.style_name for pair in Pairs(*folders, 12, 16)] == [pairs[i].style_name for i in range(12)]


def test_the_support_comes_next_and_is_never_the_judged_photograph(folders):
    pair = Pairs(*folders, 20, 32)[18]
    assert len(pair.support) == SUPPORT
    seen = [round(float(x[0, 0, 0]) * 32) - 1 for x in pair.support]
    assert seen == [19, *range(15)]


def test_few_photographs_are_all_learned_on_but_the_judged_one(folders):
    left = tuple(f"{i:02d}.png" for i in range(3, 20))
    pair = Pairs(*folders, 1, 32, leave_out=left)[0]
    assert [round(float(x[0, 0, 0]) * 32) - 1 for x in pair.support] == [1, 2]


def test_the_product_holds_every_photograph_in_every_style(folders):
    pairs = Pairs(*folders, 60, 32, product=True)
    assert len({(pair.content_name, pair.style_name) for pair in pairs}) == len(pairs) == 60
    assert [pairs.style(i) for i in range(4)] == [0, 1, 2, 0]


def test_what_is_left_out_is_neither_judged_nor_learned_on(folders):
    pairs = Pairs(*folders, 38, 32, leave_out=("03.png", "02.png"))
    assert "03.png" not in {pair.content_name for pair in pairs}
    assert not any(np.allclose(x, 4 / 32, atol=1 / 255) for pair in pairs for x in pair.support)
    with pytest.raises(InputError, match="`leave_out`: no such picture: nobody.png"):
        Pairs(*folders, 8, 32, leave_out=("nobody.png",))


def test_a_picture_that_cant_be_read_is_named_and_its_pairs_are_skipped(folders):
    for broken in (f"{folders[0]}/04.png", f"{folders[1]}/01.png"):
        with open(broken, "wb") as file:
            file.write(b"\x89PNG\r\n\x1a\n and then nothing")
    pairs = Pairs(*folders, 20, 32)
    left, skipped = pairs.readable()
    order = np.random.default_rng(0).permutation(3)
    assert left == [i for i in range(20) if i != 4 and order[i % 3] != 1]
    assert {skip.file for skip in skipped} == {"04.png", "01.png"} and all(skip.reason for skip in skipped)
    assert len(pairs[3].support) == SUPPORT, "the next one is taken instead"


def test_no_pair_left_is_an_error(folders):
    for i in range(3):
        with open(f"{folders[1]}/{i:02d}.png", "wb") as file:
            file.write(b"GIF89a")
    with pytest.raises(InputError, match="`pairs`: none of 8 pairs is left to judge; .*cannot decode"):
        Pairs(*folders, 8, 32).readable()


def test_digests_tell_pairs_apart(folders):
    pairs = Pairs(*folders, 20, 32)
    assert len({pairs.digest(i) for i in range(20)}) == 20
    assert Pairs(*folders, 20, 32).digest(5) == pairs.digest(5) != Pairs(*folders, 20, 36).digest(5)


def test_sources_that_arent_there(folders, tmp_path):
    with pytest.raises(FileNotFoundError, match="`contents`: no such folder"):
        Pairs(str(tmp_path / "nobody"), folders[1], 8, 32)
    with pytest.raises(InputError, match="`contents`: expected at least 2 photographs"):
        Pairs(*folders, 8, 32, leave_out=("01.png", "02.png", *(f"{i:02d}.png" for i in range(3, 20))))
