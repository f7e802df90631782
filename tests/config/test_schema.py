"""Settings survive JSON, mistakes are named, and former names are read."""

import dataclasses
import json

import pytest

from metastyle import config
from metastyle.config.checks import at_least, check_fields, formerly
from metastyle.errors import InputError
from tests.support.errors import refused


def test_json_holds_every_field():
    values = json.loads(config.to_json(config.Config()))
    everything = dataclasses.asdict(config.Config())
    later = [("loss", "octaves"), ("loss", "shift"), ("generator", "phases"), ("encoder", "octaves")]
    assert [everything[section].pop(name) for section, name in later] == [1, 0, 1, 1]  # earlier versions lack them
    assert values == everything
    assert set(values) == {"run", "data", "generator", "loss", "inner", "encoder", "outer", "vgg", "start"}
    assert config.from_dict({}) == config.Config()


def test_a_config_file_changes_defaults_and_nothing_else():
    settings = config.from_dict(config.config_dict(inner={"steps": 9}, vgg="random").to_dict())
    expected = dataclasses.replace(config.Config(), inner=config.Inner(steps=9), vgg="random")
    assert settings == expected


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
        (
            {"outer": {"tasks": 4, "tasks_side_by_side": 3}},
            r"^`outer.tasks_side_by_side`: expected a divisor of the 4 tasks.*got 3",
        ),
        (
            {"outer": {"update": "reptile", "tasks_side_by_side": 2}, "inner": {"scope": "all"}},
            r"^`outer.tasks_side_by_side`: expected 1 with",
        ),
        ({"data": {"procedural_styles": 1.5}}, r"^`data.procedural_styles`: expected a share in \[0, 1\], got 1.5"),
        ({"outer": {"update": "reptile"}}, r"^`outer.update`: reptile needs `inner.scope` \"all\""),
    ],
)
def test_a_mistake_names_its_field(values, message):
    with refused(message):
        config.from_dict(values)


def test_a_config_cannot_be_changed_and_can_be_a_key():
    settings = config.Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.inner.steps = 3
    assert {settings: 1}[config.Config()] == 1


@dataclasses.dataclass(frozen=True)
class Section:
    rate: float = dataclasses.field(default=1.0, metadata=at_least(0) | formerly("lr"))
    steps: int = 2


@dataclasses.dataclass(frozen=True)
class Renamed:
    section: Section = Section()
    network: str = dataclasses.field(default="slim", metadata=formerly("vgg"))


def test_a_renamed_setting_is_read_under_its_former_name():
    settings = config.from_dict({"vgg": "random", "section": {"lr": 3, "steps": 4}}, Renamed)
    assert settings == Renamed(Section(3.0, 4), "random")
    assert json.loads(config.to_json(settings)) == {"section": {"rate": 3.0, "steps": 4}, "network": "random"}


def test_a_new_name_of_a_setting_does_not_change_what_identifies_settings():
    assert config.identify(Renamed(Section(3.0, 4))) == "Renamed(section=Section(lr=3.0, steps=4), vgg='slim')"
    assert config.identify(config.Inner()) == (
        "Inner(steps=5, scope='norm', support=1, lr=0.01, normalize=True, lrs='step', first_order=False, "
        "gradient='forward_over_reverse', remat=False)"
    )
    assert "at_once=1" in config.identify(config.Config()) and "lrs_lr=0.01" in config.identify(config.Config())


def test_a_setting_that_was_added_later_identifies_settings_only_where_it_says_something_new():
    assert config.identify(config.Loss()) == (
        "Loss(kind='relative', statistic='gram', content=1.0, style=5.0, tv=0.0, grid=0.0)"
    )
    assert config.identify(config.Loss(octaves=3)).endswith("grid=0.0, octaves=3)")


@pytest.mark.parametrize("kind", [config.Config, config.Distillation])
def test_pictures_are_large_enough_for_the_last_octave(kind):
    config.from_dict({"loss": {"octaves": 3}, "data": {"size": 32}}, kind)
    with refused("^`loss.octaves`: expected `data.size` to be at least 32 px for 3 octaves, got 28"):
        config.from_dict({"loss": {"octaves": 3}, "data": {"size": 28}}, kind)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"section": {"lr": 1.0, "rate": 1.0}}, "^`section.lr`: this is the former name of `section.rate`"),
        ({"section": {"lr": -1.0}}, "^`section.rate`: expected at least 0"),
        ({"section": {"lr": "1"}}, "^`section.rate`: expected float"),
    ],
)
def test_a_mistake_under_a_former_name(values, message):
    with pytest.raises(InputError, match=message):
        check_fields(config.from_dict(values, Renamed))
