"""Every config file loads, survives JSON, and can be changed on the command line."""

import csv
import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from metastyle import config
from metastyle.nets import generator
from metastyle.nets.params import split_by_scope
from tests.support.places import ROOT

ALL = sorted((ROOT / "configs").glob("*.py"))
OTHERS = {
    "eval_default": "evaluate",
    "eval_quick": "evaluate",
    "eval_800": "evaluate",
    "distill": "distill",
    "distill_half": "distill",
    "imitate": "imitate",
    "gan": "adversarial_train",
    "cycle_gan": "adversarial_train",
}  # config file -> experiment
KINDS = {
    "evaluate": config.Evaluation,
    "distill": config.Distillation,
    "imitate": config.Imitation,
    "adversarial_train": config.Adversarial,
}
FILES = [file for file in ALL if file.stem not in OTHERS]


def load(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def changed(*overrides):
    """What `--config=configs/tiny_cpu.py --config.FIELD=VALUE ...` gives."""
    (path,) = (path for path in FILES if path.stem == "tiny_cpu")
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
    split_by_scope(generator.shapes(settings.generator), settings.inner.scope)  # both name something


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
    assert (inner.steps, inner.normalize, inner.rate_kind, inner.first_order) == (1, False, "fixed", False)


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
