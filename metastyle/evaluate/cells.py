"""The unit of work of an evaluation, a cell: one method on one pair, kept on disk as soon as it is judged."""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from tqdm import tqdm

from metastyle.evaluate.baselines import gatys
from metastyle.evaluate.judge import Judge
from metastyle.evaluate.methods import Method, slug
from metastyle.evaluate.pairs import Pair, Pairs
from metastyle.evaluate.results import Row, row_of
from metastyle.images import codec
from metastyle.system import files

_JUDGING = 3.0  # the cost of judging the outputs for one pair, in passes forward and back through the VGG
_FORMAT = 1  # version of a cell; a change in the measures changes it


class Kept(NamedTuple):
    """What is on disk of a cell: the hash of everything that its rows depend on, and the rows so far."""

    key: str
    complete: bool
    rows: list[Row]


class Cell:
    """One method on one pair. OUT/cells/METHOD/PAIR.json keeps its rows, OUT/pictures/METHOD/ its outputs."""

    def __init__(self, out: Path, method: Method, pair: int, digest: str):
        """digest: identifies everything that scores depend on besides the method and the pair."""
        folder = slug(method.name)
        self.method, self.pair, self._out, self._digest = method, pair, out, digest
        self._path = out / "cells" / folder / f"{pair:03d}.json"
        self._pictures = Path("pictures", folder)

    def _key(self, pairs: Pairs) -> str:
        text = f"{_FORMAT} {self._digest} {self.method.key} {pairs.digest(self.pair)}"
        return hashlib.sha256(text.encode()).hexdigest()

    def load(self, pairs: Pairs) -> Kept:
        """What was kept; no rows if they depend on anything else than they would now, or if a picture is gone."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            found = json.loads(self._path.read_text())
            rows = [row_of(values) for values in found["rows"]]
            if all((self._out / row.picture).is_file() for row in rows) and found["key"] == self._key(pairs):
                return Kept(found["key"], found["complete"], rows)
        return Kept(self._key(pairs), False, [])

    def fill(self, pairs: Pairs, judge: Judge) -> Iterator[int]:
        """Runs the method and writes a row for each of its views; yields their numbers of steps."""
        pair, kept = pairs[self.pair], self.load(pairs)
        rows = {row.steps: row for row in kept.rows}
        (self._out / self._pictures).mkdir(parents=True, exist_ok=True)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for view in self.method.views(pair):
            picture = self._pictures / f"{self.pair:03d}_{view.steps}.png"
            codec.save(self._out / picture, view.picture)
            rows[view.steps] = Row(
                method=self.method.name,
                steps=view.steps,
                pair=self.pair,
                **judge(view.picture, pair)._asdict(),
                adapt_s=view.adapt_s,
                stylize_ms=view.stylize_ms,
                shift=view.shift,
                picture=picture.as_posix(),
            )
            self._write(kept._replace(rows=[rows[k] for k in sorted(rows)]))
            yield view.steps
        self._write(kept._replace(rows=[rows[k] for k in sorted(rows)], complete=True))

    def _write(self, kept: Kept) -> None:
        rows = [row._asdict() for row in kept.rows]
        for row in rows:
            del row["closed"], row["closed3"]  # they depend on other cells, too
        files.write(self._path, json.dumps(kept._asdict() | {"rows": rows}).encode())


def fill_cells(cells: list[Cell], pairs: Pairs, judge: Judge) -> None:
    """Fills the cells; prints first about how long that takes, and shows progress."""
    if not cells:
        return
    unit = _seconds_per_pass(judge, pairs[cells[0].pair])
    costs = [cell.method.cost + _JUDGING for cell in cells]
    print(
        f"{len(cells)} cells to fill ({', '.join(dict.fromkeys(cell.method.name for cell in cells))}): "
        f"about {_duration(unit * sum(costs))} on this machine",
        flush=True,
    )
    warm, bar_format = set(), "{percentage:3.0f}% [{elapsed} < {remaining}]{postfix}"
    with tqdm(total=sum(costs), bar_format=bar_format) as bar:
        for cell, cost in zip(cells, costs, strict=True):
            bar.set_postfix_str(f"{cell.method.name}, pair {cell.pair}")
            if cell.method.name not in warm:
                cell.method.warm_up(pairs[cell.pair])
                warm.add(cell.method.name)
            began = bar.n
            for steps in cell.fill(pairs, judge):
                share = min(steps / cell.method.last, 1.0) if cell.method.last else 1.0
                bar.update(max(began + share * cost - bar.n, 0))
            bar.update(began + cost - bar.n)


def _seconds_per_pass(judge: Judge, pair: Pair) -> float:
    """The measured duration of one pass forward and back through the VGG at this size."""
    objective = gatys.objective(judge.params, pair.content, [pair.style])
    picture, seconds = jnp.asarray(pair.content), []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(objective(picture))
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes / 60:.1f} hours" if minutes > 90 else f"{max(minutes, 1):.0f} min"
