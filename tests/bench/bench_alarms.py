"""Everybody alarms at once: the first hundred at the hospital's server, all of them, and the nurse's page.

`make storm-alarms` does it with 5000 people, or with so many as PATIENTS says.
"""

import os
import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from cloud_bridge.access.model import Role
from tests.bench.figures import section, show
from tests.doubles.alarm_storm import consent_all, storm
from tests.doubles.page_visitor import Visitor

PATIENTS: Final = int(os.environ.get("PATIENTS", "150"))
FIRST: Final = min(100, PATIENTS)
LONGEST_S: Final = 90 + PATIENTS * 0.2


async def test_everybody_alarms_at_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing is asserted of time; every item must be there once, and every person be shown once."""
    before = resident_mb()
    async with storm(tmp_path_factory.mktemp("alarms"), PATIENTS, LONGEST_S) as one:
        after = resident_mb()
        assert set(Counter(one.tasks).values()) == {1}
        assert len(one.tasks) == one.count() == PATIENTS
        one.visitor.hire("n1", Role.NURSE)
        consent_all(one.visitor, PATIENTS)
        await one.visitor.sign_in("n1")
        one.visitor.later(minutes=15)  # nothing of these pages is on record yet
        opening = [await _opening(one.visitor) for _ in range(6)]
        began = time.perf_counter()
        shown = await one.walk()
        walked = time.perf_counter() - began
    assert len(shown) == len(set(shown)) == PATIENTS
    section(f"{PATIENTS} people alarm at once (ratio: to the aim)")
    show(f"the first {FIRST} work orders at the hospital", [one.delivered[FIRST - 1]], unit="s", against=30)
    show("all raised", [one.raised_s], unit="s")
    show("work orders delivered until then", [sum(t < one.raised_s for t in one.delivered)], unit="")
    show("all work orders at the hospital, each once", [one.delivered[-1]], unit="s")
    show("the inbox when all of it is read anew", [opening[0][0]], unit="s")
    show("the inbox, to its last byte", [s for s, _ in opening[1:]], unit="s", against=1)
    show("its size", [kb for _, kb in opening], unit="kB", against=300)
    show("every page of it", [walked], unit="s")
    show("memory: at most, in the storm (this process)", [after], unit="MB", note=f"{before:.0f} before")


def resident_mb() -> float:
    """The most that this process ever had in memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


async def _opening(visitor: Visitor) -> tuple[float, float]:
    began = time.perf_counter()
    answer = await visitor.http.get("/")
    assert answer.status_code == 200
    assert f"<title>Inbox: {PATIENTS} waiting</title>" in answer.text
    return time.perf_counter() - began, len(answer.content) / 1000
