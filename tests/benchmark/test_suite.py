"""The benchmark: its runner and files, how it measures, and the twin it measures against. No test depends on time."""

import importlib.util
import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from metastyle.benchmark import large_dataset, large_images, speed, suite, timing
from metastyle.errors import InputError
from metastyle.nets import vgg
from tests.support.places import ROOT


def main(*flags):
    line = [sys.executable, "-m", "experiments.benchmark", *flags]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)
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
        with pytest.raises(OSError, match="disk full"):
            suite.run(["stylize"], str(file))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
    results = suite.run(["stylize"], str(file))
    assert json.loads(file.read_text()) == results
    assert list(tmp_path.iterdir()) == [file]


def test_a_bad_place_for_the_file_is_told_before_the_work(fake_sections, tmp_path):
    with pytest.raises(FileNotFoundError, match="`json`: no such folder"):
        suite.run(["stylize"], str(tmp_path / "nowhere" / "x.json"))
    assert fake_sections == []


def test_the_users_mistake_in_a_section_is_one_line(tmp_path, monkeypatch):
    def section():
        raise InputError("`data`: expected more, got less")

    monkeypatch.setitem(suite.SECTIONS, "stylize", section)
    with pytest.raises(SystemExit) as ended:
        suite.run_section("stylize", str(tmp_path / "x.json"))
    assert ended.value.code == "error: stylize: `data`: expected more, got less"


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


def test_compare_of_a_missing_file_is_one_line(tmp_path):
    good = write(tmp_path / "a.json", {"x": 1.0})
    status, out, err = main(f"--compare={good},{tmp_path}/b.json")
    assert (status, out) == (1, "")
    assert err == f"error: `compare`: expected a file that --json wrote, got {tmp_path}/b.json, which is not a file\n"


@pytest.mark.parametrize("count", [1, 3])
def test_compare_takes_two_files(tmp_path, count):
    with pytest.raises(InputError, match=f"expected two files, --compare=a.json,b.json, got {count}"):
        suite.compare([write(tmp_path / "a.json", {})] * count)


