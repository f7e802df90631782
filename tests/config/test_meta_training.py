"""Settings: every config file loads, survives JSON, can be changed on the command line, and mistakes are named."""

import csv
import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from metastyle import config
from metastyle.errors import InputError
from metastyle.nets import generator
from tests.support.places import ROOT

ALL = sorted((ROOT / "configs").glob("*.py"))
OTHERS = {"eval_quick": "evaluate", "eval_800": "evaluate", "distill": "distill"}  # config file -> experiment
KINDS = {"evaluate": config.Evaluation, "distill": config.Distillation}
FILES = [file for file in ALL if file.stem not in OTHERS]


def load(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def changed(*overrides, file="tiny_cpu"):
    """What `--config=configs/FILE.py --config.FIELD=VALUE ...` gives."""
    (path,) = (path for path in FILES if path.stem == file)
    values = flags.FlagValues()
    line = ["main", f"--config={path}", *(f"--config.{text}" for text in overrides)]
    holder = config_flags.DEFINE_config_file("config", None, "", flag_values=values, lock_config=True, sys_argv=line)
    values(line)
    return config.from_dict(holder.value.to_dict())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_config_file_is_a_config_and_survives_json(file):
    module = load(file)
    settings = config.from_dict(module.get_config().to_dict())
    assert config.from_dict(json.loads(config.to_json(settings))) == settings
    assert f"python -m experiments.meta_train --config=configs/{file.name}" in module.__doc__
    generator.split(generator.shapes(settings.generator), settings.inner.scope)  # both name something


@pytest.mark.parametrize("name, experiment", OTHERS.items())
def test_every_other_file_is_of_its_kind_and_survives_json(name, experiment):
    (module,) = (load(file) for file in ALL if file.stem == name)
    settings = config.from_dict(module.get_config().to_dict(), KINDS[experiment])
    assert config.from_dict(json.loads(config.to_json(settings)), KINDS[experiment]) == settings
    assert f"python -m experiments.{experiment} --config=configs/{name}.py" in module.__doc__


def test_the_benchmark_chooses_nothing(sample_data):
    (quick,) = (load(file) for file in ALL if file.stem == "eval_quick")
    with open(sample_data / "data" / "index.csv", newline="") as file:
        shared = [row["path"] for row in csv.DictReader(file) if row["source"] == "jiwoogit/StyleID"]
    in_val = {Path(path).name for path in shared if "/val/" in path}
    assert in_val == set(quick.get_config().leave_out)


def test_all_config_files_are_there_and_differ():
    assert {f.stem for f in FILES} >= {"default", "tiny_cpu", "metastyle_paper", "first_order", "norm_only", "reptile"}
    assert len({config.to_json(config.from_dict(load(f).get_config().to_dict())) for f in FILES}) == len(FILES)


def test_metastyles_inner_step_is_plain_sgd():
    (file,) = [f for f in FILES if f.stem == "metastyle_paper"]
    inner = config.from_dict(load(file).get_config().to_dict()).inner
    assert (inner.steps, inner.normalize, inner.lrs, inner.first_order) == (1, False, "fixed", False)


def test_json_holds_every_field():
    values = json.loads(config.to_json(config.Config()))
    assert values == dataclasses.asdict(config.Config())
    assert set(values) == {"run", "data", "generator", "loss", "inner", "encoder", "outer", "vgg", "start"}
    assert config.from_dict({}) == config.Config()


def test_a_config_file_changes_defaults_and_nothing_else():
    settings = config.from_dict(config.config_dict(inner={"steps": 9}, vgg="random").to_dict())
    expected = dataclasses.replace(config.Config(), inner=config.Inner(steps=9), vgg="random")
    assert settings == expected


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections'
@pytest.mark.parametrize(
    ("override", "section", "expected"),
    [
        ("inner.steps=3", "inner", {"steps": 3}),
        ("inner.scope=all", "inner", {"scope": "all"}),
        ("inner.scope=norm,block5,out", "inner", {"scope": "norm,block5,out"}),
        ("inner.lr=1", "inner", {"lr": 1.0}),
        ("inner.lr=1e-4", "inner", {"lr": 1e-4}),
        ("inner.first_order=false", "inner", {"first_order": False}),
        ("data.content=folder:$METASTYLE_SAMPLE_DATA/x", "data", {"content": "folder:$METASTYLE_SAMPLE_DATA/x"}),
        ("run.parallel=pmap", "run", {"parallel": "pmap"}),
        ("generator.arch=c3s1-4,c3s1-3", "generator", {"arch": "c3s1-4,c3s1-3"}),
    ],
)
def test_any_setting_can_be_changed_on_the_command_line(override, section, expected):
    before, after = changed(), changed(override)
    assert after == dataclasses.replace(before, **{section: dataclasses.replace(getattr(before, section), **expected)})
    assert changed(override, "vgg=random").vgg == "random"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"stepz": 3}}, r"^`inner.stepz`: no such setting; expected one of steps, scope"),
        ({"optimizer": {}}, r"^`optimizer`: no such setting; expected one of run, data"),
        ({"inner": 3}, r"^`inner`: expected a section of settings, got 3"),
        ([], r"^`config`: expected a section of settings, got \[\]"),
        ({"inner": {"steps": "3"}}, r"^`inner.steps`: expected int, got '3'"),
        ({"inner": {"steps": 3.0}}, r"^`inner.steps`: expected int, got 3.0"),
        ({"inner": {"steps": True}}, r"^`inner.steps`: expected int, got True"),
        ({"inner": {"lr": True}}, r"^`inner.lr`: expected float, got True"),
        ({"inner": {"scope": None}}, r"^`inner.scope`: expected str, got None"),
        ({"inner": {"first_order": 1}}, r"^`inner.first_order`: expected bool, got 1"),
        ({"vgg": 1}, r"^`vgg`: expected str, got 1"),
        ({"inner": {"steps": -1}}, r"^`inner.steps`: expected at least 0, got -1"),
        ({"outer": {"tasks": 0}}, r"^`outer.tasks`: expected at least 1, got 0"),
        ({"outer": {"lr": float("nan")}}, r"^`outer.lr`: expected at least 0, got nan"),
        ({"run": {"parallel": "xmap"}}, r"^`run.parallel`: expected one of shard_map, pmap, got 'xmap'"),
        ({"loss": {"kind": "l2"}}, r"^`loss.kind`: expected one of relative, paper, got 'l2'"),
        ({"data": {"size": 66}}, r"^`data.size`: expected a multiple of 4, got 66"),
        ({"data": {"on_device": True}}, r"^`data.rotate`: expected 0 with `data.on_device`.*got 5"),
        ({"outer": {"tasks": 4, "at_once": 3}}, r"^`outer.at_once`: expected a divisor of the 4 tasks.*got 3"),
        (
            {"outer": {"update": "reptile", "at_once": 2}, "inner": {"scope": "all"}},
            r"^`outer.at_once`: expected 1 with",
        ),
        ({"data": {"procedural_styles": 1.5}}, r"^`data.procedural_styles`: expected a share in \[0, 1\], got 1.5"),
        ({"outer": {"update": "reptile"}}, r"^`outer.update`: reptile needs `inner.scope` \"all\""),
    ],
)
def test_a_mistake_names_its_field(values, message):
    with pytest.raises(InputError, match=message) as error:
        config.from_dict(values)
    assert "\n" not in str(error.value)


def test_a_config_cannot_be_changed_and_can_be_a_key():
    settings = config.Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.inner.steps = 3
    assert {settings: 1}[config.Config()] == 1
