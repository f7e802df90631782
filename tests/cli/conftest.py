"""The working folder of a user, and the command run in it."""

import shutil

import numpy as np
import pytest

from metastyle.cli import main
from metastyle.images import codec
from tests.support.command import PHOTOGRAPH
from tests.support.places import BUNDLE, FORMAT_1


@pytest.fixture(autouse=True)
def without_compile_cache(no_compile_cache): ...


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder of a user with a photograph, a painting, a style and a bundle."""
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    shutil.copy(FORMAT_1 / "self_contained.safetensors", tmp_path / "style.safetensors")
    shutil.copy(PHOTOGRAPH, tmp_path / "photo.png")
    pixels = np.random.default_rng(1).uniform(size=(4, 4, 3)).repeat(6, 0).repeat(5, 1)
    codec.save(tmp_path / "painting.png", pixels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    """What the command prints when all goes well."""

    def run(*argv):
        with pytest.raises(SystemExit) as end:
            main.main(list(argv))
        out, err = capsys.readouterr()
        assert (end.value.code, err) == (0, "")
        return out

    return run


@pytest.fixture
def refused_line(capsys, folder):
    """Runs the command, which must end with one line, a non-zero exit status and no new file; returns the line."""

    def refused_line(*argv):
        before = sorted(folder.rglob("*"))
        with pytest.raises(SystemExit) as end:
            main.main(list(argv))
        err = capsys.readouterr().err
        assert end.value.code == 1
        assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1
        assert sorted(folder.rglob("*")) == before
        return err[len("error: ") : -1]

    return refused_line
