"""A `Visitor` over a scripted radio, with a clock that the test moves."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device_drivers.link import Sighting, uuid16
from device_drivers.profile import DeviceProfile, Link, long_uuid
from edge_agent.home import Home
from edge_agent.visit import Visitor
from tests.doubles.edge_home import ADDRESS, PRESSURE, items_of, make_home
from tests.doubles.edge_radio import ScriptedLink, ScriptedRadio
from wire_format.codec import Item

CUFF = Sighting(ADDRESS, "BP-1", frozenset({uuid16(0x1810)}))
IDENTITY = {long_uuid("2A29"): b"Example", long_uuid("2A24"): b"BP-1\0", long_uuid("2A25"): b"SN-1"}


def cuff(packet: bytes = PRESSURE) -> ScriptedLink:
    return ScriptedLink(packets=[("2A35", packet)], values=dict(IDENTITY))


@dataclass
class Bench:
    visitor: Visitor
    radio: ScriptedRadio
    home: Home
    now: list[float]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def hear(self, sighting: Sighting = CUFF, *, times: int = 1) -> int:
        """Hear an advertisement and let what follows happen; return how many visits began."""
        before = len(self.tasks)
        for _ in range(times):
            self.visitor.heard(sighting, object())
        if self.tasks[before:]:
            await asyncio.wait(self.tasks[before:])
            for task in self.tasks[before:]:
                task.result()
        return len(self.tasks) - before

    def items(self) -> list[Item]:
        return items_of(self.home)


def bench(folder: Path, radio: ScriptedRadio, *, remove_stale: bool = False, **home: Any) -> Bench:
    made = make_home(folder, **home)
    now, tasks = [100.0], []
    visitor = Visitor(
        made,
        radio,
        lambda c: tasks.append(asyncio.ensure_future(c)),
        lambda: now[0],
        remove_stale_bonds=remove_stale,
    )
    return Bench(visitor, radio, made, now, tasks)


async def attempts(one: Bench, times: int, every: float = 15.0) -> None:
    for _ in range(times):
        one.now[0] += every
        assert await one.hear() == 1


def with_link(**link: Any) -> Any:
    def change(profile: DeviceProfile) -> DeviceProfile:
        return profile.model_copy(update={"link": Link(**link)})

    return change