class Clock:
    """A clock that stands still but for the calls it lends: each takes the next of its `seconds`, the last for ever."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def __call__(self):
        return self.now

    def call(self, name, *seconds):
        def call():
            self.log.append(name)
            done = self.log.count(name)
            self.now += seconds[min(done, len(seconds)) - 1]

        return call


def test_calls_are_warmed_up_take_turns_and_give_their_medians():
    clock = Clock()
    calls = {"a": clock.call("a", 100.0, 1.0, 9.0, 2.0), "b": clock.call("b", 50.0, 3.0)}
    seconds = timing.in_turns(calls, budget=6.0, clock=clock)
    assert clock.log == ["a", "b"] * 4  # 1 to warm up, then 2 x 6 s / (1 s + 3 s)
    assert seconds == {"a": 2.0, "b": 3.0}


@pytest.mark.parametrize(("each", "runs"), [(100.0, 3), (0.5, 8), (0.0, 50)])
def test_a_stage_is_run_as_often_as_the_budget_allows(each, runs):
    clock = Clock()
    timing.in_turns({"a": clock.call("a", each)}, budget=4.0, clock=clock)
    assert len(clock.log) == 1 + runs


def test_a_compiled_stage_knows_its_operations_and_its_memory():
    matrix = np.ones((64, 32), np.float32)
    product = lambda x: x @ x.T
    stage = timing.compiled(product, matrix)
    assert stage.flops == timing.flops(product, matrix) == 2 * 64 * 32 * 64
    assert stage.memory >= 0
    np.testing.assert_array_equal(stage.call(), matrix @ matrix.T)


def test_measure_names_what_it_knows(monkeypatch):
    monkeypatch.setattr(timing, "in_turns", lambda calls, budget: dict.fromkeys(calls, 0.5))
    monkeypatch.setattr(timing, "peak", lambda kind, dtype: ("bf16", 4e9))
    ours, theirs = timing.Stage(lambda: None, 2.0, 1e9, 8), timing.Stage(lambda: None)
    assert timing.measure({"ours": ours, "theirs": theirs}) == {
        "ours, ms": 500.0, "ours, GFLOP/s": 2.0, "ours, share of the bf16 peak": 0.5, "ours, trace and compile, s": 2.0,
        "theirs, ms": 500.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "dtype", "expected"),
    [
        ("NVIDIA H200", "float32", ("tf32", 494e12)),
        ("NVIDIA H200", "bfloat16", ("bf16", 989e12)),
        ("NVIDIA A100-SXM4-40GB", "float32", ("tf32", 156e12)),
        ("TPU v5 lite", "float32", ("bf16", 197e12)),
        ("NVIDIA H100 PCIe", "float32", None),
        ("cpu", "float32", None),
    ],
)
def test_peak(kind, dtype, expected):
    assert timing.peak(kind, dtype) == expected


def test_random_tasks_are_shaped_as_a_samplers():
    tasks = speed.random_tasks(2, 3, 16)
    assert {name: x.shape for name, x in tasks.items()} == {
        "style": (2, 1, 16, 16, 3), "support": (2, 3, 1, 16, 16, 3), "query": (2, 1, 16, 16, 3),
    }  # fmt: skip


def test_without_torch_the_twin_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert speed.twin() == {"skipped": "torch is not installed"}


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_the_torch_twin_computes_the_same():
    settings = speed.twin_settings("c9s1-3,d4,d4,R4x1,u4,u3,c9s1-3", 16, 1)
    ours, theirs = (stage.call() for stage in speed.twins(settings, vgg.random_params(widths=(4,) * 10)))
    assert max(speed.twin_differences(ours, theirs).values()) < 1e-4
    assert set(ours[1]) == set(theirs[1])
    tolerance = 1e-5 * max(float(g.abs().max()) for g in theirs[1].values())  # some gradients are nothing but rounding
    for path, gradient in theirs[1].items():
        gradient = gradient.permute(2, 3, 1, 0) if gradient.ndim == 4 else gradient
        np.testing.assert_allclose(ours[1][path], gradient.numpy(), rtol=1e-3, atol=tolerance, err_msg=path)


def test_a_large_data_set_in_small():
    found = large_dataset.measure(120)
    assert found["prepare 12: shards"] == found["prepare 120: shards"] == 1
    for form in ("tfds", "folder"):
        assert found[f"{form}, random reads, pictures/s"] > 0 and found[f"{form}, peak memory, MiB"] > 10


def test_large_pictures_in_small():
    net, side = "s4,c3s1-8,p4-3", 256
    found = large_images.measure({net: (side,)})
    ways = {f"{net}, {side} px, {way}: {key}" for way in ("tiled", "untiled") for key in ("s", "peak memory, GiB")}
    assert found.pop(f"{net}, {side} px, tiled: on disk, GiB") == 0
    assert set(found) == ways and all(0 < value < 10 for value in found.values())


def test_tiles_of_large_pictures_are_timed_in_turns(monkeypatch):
    monkeypatch.setattr(large_images, "python", lambda *_: {})
    monkeypatch.setattr(large_images, "_TILES", (16, 32))
    monkeypatch.setattr(large_images, "draw", lambda side: speed.random_tasks(1, 1, side // 16)["query"][0, 0])
    net = "s4,c3s1-8,p4-3"
    *seconds, difference = large_images.measure({net: (1024, 4096)}).items()
    ways = ["untiled", *(f"tiles of {tile} px" for tile in (16, 32))]
    assert [name for name, value in seconds if value > 0] == [f"{net}, 1024 px, in turns, {way}, s" for way in ways]
    assert difference[0] == f"{net}, 1024 px, largest difference, 255ths" and 0 <= difference[1] < 0.01
