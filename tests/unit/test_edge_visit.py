"""Visits over a scripted radio: whose devices, when, one at a time; nothing takes the agent down."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from device_drivers.information import Information
from device_drivers.link import LinkLost, uuid16
from device_drivers.profile import DeviceProfile, long_uuid
from edge_agent.bond_doctor import LinkFailed, Sign
from edge_agent.config import Adoption, Visits
from edge_agent.outbox import Limits
from edge_agent.pairing import Devices, KnownDevice, identity_of
from edge_agent.visit import SILENCE_S
from tests.doubles.edge_home import ADDRESS, PRESSURE, named
from tests.doubles.edge_radio import ScriptedLink, ScriptedRadio
from tests.doubles.edge_readings import NOON
from tests.doubles.edge_visitor import CUFF, IDENTITY, attempts, bench, cuff
from wire_format.errors import Misconfigured
from wire_format.measurement import Measurement
from wire_format.statements import Assignment, DeviceEvent, DeviceEventKind, GatewayEvent, GatewayEventKind


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
    one = bench(tmp_path, radio, owners=(named(),), adopt=False)
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


# --- turns ---

KEEPER = replace(CUFF, address="C0:49:5F:00:00:02")
SHORT = replace(CUFF, address="C0:49:5F:00:00:03")


class Slow(ScriptedLink):
    """A device that sends nothing until it is let go."""

    async def wait_closed(self) -> None:
        await self.goes.wait()

    async def subscribe(self, characteristic: str, handler: object) -> None:
        del characteristic, handler


def slow(goes: asyncio.Event) -> ScriptedLink:
    made = Slow(values=dict(IDENTITY) | {long_uuid("2A35"): b""})
    made.goes = goes
    return made


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_short_advertiser_is_read_while_a_slow_device_is_being_read(tmp_path: Path) -> None:
    goes, radio = asyncio.Event(), ScriptedRadio(cuff)
    one = bench(tmp_path, radio, change=patient)
    radio.device = lambda: slow(goes)
    one.visitor.heard(KEEPER, object())
    await settle()
    radio.device = lambda: replace(cuff(), address=SHORT.address)
    one.visitor.heard(SHORT, object())
    await asyncio.wait_for(one.tasks[1], 5)
    assert not one.tasks[0].done()
    assert [m.device.address for m in one.items() if isinstance(m, Measurement)] == [SHORT.address]
    goes.set()
    await asyncio.wait_for(one.tasks[0], 5)
    assert one.visitor.links == 0


def patient(profile: DeviceProfile) -> DeviceProfile:
    records = profile.records.model_copy(update={"idle_s": 30.0, "first_s": 30.0})
    return profile.model_copy(update={"records": records})


async def test_no_more_links_than_allowed_and_the_next_is_taken_when_one_is_free(tmp_path: Path) -> None:
    goes, radio = asyncio.Event(), ScriptedRadio(cuff)
    one = bench(tmp_path, radio, patience=Visits(links=2), change=patient)
    radio.device = lambda: slow(goes)
    for number in range(4):
        one.visitor.heard(replace(CUFF, address=f"C0:49:5F:00:00:1{number}"), object())
        await settle()
    assert (len(one.tasks), one.visitor.links) == (2, 2)
    goes.set()
    radio.device = cuff
    async with asyncio.timeout(5):
        while len(one.tasks) < 4 or not all(t.done() for t in one.tasks):  # noqa: ASYNC110 - they begin each other
            await asyncio.sleep(0)
    assert radio.tries == 4
    assert one.visitor.links == 0


async def test_a_closed_visitor_begins_nothing(tmp_path: Path) -> None:
    one = bench(tmp_path, ScriptedRadio(cuff))
    one.visitor.close()
    assert await one.hear() == 0


async def test_a_reserved_link_comes_before_visits(tmp_path: Path) -> None:
    goes, radio = asyncio.Event(), ScriptedRadio(lambda: slow(goes))
    one = bench(tmp_path, radio, patience=Visits(links=1), change=patient)
    one.visitor.heard(KEEPER, object())
    await settle()

    async def reserve() -> list[int]:
        async with one.visitor.reserved(SHORT.address) as connected:
            connected()
            one.visitor.heard(SHORT, object())
            return [len(one.tasks)]

    waiting = asyncio.ensure_future(reserve())
    await settle()
    one.visitor.heard(CUFF, object())
    await settle()
    assert not waiting.done()
    radio.device = cuff
    goes.set()
    assert await asyncio.wait_for(waiting, 5) == [1]
    await settle()
    await asyncio.wait(one.tasks)
    assert one.visitor.links == 0


async def test_busy_answers_are_counted_in_a_row(tmp_path: Path) -> None:
    radio = ScriptedRadio(lambda: LinkFailed("in progress", Sign.BUSY))
    one = bench(tmp_path, radio)
    await attempts(one, 3)
    assert one.visitor.busy == 3
    one.visitor.forgive()
    radio.device = lambda: LinkLost("gone")
    await attempts(one, 1)
    assert one.visitor.busy == 0


async def test_a_device_that_was_met_is_approached_as_the_model_that_it_is(tmp_path: Path) -> None:
    one = bench(tmp_path, ScriptedRadio(ScriptedLink), enabled=["omron/hem_7380t1"])
    omron = replace(CUFF, services=frozenset({uuid16(0xFE4A)}), name=None)
    await one.hear(omron)
    assert one.radio.asked[-1].first  # a guess, among those that the configuration names
    said = Information("OMRON", "HEM-7142T2", "S", None, None)
    identity = identity_of(said, ADDRESS, one.home.catalogue.named("omron/hem_7142t2"))
    one.home.devices.known[ADDRESS] = KnownDevice(address=ADDRESS, identity=identity, adopted_at=NOON)
    one.now[0] += 400
    await one.hear(omron)
    assert [approach.first for approach in one.radio.asked] == [True, False]  # its own keeps the bond
