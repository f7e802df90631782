"""Whatever a program passes to the public functions, it gets one line that names the argument, or the result."""

import inspect
import warnings

import numpy as np
import pytest

import metastyle
from metastyle.stylize import transfer

PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
WRONG = (
    *(None, "x", "", b"x", [], {}, (), 1.5, -1, float("nan"), object(), object, set(), 1j, ["x"], [None]),
    *(np.array([1, 2]), np.zeros((0, 3)), print),
)


@pytest.fixture(scope="module")
def stylizer():
    return metastyle.load()


@pytest.fixture(scope="module")
def style(stylizer):
    return stylizer.adapt(PIXELS, steps=0)


def arguments(function, *without):
    return [name for name in inspect.signature(function).parameters if name not in ("self", *without)]


def tried(function, usual, names):
    """Calls the function with every wrong value for every argument, beside its usual ones; the messages."""
    messages = []
    for name in names:
        for value in WRONG:
            try:
                with warnings.catch_warnings(action="ignore"):
                    function(**(usual | {name: value}))
            except (metastyle.InputError, FileNotFoundError) as error:
                messages.append(str(error))
    assert messages and all(message.startswith("`") and "\n" not in message for message in messages), messages
    return messages


def test_stylizer(stylizer, tmp_path):
    names = arguments(stylizer.adapt, "on_step", "on_style")
    tried(stylizer.adapt, {"styles": PIXELS, "steps": 0}, names)
    for name in ("on_step", "on_style"):
        with pytest.raises(metastyle.InputError, match=f"^`{name}`: expected a function, got str; pass one, or None$"):
            stylizer.adapt(PIXELS, steps=0, **{name: "print"})


def test_style(style, tmp_path):
    names = ["photograph", "mask", *arguments(metastyle.Knobs)]
    tried(style.stylize, {"photograph": PIXELS}, names)
    tried(style.with_paintings, {"styles": PIXELS}, ["styles", "max_pixels"])
    tried(style.with_phases, {}, ["phases"])
    tried(style.params, {}, ["strength"])


def test_files(style, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    style.save("a.safetensors")
    tried(style.save, {}, ["path"])
    tried(style.export, {}, ["out"])
    tried(style.stylize_file, {"photograph": PIXELS, "out": "a.png"}, ["photograph", "out", "mask", "quality"])
    tried(metastyle.load, {}, ["folder"])
    tried(metastyle.load_style, {"path": "a.safetensors"}, ["path", "bundle"])


def test_functions_of_several_styles(style):
    tried(metastyle.blend, {}, ["parts"])
    tried(metastyle.compose, {"photograph": PIXELS, "parts": [(style, None)]}, ["photograph", "parts"])
    usual = {"photographs": [PIXELS], "styles": [style]}
    tried(metastyle.stylize_batch, usual, ["photographs", "styles"])


def test_transfer():
    def prepare(photo, styles, mask=None, **options):
        transfer.prepare(photo, styles, mask, transfer.Options(**options))

    usual = {"photo": PIXELS, "styles": PIXELS, "quality": "fast"}
    tried(prepare, usual, arguments(metastyle.transfer, "on_step"))
