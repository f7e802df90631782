"""Domains of pictures for adversarial training: who they are, which of them are held out, and crops of them."""

import hashlib
import os
from typing import NamedTuple

import numpy as np

from metastyle.config import Adversarial, DomainData
from metastyle.data.augment import augment
from metastyle.data.sources import FileSource, Resilient, Source, load_square, open_source
from metastyle.errors import InputError
from metastyle.images import codec
from metastyle.images.resize import resize_short

LEAST = 2  # pictures to learn from
_HELD_OUT = 4  # one in so many pictures is held out
_FORMS = ("folder", "csv", "tfds", "procedural")


class Part:
    """Those pictures of a source that have these indices, brought to a shorter side of `short` px."""

    def __init__(self, source: Source, indices: list[int], short: int):
        self._source, self._indices, self._short = source, indices, short

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> np.ndarray:
        picture = codec.load(self._source[self._indices[index]])[0]
        return codec.to_uint8(resize_short(picture, self._short))

    def name(self, index: int) -> str:
        return self._source.name(self._indices[index])


class Domain(NamedTuple):
    """A domain's pictures: those to learn from, and those that are held out. source: all of them, as they are."""

    name: str
    train: Source
    held_out: Source
    source: Source


def open_domains(data: DomainData, least: int = 2, name: str = "data.domains") -> list[Domain]:
    """Opens the domains of the setting `data.domains`.

    least: how many there must be. name: the argument that errors name.

    Raises FileNotFoundError or InputError for a source that can't be opened, one that is named twice, and a domain of
    fewer than two pictures to learn from.
    """
    found: list[Domain] = []
    for text in filter(None, (part.strip() for part in data.domains.split(","))):
        label, _, spec = text.partition(":")
        if not label or not spec:
            raise InputError(f"`{name}`: expected NAME:SOURCE,NAME:SOURCE, got {text!r}")
        spec = spec if spec.partition(":")[0] in _FORMS else f"folder:{spec}"
        opened = _open(label, spec, data, name)
        for other in found:
            if label == other.name or _same(opened.source, other.source):
                raise InputError(f"`{name}`: expected each name and each source once, got {text!r} again")
        found.append(opened)
    if len(found) < least:
        raise InputError(f"`{name}`: expected at least {least} domains, got {len(found)}")
    return found


def _open(label: str, spec: str, data: DomainData, name: str) -> Domain:
    source = open_source(spec, "style", size=data.short, name=name)
    held = [is_held_out(source.name(i)) for i in range(len(source))]
    parts = {kept: [i for i, out in enumerate(held) if out != kept] for kept in (True, False)}
    if len(parts[True]) < LEAST:
        raise InputError(
            f"`{name}`: expected at least {LEAST} pictures of {label} to learn from, got {len(parts[True])} "
            f"beside {len(parts[False])} that are held out; add more"
        )
    train, held_out = (Part(Resilient(source, name), parts[kept], data.short) for kept in (True, False))
    return Domain(label, train, held_out, source)


def _same(a: Source, b: Source) -> bool:
    """Whether both are the same pictures of a folder, under whatever names of it."""
    if not (isinstance(a, FileSource) and isinstance(b, FileSource)):
        return False
    return len(a) == len(b) and all(os.path.realpath(a.file(i)) == os.path.realpath(b.file(i)) for i in range(len(a)))


def is_held_out(name: str) -> bool:
    """Whether the picture of this name is held out: one in four, by a hash that never changes."""
    return int(hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8], 16) % _HELD_OUT == 0


def squares(pictures: Source, size: int, most: int | None = None) -> list[np.ndarray]:
    """The centre of each picture, or of the first `most`, as f32[size, size, 3]."""
    return [load_square(pictures, i, size) for i in range(min(len(pictures), most or len(pictures)))]


class PairSampler:
    """Draws a photograph and a picture of another domain, for a step; a pure function of (seed, step, index).

    A sample has "photo" and "real", and held-out pictures of both domains, "held_out_photo" and "held_out", each
    f32[S, S, 3] in [0, 1]; and "key", the uint32[2] of a random key. Where no picture is held out, another one to learn
    from stands for it. With `pool`, "slot" is a place in the pool of earlier pictures, "read" says whether the picture
    there is taken instead of a new one, and "write" whether the new one takes its place. The pool is filled first.
    """

    def __init__(self, settings: Adversarial, photos: Domain, domain: Domain):
        self._settings = settings
        self._sources = {"photo": photos.train, "real": domain.train}
        for name, found in (("held_out", domain), ("held_out_photo", photos)):
            self._sources[name] = found.held_out or found.train

    def sample(self, step: int, index: int) -> dict[str, np.ndarray]:
        """The sample `index` of a step."""
        data = self._settings.data
        rng = np.random.default_rng((self._settings.run.seed, step, index))
        found = {"key": rng.integers(0, 2**32, 2, np.uint32)}
        for name, source in self._sources.items():
            picture = source[int(rng.integers(len(source)))]
            found[name] = augment(rng, picture, data.size, zoom=data.short / data.size, rotate=0.0, flip=True)
        return found | self._place(rng, step, index)

    def _place(self, rng: np.random.Generator, step: int, index: int) -> dict[str, np.ndarray]:
        """The place in the pool. Samples of one step never share one, for each has a part of the pool of its own."""
        share = self._settings.pool // self._settings.batch
        if not share:
            return {}
        filling = step < share
        slot = index * share + (step if filling else int(rng.integers(share)))
        read = not filling and bool(rng.random() < 0.5)
        return {"slot": np.array(slot, np.int32), "read": np.array(read), "write": np.array(filling or read)}
