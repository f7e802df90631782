"""What bundles and style files have in common on disk: the format version, the checks and the names of tensors."""

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from metastyle.config import Config
from metastyle.errors import InputError, one_line, shown
from metastyle.meta.outer_loop import meta_shapes
from metastyle.nets.params import Flat
from metastyle.system.files import is_file
from metastyle.system.tensor_file import join, read

FORMAT_VERSION = 1


@contextlib.contextmanager
def parsing(name: str, path: Any) -> Iterator[None]:
    """Turns the errors that a damaged text makes Python raise into an InputError that names the file."""
    try:
        yield
    except (ValueError, TypeError, KeyError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else one_line(error)
        raise InputError(
            f"`{name}`: {shown(path)} is damaged or not metastyle's ({why}); copy or make it again"
        ) from None


def check_version(name: str, path: Any, version: Any) -> None:
    """Raises InputError unless `version` is FORMAT_VERSION."""
    if str(version) != str(FORMAT_VERSION):
        raise InputError(
            f"`{name}`: {shown(path)} has format_version {version}, expected {FORMAT_VERSION}; "
            "use the metastyle that wrote it, or a newer one"
        )


def check_shapes(name: str, path: Any, settings: Config, tensors: Flat, parts: Collection[str] = ()) -> None:
    """Raises InputError unless `tensors` have the names and shapes that `settings` ask for, in all or in some parts."""
    try:
        meta = meta_shapes(settings)
    except InputError as error:
        raise InputError(f"`{name}`: {shown(path)} has settings that make no network: {error}") from None
    wanted = {part: flat for part, flat in meta.parts().items() if not parts or part in parts}
    if any(n.startswith("plain/") for n in tensors):
        wanted["plain"] = meta.fast
    expected = {n: x.shape for n, x in join(wanted).items()}
    got = {n: x.shape for n, x in tensors.items()}
    wrong = sorted(n for n in expected.keys() | got.keys() if expected.get(n) != got.get(n))
    if wrong:
        raise InputError(
            f"`{name}`: {shown(path)} does not fit its own settings (architecture {settings.generator.arch}, fast "
            f"parameters {settings.inner.scope}): expected {_shape(wrong[0], expected)}, got {_shape(wrong[0], got)}; "
            "use tensors and settings of one run"
        )


def _shape(name: str, shapes: dict[str, tuple[int, ...]]) -> str:
    return f"{name} of shape {shapes[name]}" if name in shapes else f"no {name}"


def split(tensors: Flat) -> dict[str, Flat]:
    """Groups tensors by part, the inverse of `tensor_file.join`; the parts fast, slow and log_lr are always there."""
    parts: dict[str, Flat] = {"fast": {}, "slow": {}, "log_lr": {}}
    for name, x in sorted(tensors.items()):
        part, _, path = name.partition("/")
        parts.setdefault(part, {})[path] = x
    return parts


def read_tensors(name: str, path: Path) -> tuple[Flat, dict[str, str]]:
    """Reads the tensors and the metadata of a safetensors file.

    name: the argument that errors name. Raises FileNotFoundError or InputError if it can't be read.
    """
    if not is_file(path, name):
        raise FileNotFoundError(f"`{name}`: expected a safetensors file, got {shown(path)}, which is not a file")
    tensors, metadata = read(path, f"`{name}`: {shown(path)} is no readable safetensors file", "make it again")
    return {**tensors}, metadata
