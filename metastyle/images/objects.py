"""The objects that programs have for pictures: those of NumPy, PIL, PyTorch, JAX, file systems and web frameworks.

Each is taken where its meaning is plain, and refused in one line where it has more than one.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Protocol

import numpy as np
from PIL import Image

from metastyle.errors import InputError, reason


class SupportsArray(Protocol):
    """An object that NumPy can make an array of, such as a tensor of PyTorch or an array of JAX."""

    def __array__(self, *arguments: Any) -> np.ndarray: ...


Picture = (
    str
    | os.PathLike
    | bytes
    | bytearray
    | memoryview
    | BinaryIO
    | Image.Image
    | np.ndarray
    | SupportsArray  # one picture
)
Plain = str | bytes | Image.Image | np.ndarray

_PASS = "pass a path, the bytes of a file, a file opened in binary mode, a PIL image or an array"
_CHANNELS = (1, 2, 3, 4)


def plain(given: Any, name: str) -> Plain:
    """The path, bytes, PIL image or array that an object stands for.

    Args:
      given: one of these, or
        - a `pathlib.Path`, or something else with the method `read_bytes`, such as a file in a package or an archive;
        - a buffer of the bytes of a file: `bytearray`, or a `memoryview` of bytes;
        - a file opened in binary mode, such as `io.BytesIO`, or the upload of a web framework. It is read from its
          start, and its position stays, if it has one;
        - the text "data:image/png;base64,...", as browsers send it;
        - a tensor of PyTorch, on any device, or whatever else NumPy makes an array of. Arrays are [H, W], or have up to
          4 channels (grey, grey and opacity, RGB, RGB and opacity) in the last axis or, as in PyTorch, in the first; a
          batch of one picture is that picture.
      name: the argument that errors name.

    Returns:
      Arrays are [H, W], [H, W, 3] or [H, W, 4], of uint8, uint16 or a type of floats. True and False become 255 and 0;
      whole numbers of other types, from 0 to 255 and more than 1, become uint8.

    Raises InputError for anything else.
    """
    if isinstance(given, str) and given.startswith("data:"):
        return _data_address(given, name)
    if isinstance(given, str) and given.startswith(("http://", "https://")):
        raise InputError(f"`{name}`: expected a file, got the address {given[:80]!r}; download it and pass the file")
    if isinstance(given, str | os.PathLike):
        return os.fsdecode(given)
    if isinstance(given, bytes | Image.Image):
        return given
    if isinstance(given, bytearray) or (isinstance(given, memoryview) and given.ndim == 1 and given.itemsize == 1):
        return bytes(given)
    for method, read in (("read_bytes", _read_bytes), ("read", _read), ("__array__", _array)):
        if callable(getattr(given, method, None)) and not isinstance(given, type):
            return read(given, name)
    if isinstance(given, memoryview):
        return _array(given, name)
    raise InputError(f"`{name}`: expected a picture, got {kind(given)}; {_PASS}")


def several(given: Any) -> list[Any]:
    """The pictures that an argument for one or several holds: those of any collection but a mapping, or a batch."""
    if isinstance(given, np.ndarray) or callable(getattr(given, "__array__", None)):
        return list(given) if getattr(given, "ndim", 0) == 4 else [given]
    single = isinstance(given, str | os.PathLike | bytes | bytearray | memoryview | Image.Image | Mapping)
    if single or not isinstance(given, Iterable) or callable(getattr(given, "read", None)):
        return [given]
    return list(given)


def kind(given: Any) -> str:
    """Names the type of an object for messages."""
    if given is None:
        return "None"
    module, name = type(given).__module__.partition(".")[0], type(given).__qualname__
    return name if module == "builtins" else f"{module}.{name}"


def _data_address(text: str, name: str) -> bytes:
    head, _, data = text.partition(",")
    try:
        if not head.endswith(";base64"):
            raise ValueError("it is not in base64")
        return base64.b64decode(data, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InputError(f"`{name}`: cannot decode {text[:30]!r}... ({reason(error)}); {_PASS}") from None


def _read_bytes(given: Any, name: str) -> bytes:
    try:
        return given.read_bytes()
    except (OSError, KeyError) as error:
        raise InputError(f"`{name}`: cannot read {given} ({reason(error)}); choose another") from None


def _read(given: Any, name: str) -> bytes:
    file: Any = given
    if inspect.iscoroutinefunction(given.read):  # the upload of an asynchronous framework holds a file
        file = getattr(given, "file", None)
        if not callable(getattr(file, "read", None)):
            raise InputError(f"`{name}`: expected a file to read, got {kind(given)}; pass what `await read()` returns")
    try:
        with _from_start(file):
            data: Any = file.read()
    except (OSError, ValueError) as error:  # such as a closed file
        raise InputError(f"`{name}`: cannot read {kind(given)} ({reason(error)}); open it again") from None
    if not isinstance(data, bytes | bytearray):
        raise InputError(f"`{name}`: expected a file that gives bytes, got {kind(given)}; open it with mode 'rb'")
    return bytes(data)


@contextlib.contextmanager
def _from_start(file: Any) -> Iterator[None]:
    """A block in which a file is read from its start; afterwards it is where it was. Without a position, it stays."""
    if not (callable(getattr(file, "seekable", None)) and file.seekable()):
        yield
        return
    place = file.tell()
    file.seek(0)
    try:
        yield
    finally:
        file.seek(place)


def _array(given: Any, name: str) -> np.ndarray:
    array = _of_numpy(given, name)
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    elif array.ndim == 4:
        raise InputError(f"`{name}`: expected one picture, got {len(array)} in {_shape(array)}; pass one of them")
    return _known_type(_channels_last(array, given, name), name)


def _of_numpy(given: Any, name: str) -> np.ndarray:
    if isinstance(given, np.ma.MaskedArray):
        if np.ma.is_masked(given):
            raise InputError(f"`{name}`: expected an array without masked values; fill them: x.filled(0)")
        return given.data
    try:
        if callable(getattr(given, "detach", None)):  # PyTorch: on a device, or in a graph
            given = given.detach().cpu()
            given = given.float() if "bfloat16" in str(given.dtype) else given
        array = np.asarray(given)
    except Exception as error:  # whatever another library's conversion raises
        raise InputError(f"`{name}`: cannot make an array of {kind(given)} ({reason(error)}); {_PASS}") from None
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _channels_last(array: np.ndarray, given: Any, name: str) -> np.ndarray:
    """The array as [H, W], [H, W, 3] or [H, W, 4]. A tensor of PyTorch with channels at both ends has two meanings."""
    if array.ndim == 2:
        return array
    last, first = (array.ndim == 3 and array.shape[axis] in _CHANNELS for axis in (2, 0))
    if last and first and callable(getattr(given, "detach", None)):
        how = "pass x.permute(1, 2, 0).numpy() or x.numpy()"
        raise InputError(f"`{name}`: expected channels in one axis, got {_shape(array)}; {how}")
    if not (last or first):
        raise InputError(f"`{name}`: expected [H, W], [H, W, 3] or [H, W, 4], got {_shape(array)}; pass one picture")
    array = array if last else np.moveaxis(array, 0, 2)
    if array.shape[2] == 2:
        return array[..., [0, 0, 0, 1]]
    return array[..., 0] if array.shape[2] == 1 else array


def _known_type(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == bool:
        return array * np.uint8(255)
    if array.dtype.kind == "f" or array.dtype.newbyteorder("=") in (np.uint8, np.uint16):
        return array
    if array.dtype.kind in "iu" and array.size:
        low, high = array.min(), array.max()
        if low >= 0 and 1 < high <= 255:
            return array.astype(np.uint8)
        raise InputError(
            f"`{name}`: expected uint8, uint16 or floats in [0, 1], got {array.dtype} from {low} to {high}; "
            "pass x.astype('uint8') if 255 is white, or x.astype('float32') if 1 is"
        )
    raise InputError(f"`{name}`: expected uint8, uint16 or floats in [0, 1], got {array.dtype}; convert it to one")


def _shape(array: np.ndarray) -> str:
    return f"the array of shape {array.shape}"
