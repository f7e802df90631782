"""Flags that hold several values, and the names of files with characters that others would stumble over."""

import shutil
from pathlib import Path

import pytest
from absl import flags

from metastyle.cli import lists
from tests.support.command import adapt, stylize, transfer

ODD_NAMES = (
    "Paris, 1888.png",
    "end.png ",
    " begin.png",
    "two\nlines.png",
    'a "quote".png',
    "a[1].png",
    "夜.png",
    "-x.png",
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", []),
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (" a , b ", ["a", "b"]),
        ('"a,b",c', ["a,b", "c"]),
        ('" a "', [" a "]),
        ('"a ""b"", c"', ['a "b", c']),
        ('5"', ['5"']),
    ],
)
def test_split(text, values):
    assert lists.split(text) == values


def test_the_name_of_a_file_is_never_split():
    Path("a,b.png").touch()
    assert lists.split_names("a,b.png") == ["a,b.png"]
    assert lists.split_names("a,*.png") == ["a,*.png"]
    assert lists.split_names("a,c.png") == ["a", "c.png"]
    assert lists.split_names('"a,b.png",c.png') == ["a,b.png", "c.png"]


def test_repeated_flags_and_items():
    values = flags.FlagValues()
    lists.define_list("n", [1], "numbers", item=flags.IntegerParser(), flag_values=values)
    lists.define_names("f", "files", flag_values=values)
    values(["program"])
    assert (values.n, values.f) == ([1], None)
    values(["program", "--n=2,3", "--n=4", "--f=a,b", "--f=c"])
    assert (values.n, values.f) == ([2, 3, 4], ["a", "b", "c"])


@pytest.mark.parametrize("name", ODD_NAMES)
def test_every_name_of_a_picture_is_reached_by_every_flag(run, name):
    shutil.move("photo.png", name)
    assert "wrote new.png" in run(*stylize(content=name))
    assert "wrote new.png" in run(*stylize(content=name, mask=name))
    assert "wrote new.safetensors" in run(*adapt(style=name, support=name, steps=0))


def test_patterns_and_folders_for_every_flag(run):
    Path("many").mkdir()
    for i in range(2):
        shutil.copy("photo.png", f"many/{i}.png")
    assert "wrote new.safetensors" in run(*adapt(style="many/*.png", support="many", steps=0))
    assert "wrote new.png" in run(*stylize(mask="many/0*"))
    assert "wrote new.safetensors" in run(*adapt(style="many/0.png", steps=0), "--style=many/1.png")


def test_a_list_for_one_mask_is_refused(refused_line):
    shutil.copy("photo.png", "mask.png")
    line = refused_line(*transfer("--mask=photo.png,mask.png"))
    assert line == "`mask`: expected one picture, got 2; name one of them"


def test_help_says_how_several_values_are_given(run):
    assert lists.HINT in run("adapt", "--help")
    assert lists.HINT not in run("fetch", "--help")
