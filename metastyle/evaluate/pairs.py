"""The pairs of an evaluation: which photograph is judged in which style, and on which photographs methods learn."""

import functools
import hashlib
import math
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from metastyle.config import Evaluation
from metastyle.data.sources import Kind, Source, load_square, open_source
from metastyle.errors import InputError
from metastyle.evaluate.results import Skipped

SUPPORT = 16  # photographs that a method may learn on, per pair


class Pair(NamedTuple):
    """A photograph and a style picture, f32[S, S, 3], with their names; and `support`, other photographs likewise."""

    number: int
    content_name: str
    style_name: str
    content: np.ndarray
    style: np.ndarray
    support: list[np.ndarray]


class Pairs:
    """The pairs of a protocol, by index; pictures are read when they are asked for.

    Pair i is photograph i (modulo their number) with style p(i), where p is a permutation drawn from `seed` that moves
    on by one wherever the same pair would come again. With `product`, pair i is the i-th combination of all photographs
    with all styles. No pair comes twice, so there are at most as many as photographs times styles. The support of a
    pair are the photographs that follow the judged one, beginning again after the last; never the judged one itself.
    """

    def __init__(
        self,
        contents: str,
        styles: str,
        count: int,
        size: int,
        *,
        product: bool = False,
        leave_out: Collection[str] = (),
        seed: int = 0,
    ):
        """contents, styles: folders, or specs of sources.open_source. leave_out: names of pictures not to use.

        size: px, the side of the squares. Raises FileNotFoundError or InputError for what can't be opened, fewer than
        two photographs (one to judge, one to learn on), or a name in `leave_out` that is not there.
        """
        self._size = size
        self._contents, self._styles = _open(contents, "content", size), _open(styles, "style", size)
        content, style = self._kept(leave_out)
        if len(content) < 2:
            raise InputError(
                f"`contents`: expected at least 2 photographs, one to judge and one to learn on, got {len(content)}"
            )
        if product:
            order = [(i, j) for i in range(len(content)) for j in range(len(style))]
        else:
            shuffled, again = np.random.default_rng(seed).permutation(len(style)), math.lcm(len(content), len(style))
            most = min(count, len(content) * len(style))
            order = [(i % len(content), int(shuffled[(i + i // again) % len(style)])) for i in range(most)]
        self._content, self._style, self._order = content, style, order[:count]
        self._square = functools.lru_cache(maxsize=128)(self._read)

    def _kept(self, leave_out: Collection[str]) -> list[Sequence[int]]:
        """The indices of the photographs, and of the styles, that are not left out."""
        sources = self._contents, self._styles
        if not leave_out:  # names of a large data set take long to read
            return [range(len(source)) for source in sources]
        names = [[source.name(i) for i in range(len(source))] for source in sources]
        unknown = set(leave_out).difference(*names)
        if unknown:
            raise InputError(
                f"`leave_out`: no such picture: {min(unknown)}, of {len(leave_out)} that are to be left out of these "
                "contents and styles; name pictures that are in them, or none: --config.leave_out='()'"
            )
        return [[i for i, name in enumerate(side) if name not in leave_out] for side in names]

    def __len__(self) -> int:
        return len(self._order)

    def style(self, index: int) -> int:
        """The number of a pair's style, which pairs may share."""
        return self._order[index][1]

    def __getitem__(self, index: int) -> Pair:
        """Raises InputError or OSError when its photograph or its style can't be read."""
        judged, style = self._order[index]
        content = self._content[judged]
        return Pair(
            index,
            self._contents.name(content),
            self._styles.name(self._style[style]),
            self._square("content", content),
            self._square("style", self._style[style]),
            [self._square("content", i) for i in self._support(judged)],
        )

    def _support(self, judged: int) -> list[int]:
        found, count = [], len(self._content)
        for i in range(judged + 1, judged + count):
            if len(found) == SUPPORT:
                break
            try:
                self._square("content", self._content[i % count])
            except (InputError, OSError):
                continue  # `readable` names it
            found.append(self._content[i % count])
        return found

    def _read(self, kind: str, index: int) -> np.ndarray:
        return load_square(self._contents if kind == "content" else self._styles, index, self._size)

    def digest(self, index: int) -> str:
        """A hash of the pixels of a pair and of its support."""
        judged, style = self._order[index]
        pixels = [self._pixels("content", i) for i in (self._content[judged], *self._support(judged))]
        return hashlib.sha256(" ".join([self._pixels("style", self._style[style]), *pixels]).encode()).hexdigest()

    @functools.cache  # noqa: B019  (pairs live as long as the process)
    def _pixels(self, kind: str, index: int) -> str:
        return hashlib.sha256(np.ascontiguousarray(self._square(kind, index)).tobytes()).hexdigest()

    def readable(self) -> tuple[list[int], list[Skipped]]:
        """Reads every pair's pictures: the pairs that can be judged, and the pictures that can't be read.

        Raises InputError when no pair is left.
        """
        left, skipped = [], {}
        for index, (judged, style) in enumerate(self._order):
            sound = True
            for kind, source, i in (
                ("content", self._contents, self._content[judged]),
                ("style", self._styles, self._style[style]),
            ):
                if (kind, i) not in skipped:
                    try:
                        self._square(kind, i)
                    except (InputError, OSError) as error:
                        skipped[kind, i] = Skipped(source.name(i), str(error))
                sound = sound and (kind, i) not in skipped
            if sound:
                left.append(index)
        if not left:
            reason = next(iter(skipped.values())).reason if skipped else "there is none to begin with"
            raise InputError(f"`pairs`: none of {len(self)} pairs is left to judge; {reason}")
        return left, list(skipped.values())


def pairs_of(settings: Evaluation) -> Pairs:
    """The pairs of an evaluation."""
    return Pairs(
        settings.contents,
        settings.styles,
        settings.pairs,
        settings.size,
        product=settings.product,
        leave_out=settings.leave_out,
    )


def _open(spec: str, kind: Kind, size: int) -> Source:
    is_spec = re.match(r"(folder|tfds):|procedural$", spec)
    return open_source(spec if is_spec else f"folder:{spec}", kind, size=size, name=f"{kind}s")
