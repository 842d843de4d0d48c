"""Figures of one run, side by side: medians, and what they are to be seen against. Never asserted."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PROBE = b"\0" * 4096


def timed(work: Callable[[], Any]) -> float:
    """Run once; return milliseconds."""
    began = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began) / 1e6


class Probe:
    """What one durable write costs here and now: it flips in mid-run, so it is asked again and again."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "probe", os.O_WRONLY | os.O_CREAT)
        self.times: list[float] = []

    def __call__(self) -> None:
        def write() -> None:
            os.pwrite(self._file, PROBE, 0)
            os.fsync(self._file)

        self.times.append(timed(write))

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    def close(self) -> None:
        os.close(self._file)


def show(what: str, times: Sequence[float], unit: str = "ms", *, against: str = "") -> None:
    """Print a line: median, 95th percentile, number."""
    ordered = sorted(times)
    middle, high = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
    line = f"{what:<52} median {middle:9.3f} {unit}  p95 {high:9.3f} {unit}  n={len(ordered)}  {against}"
    print(f"\n{line.rstrip()}", end="")  # noqa: T201 - a report
