"""Settings from nested dicts, and their JSON and config-file forms."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, TypeVar, overload

from metastyle.config.meta_training import Config
from metastyle.errors import InputError

Settings = TypeVar("Settings")


@overload
def from_dict(values: Mapping[str, Any]) -> Config: ...


@overload
def from_dict(values: Mapping[str, Any], kind: type[Settings]) -> Settings: ...


def from_dict(values: Mapping[str, Any], kind: type = Config) -> Any:
    """Checked settings from nested dicts; fields that are missing take their defaults.

    A setting that has been renamed is also found under its former name (`checks.formerly`).

    Raises:
      InputError: an unknown setting, a value of another type, or one that the settings refuse; the message names it.
    """
    return _build(kind, _defaults(kind), values, "")


def _defaults(kind: type) -> dict[str, Any]:
    fields = dataclasses.fields(kind)
    return {f.name: f.default if f.default_factory is dataclasses.MISSING else f.default_factory() for f in fields}


def _build(kind: type, defaults: dict[str, Any], values: Any, prefix: str) -> Any:
    _check_section(values, prefix)
    values = _by_present_names(kind, values, prefix)
    unknown = sorted(set(values) - set(defaults))
    if unknown:
        raise InputError(f"`{prefix}{unknown[0]}`: no such setting; expected one of {', '.join(defaults)}")
    kinds = {f.name: f.metadata["named"] for f in dataclasses.fields(kind) if "named" in f.metadata}
    out = {}
    for name, value in values.items():
        default = defaults[name]
        if name in kinds:
            out[name] = _build_named(kinds[name], value, f"{prefix}{name}.")
        elif dataclasses.is_dataclass(default):
            out[name] = _build(type(default), vars(default), value, f"{prefix}{name}.")
        else:
            out[name] = _cast(f"{prefix}{name}", value, type(default))
    return kind(**defaults | out)


def _check_section(values: Any, prefix: str) -> None:
    if not isinstance(values, Mapping):
        raise InputError(f"`{prefix.rstrip('.') or 'config'}`: expected a section of settings, got {values!r}")


def _build_named(kind: type, values: Any, prefix: str) -> dict[str, Any]:
    _check_section(values, prefix)
    return {name: _build(kind, _defaults(kind), value, f"{prefix}{name}.") for name, value in values.items()}


def _by_present_names(kind: type, values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    present = {f.metadata["formerly"]: f.name for f in dataclasses.fields(kind) if "formerly" in f.metadata}
    for name in present.keys() & values.keys():
        if present[name] in values:
            raise InputError(
                f"`{prefix}{name}`: this is the former name of `{prefix}{present[name]}`, which is given as well; "
                "remove one of them"
            )
    return {present.get(name, name): value for name, value in values.items()}


def _cast(name: str, value: Any, kind: type) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is tuple and isinstance(value, list):
        return tuple(value)
    if type(value) is not kind:
        raise InputError(f"`{name}`: expected {kind.__name__}, got {value!r}")
    return value


def to_json(settings: Any) -> str:
    """Writes settings as indented JSON (`to_dict`)."""
    return json.dumps(to_dict(settings), indent=2) + "\n"


def to_dict(settings: Any) -> dict[str, Any]:
    """Settings as nested dicts, which `from_dict` reads.

    Settings that were added later are left out while they have their default, so that earlier versions can read files
    that don't need these settings.
    """
    values = dataclasses.asdict(settings)
    for f in dataclasses.fields(settings):
        value = getattr(settings, f.name)
        if _is_left_out(f, value):
            del values[f.name]
        elif dataclasses.is_dataclass(value):
            values[f.name] = to_dict(value)
    return values


def _is_left_out(field: dataclasses.Field, value: Any) -> bool:
    return "added_later" in field.metadata and value == field.default


def identify(settings: Any) -> str:
    """Writes settings as a text that identifies them in files: their `repr`, with the first name of each setting.

    Settings that were added later are left out while they have their default. So files that were written before a
    setting was renamed or added stay valid.
    """
    if not dataclasses.is_dataclass(settings):
        return repr(settings)
    fields = {
        f.metadata.get("formerly", f.name): value
        for f in dataclasses.fields(settings)
        if not _is_left_out(f, value := getattr(settings, f.name))
    }
    text = ", ".join(f"{name}={identify(value)}" for name, value in fields.items())
    return f"{type(settings).__qualname__}({text})"


def config_dict(kind: type = Config, /, **changes: Any) -> Any:
    """The defaults with changes, as an `ml_collections.ConfigDict`: a config file's `get_config()` returns it."""
    from ml_collections import ConfigDict

    return ConfigDict(dataclasses.asdict(from_dict(changes, kind)))
