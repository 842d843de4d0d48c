"""SIGTERM ends the demonstration as Ctrl-C does: with all that it started, whenever it comes."""

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

LONGEST_S = 60.0
Process = tuple[int, str]
"""A process: its pid, and when it began, since pids come again."""


def _known() -> dict[Process, int]:
    """Every process there is, and whose child it is (proc(5), stat); what has ended is not there."""
    found: dict[Process, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                state, ppid, *rest = (entry / "stat").read_text().rpartition(")")[2].split()
                if state != "Z":
                    found[int(entry.name), rest[17]] = int(ppid)
    return found


def descendants(pid: int) -> set[Process]:
    """Who was started by a process, and by these."""
    known, found = _known(), set[Process]()
    wanted = {pid}
    while wanted:
        new = {one for one, parent in known.items() if parent in wanted}
        found |= new
        wanted = {one[0] for one in new}
    return found


async def started(pid: int, count: int) -> set[Process]:
    """Wait until the demonstration has so many children of its own."""
    ends = time.monotonic() + LONGEST_S
    while sum(parent == pid for parent in _known().values()) < count:
        assert time.monotonic() < ends, f"{count} children were not there in time"
        await asyncio.sleep(0.02)
    return descendants(pid)


@pytest.mark.parametrize(("count", "signals"), [(3, 1), (5, 2)], ids=["while it starts", "at work, twice"])
async def test_sigterm_leaves_no_process_behind(tmp_path: Path, count: int, signals: int) -> None:
    command = [sys.executable, "-m", "virtual_home.cli", "demo", "--folder", str(tmp_path)]
    demo = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    children: set[Process] = set()
    try:
        children = await started(demo.pid, count)
        for _ in range(signals):
            demo.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2)
        async with asyncio.timeout(LONGEST_S):
            assert await demo.wait() == 0
        assert children & _known().keys() == set()
    finally:
        if demo.returncode is None:
            demo.kill()
            await demo.wait()
        for pid, _ in children & _known().keys():
            os.kill(pid, signal.SIGKILL)
