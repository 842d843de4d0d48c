"""Figures of one run, side by side: medians, and what they are to be seen against. Never asserted."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

PROBE = b"\0" * 4096


def timed(work: Callable[[], object]) -> float:
    """Run once; return milliseconds."""
    began = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began) / 1e6


class Probe:
    """What one durable write of 4 KiB costs here and now. It flips in mid-run: ask it again and again."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "probe", os.O_WRONLY | os.O_CREAT)
        self.times: list[float] = []

    def __call__(self) -> None:
        self.times.append(timed(self._write))

    def _write(self) -> None:
        os.pwrite(self._file, PROBE, 0)
        os.fsync(self._file)

    def beside(self, work: Callable[[], object]) -> float:
        """Ask the disk, then run `work` once; return the milliseconds of `work`."""
        self()
        return timed(work)

    @property
    def median(self) -> float:
        return statistics.median(self.times)

    def close(self) -> None:
        os.close(self._file)


def section(title: str) -> None:
    """Print the head of a table."""
    heads = f"{'median':>10}{'p95':>10}{'':5}{'n':>7}{'ratio':>9}"
    print(f"\n\n{title:<54}{heads}")  # noqa: T201 - a report


def show(
    what: str, times: Sequence[float], *, unit: str = "ms", against: float | None = None, note: str = ""
) -> float:
    """Print a line and return its median; `against` is what the ratio column divides it by."""
    ordered = sorted(times)
    middle, high = statistics.median(ordered), ordered[int((len(ordered) - 1) * 0.95)]
    ratio = "" if against is None else f"{middle / against:.2f} x"
    line = f"  {what:<52}{middle:>10.3f}{high:>10.3f} {unit:<4}{len(ordered):>7}{ratio:>9}  {note}"
    print(line.rstrip())  # noqa: T201 - a report
    return middle


def repeated(work: Callable[[bytes], object], packets: Sequence[bytes], rounds: int) -> list[float]:
    """Return the microseconds of each of `rounds` runs over each packet."""
    return [timed(partial(work, packet)) * 1000 for _ in range(rounds) for packet in packets]
