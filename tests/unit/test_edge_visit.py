"""Visits over a scripted radio: whose devices, when, one at a time; nothing takes the agent down."""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from device_drivers.catalogue import Catalogue
from device_drivers.link import LinkLost, Sighting, uuid16
from device_drivers.profile import long_uuid
from edge_agent.clock import GatewayClock, vouched
from edge_agent.config import Adoption, DeviceSection, Visits
from edge_agent.outbox import Limits, Outbox
from edge_agent.pairing import Devices
from edge_agent.sink import GatewayVoice, Sealer
from edge_agent.steps import nobody
from edge_agent.visit import SILENCE_S, Home, Visitor
from service_kit.log import silent
from tests.doubles.edge_radio import ScriptedLink, ScriptedRadio
from tests.doubles.edge_readings import BOOT, NOON, bridge_keys, gateway_keys
from wire_format.codec import Item, decode_items
from wire_format.envelope import open_sealed
from wire_format.errors import Misconfigured
from wire_format.measurement import Measurement
from wire_format.statements import Assignment, DeviceEvent, DeviceEventKind, GatewayEvent, GatewayEventKind

ADDRESS = "C0:49:5F:00:00:01"
CUFF = Sighting(ADDRESS, "BP-1", frozenset({uuid16(0x1810)}))
PRESSURE = bytes.fromhex("1e7c0050005f00ea070b180c000046000100 0000".replace(" ", ""))
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
        def opened(data: bytes) -> bytes:
            return open_sealed(data, lambda _: gateway_keys().signing.public, bridge_keys().by_id).payload

        box = self.home.outbox
        return [item for key in box.unsettled() for item in decode_items(opened(box.load(key) or b""))]


def bench(
    folder: Path,
    radio: ScriptedRadio,
    *,
    named: tuple[DeviceSection, ...] = (),
    adopt: bool = True,
    limits: Limits | None = None,
) -> Bench:
    clock = GatewayClock(BOOT, uncertainty=vouched(5), utc=lambda: NOON)
    box = Outbox(folder / "outbox", "gw-1", utc=lambda: NOON, limits=limits)
    sealer = Sealer(gateway_keys().signing, (bridge_keys().opening.public,))
    devices = Devices.open(folder / "devices.json", named, Adoption(person="p-1") if adopt else None)
    quick = {}
    for name, profile in Catalogue().profiles.items():
        records = profile.records.model_copy(update={"idle_s": 0.01, "first_s": 0.2})
        quick[name] = profile.model_copy(update={"records": records})
    home = Home(
        "0.1.0",
        clock,
        0,
        box,
        sealer,
        GatewayVoice(box, sealer, clock),
        devices,
        Catalogue(quick),
        Visits(rest_s=5, longest_rest_s=300),
        silent(),
        nobody,
    )
    now, tasks = [100.0], []
    visitor = Visitor(home, radio, lambda c: tasks.append(asyncio.ensure_future(c)), lambda: now[0])
    return Bench(visitor, radio, home, now, tasks)


def named(person: str = "p-1") -> DeviceSection:
    return DeviceSection(address=ADDRESS, person=person, since=NOON.replace(year=2025))


async def test_a_visit_brings_the_reading_and_mints_the_identity_once(tmp_path: Path) -> None:
    radio = ScriptedRadio(cuff)
    one = bench(tmp_path, radio)
    assert await one.hear(times=5) == 1
    (found,) = [item for item in one.items() if isinstance(item, Measurement)]
    assert (found.device.maker, found.device.model, found.device.serial) == ("Example", "BP-1", "SN-1")
    assert found.provenance.visit == 1
    assert radio.opened[0].bonds == 1
    reopened = Devices.open(tmp_path / "devices.json", (), Adoption(person="p-1"))
    assert reopened.known[ADDRESS].identity == found.device
    assert (tmp_path / "devices.json").stat().st_mode & 0o077 == 0
    radio.device = lambda: replace(cuff(), values={long_uuid("2A25"): b"ANOTHER"})
    await one.hear()
    assert one.home.devices.known[ADDRESS].identity == found.device


async def test_a_neighbours_device_is_not_touched(tmp_path: Path) -> None:
    radio = ScriptedRadio(cuff)
    one = bench(tmp_path, radio, named=(named(),), adopt=False)
    assert await one.hear(replace(CUFF, address="C0:49:5F:00:00:99")) == 0
    assert await one.hear(replace(CUFF, services=frozenset({uuid16(0x180D)}))) == 0
    assert radio.tries == 0
    assert await one.hear() == 1
    (owner,) = [item.person for item in one.items() if isinstance(item, Assignment)]
    assert owner == "p-1"


async def test_a_device_with_nothing_new_rests_longer_each_time(tmp_path: Path) -> None:
    one = bench(tmp_path, ScriptedRadio(cuff))
    assert await one.hear() == 1
    assert await one.hear() == 1  # the first one brought something; this one sends the same again
    assert [m for m in one.items() if isinstance(m, Measurement)] == one.items()[:1]
    for rest in (5, 10, 20):
        for _ in range(rest - 1):
            one.now[0] += 1
            assert await one.hear() == 0
        one.now[0] += 1
        assert await one.hear() == 1
    one.now[0] += SILENCE_S + 1
    assert await one.hear() == 1


@pytest.mark.parametrize("error", [LinkLost("gone"), Misconfigured("no such"), ZeroDivisionError("strange")])
async def test_whatever_a_device_does_the_agent_goes_on(tmp_path: Path, error: Exception) -> None:
    radio = ScriptedRadio(cuff)
    one = bench(tmp_path, radio)
    await one.hear()
    radio.device = lambda: error
    assert await one.hear() == 1
    assert await one.hear() == 0
    one.now[0] += 5
    assert await one.hear() == 1
    failures = [
        i for i in one.items() if isinstance(i, DeviceEvent) and i.kind is DeviceEventKind.VISIT_FAILED
    ]
    assert len(failures) == 1
    radio.device = lambda: cuff(PRESSURE[:1] + b"\x80" + PRESSURE[2:])
    one.now[0] += 10
    assert await one.hear() == 1
    assert len([i for i in one.items() if isinstance(i, Measurement)]) == 2


async def test_a_full_outbox_refuses_visits_and_says_so_once(tmp_path: Path) -> None:
    radio = ScriptedRadio(cuff)
    one = bench(tmp_path, radio, limits=Limits(max_waiting=1))
    await one.hear()
    for _ in range(2):
        one.now[0] += 301
        assert await one.hear() == 1
    assert radio.tries == 1
    told = [item for item in one.items() if isinstance(item, GatewayEvent)]
    assert [item.kind for item in told] == [GatewayEventKind.OUTBOX_FULL]


async def test_an_unreadable_packet_travels_as_it_is(tmp_path: Path) -> None:
    one = bench(tmp_path, ScriptedRadio(lambda: cuff(b"\x1e\x01")))
    await one.hear()
    assert [type(item).__name__ for item in one.items()] == ["Undecodable"]


def test_a_broken_file_of_devices_is_said(tmp_path: Path) -> None:
    (tmp_path / "devices.json").write_text("[{]")
    with pytest.raises(Misconfigured, match=r"devices\.json cannot be read"):
        Devices.open(tmp_path / "devices.json", (), None)
