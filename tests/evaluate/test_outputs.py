"""Pictures that other programs made of the pairs."""

import shutil

import numpy as np
import pytest

from metastyle.errors import InputError
from metastyle.evaluate import evaluation, outputs
from metastyle.evaluate.pairs import pairs_of
from metastyle.evaluate.starts import Start
from metastyle.images import codec
from tests.support.evaluations import line, protocol


def test_a_copy_of_the_photographs_has_the_row_of_the_photograph(tmp_path):
    settings = protocol(methods=("identity",), outputs={"theirs": str(tmp_path / "theirs")})
    assert outputs.write_pairs(settings, tmp_path / "pairs") == 2
    shutil.copytree(tmp_path / "pairs" / "content", tmp_path / "theirs")
    found = evaluation.run(settings, {}, tmp_path / "report")
    theirs, photograph = line(found, "theirs", 0), line(found, "photograph", 0)
    assert theirs.pairs == 2 and theirs.J == photograph.J and theirs.grid == photograph.grid


def test_the_written_pairs_are_those_of_the_evaluation(tmp_path):
    settings = protocol()
    outputs.write_pairs(settings, tmp_path)
    for i in range(2):
        pair = pairs_of(settings)[i]
        for side in ("content", "style"):
            written, _ = codec.load(str(tmp_path / side / f"00{i}.png"))
            np.testing.assert_array_equal(codec.to_uint8(written), codec.to_uint8(getattr(pair, side)))


def test_a_picture_that_is_missing_is_no_cell_and_one_that_changes_is_judged_again(tmp_path, filled):
    settings = protocol(methods=("style",), outputs={"theirs": str(tmp_path / "theirs")})
    outputs.write_pairs(settings, tmp_path)
    (tmp_path / "theirs").mkdir()
    shutil.copy(tmp_path / "content" / "001.png", tmp_path / "theirs")
    evaluation.run(settings, {}, tmp_path / "report")
    assert filled.count(("theirs", 1)) == 1 and ("theirs", 0) not in filled
    evaluation.run(settings, {}, tmp_path / "report")
    assert filled.count(("theirs", 1)) == 1
    shutil.copy(tmp_path / "style" / "001.png", tmp_path / "theirs")
    found = evaluation.run(settings, {}, tmp_path / "report")
    assert filled.count(("theirs", 1)) == 2 and line(found, "theirs", 0).S < 1e-6


def test_mistakes(start, tmp_path):
    for text in ("theirs", "=here", "theirs="):
        with pytest.raises(InputError, match="^`outputs`: expected NAME=DIR, got"):
            outputs.parse(text)
    with pytest.raises(InputError, match="^`outputs.a`: expected a folder of pictures, got 3"):
        protocol(outputs={"a": 3})
    assert outputs.parse("theirs=a=b") == ("theirs", "a=b")
    report, folder = tmp_path / "report", tmp_path / "theirs"
    with pytest.raises(FileNotFoundError, match="^`outputs.a`: expected pictures of the pairs, .*000.png, got none"):
        evaluation.run(protocol(outputs={"a": str(folder)}), {}, report)
    folder.mkdir()
    codec.save(folder / "000.png", np.zeros((32, 33, 3)))
    with pytest.raises(InputError, match="^`outputs.a`: expected pictures of 32 x 32 px .*, got 33 x 32 in .*000.png"):
        evaluation.run(protocol(outputs={"a": str(folder)}), {}, report)
    (folder / "000.png").write_bytes(b"none")
    with pytest.raises(InputError, match="^`outputs`: "):
        evaluation.run(protocol(outputs={"a": str(folder)}), {}, report)
    codec.save(folder / "000.png", np.zeros((32, 32, 3)))
    for name in ("ours", "lite"):
        with pytest.raises(InputError, match=f"^`outputs`: expected another name than {name}, got {name}"):
            evaluation.run(protocol(methods=(), outputs={name: str(folder)}), {"ours": Start(start)}, report)
    assert not report.exists()
