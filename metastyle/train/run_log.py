"""What a run writes and shows while it runs: metrics.csv, speed.json, TensorBoard events, pictures, and progress."""

import contextlib
import csv
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from metastyle.images import codec
from metastyle.system import files

_FLUSH_SECONDS = 1  # of events: when the run is killed, no more of them are lost
Row = tuple[int, dict[str, Any]]  # a step and its metrics: scalars by name


class _Outputs(NamedTuple):
    csv: IO[str]
    events: SummaryWriter


class RunLog:
    """Writes metrics.csv, TensorBoard events and pictures, and shows a progress bar; does nothing unless `main`."""

    def __init__(
        self, workdir: Path | None, start: int, steps: int, columns: Sequence[str], shown: str, main: bool = True
    ):
        """Opens the files in `workdir`; without one, only the progress bar is shown.

        columns: the metrics that are logged; rows of metrics.csv for steps after `start` are dropped. shown: the metric
        beside the progress bar.
        """
        self._main, self._workdir, self._columns, self._shown = main, workdir, columns, shown
        self._outputs: _Outputs | None = None
        if main and workdir:
            _keep_rows(workdir / "metrics.csv", start, columns)
            self._outputs = _Outputs(
                open(workdir / "metrics.csv", "a", newline=""),  # noqa: SIM115
                SummaryWriter(str(workdir / "events"), purge_step=start + 1, flush_secs=_FLUSH_SECONDS),
            )
        self._bar = tqdm(total=steps, initial=start, unit="step", mininterval=1.0, disable=not main)
        self._waited, self._since, self._first = 0.0, time.monotonic(), None
        self._facts: dict[str, float] = {}

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self._bar.close()
        if kind is None and self._first is not None and self._bar.n > self._first[0]:
            step, began = self._first
            steps = self._bar.n - step
            rate = steps / (self._since - began)
            self.print_line(f"{steps} steps after step {step}: {rate:.3g} steps/s")
            self.note({"steps_per_second": rate})
        if self._outputs:
            reported = (OSError,) if kind else ()  # where writing failed, the error is reported already
            with contextlib.suppress(*reported):
                self._outputs.csv.close()
                self._outputs.events.close()

    def note(self, facts: Mapping[str, float]) -> None:
        """Adds numbers about the run itself to speed.json."""
        self._facts |= facts
        if self._workdir and self._outputs and facts:
            text = json.dumps(self._facts) + "\n"
            files.write(self._workdir / "speed.json", text.encode(), name="workdir")

    def print_line(self, text: str) -> None:
        """Prints a line above the progress bar."""
        if self._main:
            tqdm.write(text)
            sys.stdout.flush()  # otherwise, in a file, the line would come after later lines of stderr

    def write(self, rows: Sequence[Row], every: int, last_good: int | None, waited: float) -> None:
        """Shows the progress of all `rows`, and writes those whose step is a multiple of `every`.

        last_good: the step of the newest checkpoint. waited: seconds that the run has waited for data so far.

        Raises FloatingPointError if a metric is not finite.
        """
        _check_finite(rows, self._columns, self._advice(last_good))
        seconds = max(time.monotonic() - self._since, 1e-9)
        share = (waited - self._waited) / seconds
        if self._outputs:
            self._write_rows(self._outputs, [row for row in rows if row[0] % every == 0], share)
        mean = np.mean([float(metrics[self._shown]) for _, metrics in rows])
        self._bar.set_postfix_str(f"{self._shown} {mean:.3f}, data wait {share:.0%}", refresh=False)
        self._bar.update(len(rows))
        self._waited, self._since = waited, time.monotonic()
        self._first = self._first or (self._bar.n, self._since)  # the time before went into compiling

    def _write_rows(self, out: _Outputs, rows: Sequence[Row], share: float) -> None:
        for step, metrics in rows:
            csv.writer(out.csv).writerow([step, *(repr(float(metrics[k])) for k in self._columns)])
            for name in self._columns:
                out.events.add_scalar(name, float(metrics[name]), step)
            out.events.add_scalar("data_wait_share", share, step)
        try:
            out.csv.flush()
        except OSError as error:
            raise OSError(
                f"`workdir`: cannot write {out.csv.name} ({error.strerror}); mend that, and the same line continues"
            ) from None

    def _advice(self, last_good: int | None) -> str:
        if self._workdir is None:
            return ""
        good = f"the checkpoint of step {last_good} is good" if last_good else "there is no checkpoint yet"
        return f"; {good}; try lower rates in another --workdir"

    def write_picture(self, grid: np.ndarray, step: int) -> None:
        """Writes the grid f32[H, W, 3] of a step."""
        if self._outputs and self._workdir:
            folder = self._workdir / "pictures"
            folder.mkdir(exist_ok=True)
            codec.save(folder / f"step_{step:07d}.png", grid)
            self._outputs.events.add_image("val", codec.to_uint8(grid), step, dataformats="HWC")


def _keep_rows(path: Path, start: int, columns: Sequence[str]) -> None:
    """Reduces metrics.csv to its header and the complete rows of the steps up to `start`."""
    kept = []
    if path.exists():
        with path.open(newline="") as file:
            rows = [row for row in csv.reader(file) if len(row) == 1 + len(columns) and row[0].isdigit()]
        kept = [row for row in rows if int(row[0]) <= start]
    with files.atomic(path) as temporary, open(temporary, "w", newline="") as file:
        csv.writer(file).writerows([("step", *columns), *kept])


def _check_finite(rows: Sequence[Row], columns: Sequence[str], advice: str) -> None:
    for step, metrics in rows:
        for name in columns:
            if not np.isfinite(metrics[name]):
                raise FloatingPointError(f"step {step}: {name} is {metrics[name]}{advice}")
