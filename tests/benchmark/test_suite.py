"""The runner of the benchmark and its files."""

import json
import subprocess
import sys

import jax
import pytest

from metastyle.benchmark import suite
from metastyle.errors import InputError
from tests.support.command import run_main


def main(*flags):
    done = run_main("benchmark", *flags)
    return done.returncode, done.stdout, done.stderr


def write(path, numbers, machine="A processor"):
    path.write_text(json.dumps({"machine": {"processor": machine}, "versions": {}, "numbers": numbers}))
    return str(path)


@pytest.fixture
def fake_sections(monkeypatch):
    """Sections that answer at once; "data" fails. Lists which were run."""
    ran, answers = [], {"machine": {"processor": "A processor", "platform": "cpu"}, "data": None}

    def in_process(name):
        ran.append(name)
        return answers.get(name, {"it, ms": 1.5, "note": "a word"})

    monkeypatch.setattr(suite, "_in_process", in_process)
    return ran


@pytest.mark.processes
@pytest.mark.slow
def test_a_cheap_section_from_the_command_line(tmp_path):
    status, out, err = main("--only=import", f"--json={tmp_path}/bench.json")
    assert (status, err) == (0, "")
    results = json.loads((tmp_path / "bench.json").read_text())
    assert set(results) == {"machine", "versions", "numbers"}
    assert set(results["machine"]) == {"processor", "cores", "memory", "devices", "platform"}
    assert results["versions"]["jax"] == jax.__version__
    ((name, value),) = results["numbers"].items()
    assert name == "import: import metastyle, s" and value > 0
    first, second = out.splitlines()
    assert first == ", ".join(results["machine"].values())
    assert second.split() == [*name.split(), f"{value:.4g}"]


@pytest.mark.processes
def test_an_unknown_section_is_one_line():
    status, out, err = main("--only=import,nonsense")
    assert (status, out) == (1, "")
    assert err.startswith("error: `only`: expected all or some of stylize,") and err.endswith("got nonsense\n")
    assert err.count("\n") == 1


def test_the_stages_are_the_default_and_all_is_everything(fake_sections):
    with pytest.raises(InputError):
        suite.run()
    assert fake_sections == ["machine", *suite.STAGES]
    fake_sections.clear()
    with pytest.raises(InputError):
        suite.run(["all"])
    assert fake_sections == ["machine", *suite.SECTIONS]


def test_a_section_that_fails_stops_no_other_and_is_named(fake_sections, tmp_path, capsys):
    with pytest.raises(InputError, match="failed: data; see above"):
        suite.run(["data", "stylize"], str(tmp_path / "x.json"))
    numbers = json.loads((tmp_path / "x.json").read_text())["numbers"]
    assert numbers == {"stylize: it, ms": 1.5, "stylize: note": "a word"}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:]] == [["stylize:", "it,", "ms", "1.5"], ["stylize:", "note", "a", "word"]]


def test_the_file_is_written_as_a_whole_or_not_at_all(fake_sections, tmp_path, monkeypatch):
    file = tmp_path / "x.json"
    file.write_text("before")
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(InputError, match="`json`: cannot write .*x.json' \\(disk full\\); the disk may be full"):
            suite.run(["stylize"], str(file))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
    results = suite.run(["stylize"], str(file))
    assert json.loads(file.read_text()) == results._asdict()
    assert list(tmp_path.iterdir()) == [file]


def test_a_bad_place_for_the_file_is_told_before_the_work(fake_sections, tmp_path):
    with pytest.raises(FileNotFoundError, match="`json`: no such folder"):
        suite.run(["stylize"], str(tmp_path / "nowhere" / "x.json"))
    assert fake_sections == []


def test_table_aligns_the_columns():
    first, second = suite.table([["short", "1", "2"], ["a longer name", "3.25", "4"]]).splitlines()
    assert len(first) == len(second) and first.index("1") == second.index("5")


def test_compare(tmp_path):
    a = write(tmp_path / "a.json", {"x, ms": 2.0, "y": 0.0, "old": 1, "word": "skipped"}, "Machine A")
    b = write(tmp_path / "b.json", {"x, ms": 3.0, "y": 1.0, "new": 1, "word": 4.0}, "Machine B")
    lines = suite.compare([a, b]).splitlines()
    assert lines[:2] == [f"a: {a} (Machine A)", f"b: {b} (Machine B)"]
    rows = [line.split() for line in lines[2:5]]
    assert rows == [["a", "b", "b", "/", "a"], ["x,", "ms", "2", "3", "1.5"], ["y", "0", "1", "-"]]
    assert lines[5:] == ["only in a: old", "only in b: new", "only in b: word"]


@pytest.mark.processes
def test_compare_needs_no_jax(tmp_path):
    file = write(tmp_path / "a.json", {"x": 1.0})
    code = (
        f"import sys; from metastyle.benchmark.suite import compare; print(compare([{file!r}] * 2)); "
        "assert not {'jax', 'flax', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("content", ["", "[1, 2]", "{}", '{"machine": 3, "numbers": {}}', '{"stylize: x": 1.0}'])
def test_compare_refuses_what_is_no_such_file(tmp_path, content):
    good, bad = write(tmp_path / "a.json", {"x": 1.0}), tmp_path / "b.json"
    bad.write_text(content)
    with pytest.raises(InputError, match=r"`compare`: expected a file that --json wrote, got .*b\.json, which is none"):
        suite.compare([good, str(bad)])


@pytest.mark.processes
def test_compare_of_a_missing_file_is_one_line(tmp_path):
    good = write(tmp_path / "a.json", {"x": 1.0})
    status, out, err = main(f"--compare={good},{tmp_path}/b.json")
    assert (status, out) == (1, "")
    assert err == f"error: `compare`: no such file: '{tmp_path}/b.json'\n"


@pytest.mark.parametrize("count", [1, 3])
def test_compare_takes_two_files(tmp_path, count):
    with pytest.raises(InputError, match=f"expected two files, --compare=a.json,b.json, got {count}"):
        suite.compare([write(tmp_path / "a.json", {})] * count)
