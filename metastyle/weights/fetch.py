"""Downloads public VGG-16 weights, checks them, and keeps them, converted, in the user's cache."""

import hashlib
import os
import re
import sys
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit

import numpy as np
from tqdm import tqdm

from metastyle.errors import InputError, reason
from metastyle.nets import vgg
from metastyle.system.files import check_output, temporary_folder
from metastyle.system.optional import need
from metastyle.system.paths import cache_dir
from metastyle.weights import vgg_files
from metastyle.weights.convert import READING, convert

_LONGEST = 86_400  # seconds that may be waited for the server


class Source(NamedTuple):
    """A public file of weights."""

    url: str
    checksum: str  # its md5, or the first digits of its sha256
    reader: str  # the package that reads it
    convention: vgg.Convention


SOURCES = {
    "vgg16": {
        "keras": Source(
            "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
            "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "6d6bbae143d832006294945121d1f1fc",
            "h5py",
            vgg.CAFFE,
        ),
        "torchvision": Source(
            "https://download.pytorch.org/models/vgg16-397923af.pth", "397923af", "torch", vgg.TORCHVISION
        ),
    }
}
_INSTEAD = (
    "try again, or get the file elsewhere and run experiments.convert_vgg, or set METASTYLE_VGG16 to a converted file"
)


def fetch(
    name: str = "vgg16",
    *,
    source: str = "keras",
    url: str | None = None,
    checksum: str | None = None,
    out: str | os.PathLike | None = None,
    timeout: float = 30,
    progress: bool = True,
    force: bool = False,
) -> Path:
    """Downloads VGG-16 weights and converts them, unless they are there already; returns their path.

    Args:
      name: what to fetch, a key of SOURCES.
      source: "keras" for the authors' Caffe numbers (59 MB), or "torchvision" for weights trained again (553 MB).
      url, checksum: a mirror of the source's file, and the md5 that it must have, or the sha256 or its first digits (8
        or more), in hexadecimal; by default those of the source.
      out: the file to write; by default the one in the cache, where `vgg_files.locate` looks.
      timeout: seconds without an answer or a byte before giving up.
      progress: shows a bar, and says where the weights are.
      force: downloads even if `out` holds such weights.

    Returns:
      The path of the weights, which `vgg_files.load` reads.

    Raises:
      InputError: the package that reads the file is missing (then nothing is downloaded), the server fails, or the file
        is not the expected one. Nothing is kept, and `out` is as it was.
    """
    if name not in SOURCES:
        raise InputError(f"`name`: expected one of {', '.join(SOURCES)}, got {name!r}")
    if source not in SOURCES[name]:
        raise InputError(f"`source`: expected one of {', '.join(SOURCES[name])}, got {source!r}")
    public = SOURCES[name][source]
    url, checksum = url or public.url, (checksum or public.checksum).lower()
    try:
        file_name = Path(urlsplit(url).path).name or name
    except ValueError as error:
        raise InputError(f"`url`: expected the address of a file, got {url} ({error})") from None
    if not re.fullmatch("[0-9a-f]{8,64}", checksum):
        raise InputError(f"`checksum`: expected 8 to 64 hexadecimal digits of an md5 or sha256, got {checksum!r}")
    if not 0 < timeout <= _LONGEST:
        raise InputError(f"`timeout`: expected more than 0 and at most {_LONGEST} seconds, got {timeout:g}")
    target = Path(out) if out else _cached()
    if not force and _holds(target, public.convention):
        _say(f"{target} is there already", progress)
        return target
    need(public.reader, READING)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"`out`: cannot make the folder {target.parent} ({reason(error)}); choose another, or set METASTYLE_CACHE"
        ) from None
    check_output(target, suffixes=(".safetensors",), name="out")
    with temporary_folder(target.parent) as folder:
        file = folder / file_name
        _download(url, checksum, file, timeout, progress)
        convert(file, target)
    _say(f"wrote {target}", progress)
    return target


def _cached() -> Path:
    """Where `vgg_files.locate` looks."""
    cache = cache_dir()
    if cache is None:
        raise InputError("`fetch`: there is no home folder for a cache; set METASTYLE_CACHE to a folder")
    return cache / vgg_files.VGG16_FILE_NAME


def _holds(path: Path, convention: vgg.Convention) -> bool:
    """Whether `path` holds weights with this input convention."""
    if not path.is_file():
        return False
    try:
        return np.allclose(vgg_files.load(path)["input"]["std"], convention.std)
    except InputError:
        return False


def _download(url: str, checksum: str, path: Path, timeout: float, progress: bool) -> None:
    """Downloads `url` to `path`; InputError unless it arrives whole and has the checksum."""
    digest = hashlib.new("md5" if len(checksum) == 32 else "sha256", usedforsecurity=False)
    with open(path, "wb") as file:
        for chunk in _chunks(url, timeout, progress):
            file.write(chunk)
            digest.update(chunk)
    if not digest.hexdigest().startswith(checksum):
        raise InputError(
            f"{url}: expected {digest.name} {checksum}, got {digest.hexdigest()[: len(checksum)]}: "
            f"damaged on the way, or another file; {_INSTEAD}"
        )


def _chunks(url: str, timeout: float, progress: bool) -> Iterator[bytes]:
    received = 0
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            length = int(response.headers.get("Content-Length", 0))
            with tqdm(total=length or None, unit="B", unit_scale=True, desc="download", disable=not progress) as bar:
                # read1 returns after one wait on the socket: the timeout bounds each wait, not the whole download.
                while chunk := response.read1(1 << 20):
                    received += len(chunk)
                    bar.update(len(chunk))
                    yield chunk
        failure = f"expected {length} bytes, got {received}" if received < length else ""
    except (OSError, HTTPException, ValueError) as error:
        failure = _failure(error, timeout)
    if failure:
        raise InputError(f"{url}: download failed ({failure}); {_INSTEAD}")


def _failure(error: BaseException, timeout: float) -> str:
    if not isinstance(error, HTTPError):
        error = getattr(error, "reason", error)  # a URLError wraps the error that happened
    return f"nothing came for {timeout:g} s" if isinstance(error, TimeoutError) else reason(error)


def _say(message: str, progress: bool) -> None:
    if progress:
        print(message, file=sys.stderr)
