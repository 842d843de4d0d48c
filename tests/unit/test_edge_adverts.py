"""Devices that are never connected: what is handed on of what they advertise, and visits that only listen."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from device_drivers.link import Sighting, uuid16
from device_drivers.vendors.xiaomi import MiBeacon, WeighInObject
from edge_agent.advert_link import Adverts
from edge_agent.config import DeviceSection
from edge_agent.outbox import Limits
from edge_agent.visit import SILENCE_S
from tests.doubles.edge_radio import ScriptedLink, ScriptedRadio
from tests.doubles.edge_readings import NOON
from tests.doubles.edge_visitor import Bench, bench
from tests.doubles.virtual_time import virtually
from wire_format.measurement import Measurement
from wire_format.nomenclature import Term
from wire_format.statements import (
    Assignment,
    DeviceEvent,
    DeviceEventKind,
    GatewayEvent,
    GatewayEventKind,
    Undecodable,
)

ADDRESS, KEY = "C0:FF:EE:00:00:01", bytes(range(16))
LOWEST_FIRST = bytes.fromhex(ADDRESS.replace(":", ""))[::-1]
SCALE, BEACON = uuid16(0x181D), uuid16(0xFE95)
SETTLING, STABLE, GONE = (
    bytes.fromhex(h) for h in ("022823ea070b180c0000", "222837ea070b180c0003", "a22837ea070b180c0003")
)


def said(data: bytes, service: str = SCALE, name: str | None = None) -> Sighting:
    return Sighting(ADDRESS, name, frozenset({service}), service_data={service: data})


def no_radio() -> ScriptedRadio:
    def connected() -> ScriptedLink:
        raise AssertionError("a device that only advertises was connected")

    return ScriptedRadio(connected)


async def hear(one: Bench, *sightings: Sighting) -> None:
    """Hear one after the other while a visit lasts, then let it end."""
    for sighting in sightings:
        one.visitor.heard(sighting, object())
        await asyncio.sleep(0)
    if one.tasks:
        await asyncio.wait(one.tasks)


def weights(one: Bench) -> list[str]:
    return [str(m.value(Term.BODY_WEIGHT)) for m in one.items() if isinstance(m, Measurement)]


# --- the link ---


async def test_what_was_heard_before_is_handed_on_first_and_repetitions_are_not() -> None:
    link, got = Adverts(said(b"\1")), list[bytes]()
    link.heard(said(b"\0"))
    link.listen(lambda sighting: got.append(sighting.service_data[SCALE]))
    for data in (b"\1", b"\2", b"\2", b"\1"):
        link.heard(said(data))
    assert got == [b"\1", b"\2", b"\1"]


def test_silence_counts_from_the_last_advertisement_repetitions_too() -> None:
    async def listens() -> float:
        link, now = Adverts(said(b"\1")), asyncio.get_running_loop().time
        link.listen(lambda _: None)
        waiting = asyncio.create_task(link.silent(50))
        for _ in range(5):
            await asyncio.sleep(20)
            link.heard(said(b"\1"))
        last = now()
        assert not waiting.done()
        await waiting
        return now() - last

    assert 49 < virtually(listens()) < 51


async def test_what_a_handler_raises_ends_the_visit_and_not_the_scanner() -> None:
    link, calls = Adverts(said(b"\1")), list[bytes]()

    def broken(sighting: Sighting) -> None:
        calls.append(sighting.service_data[SCALE])
        raise OSError("no space left")

    link.listen(broken)
    link.heard(said(b"\2"))
    assert calls == [b"\1"]
    with pytest.raises(OSError, match="no space"):
        await link.silent(5)


# --- visits ---


async def test_a_weigh_in_is_heard_and_nobody_is_connected(tmp_path: Path) -> None:
    one = bench(tmp_path, no_radio())
    await hear(one, said(SETTLING), said(STABLE), said(STABLE), said(GONE))
    assert weights(one) == ["70.600"]
    (owner,) = [item.person for item in one.items() if isinstance(item, Assignment)]
    assert owner == "p-1"
    (found,) = [item for item in one.items() if isinstance(item, Measurement)]
    assert (found.device.address, found.device.model) == (ADDRESS, "xiaomi/mi_scale")
    assert (found.provenance.visit, found.provenance.raw[0].source) == (1, "advert:181D")
    one.now[0] += SILENCE_S + 1
    await hear(one, said(GONE))
    assert weights(one) == ["70.600"]
    assert (len(one.tasks), one.radio.tries) == (2, 0)


async def test_an_advertisement_that_by_itself_fits_no_profile_is_the_visits_all_the_same(
    tmp_path: Path,
) -> None:
    one = bench(tmp_path, no_radio())
    service = uuid16(0x181B)
    settling, whole = (bytes.fromhex(h) for h in ("0204e607020e1029380000ac49", "0226e607020e10293af7019a38"))
    nameless = Sighting(ADDRESS, None, frozenset(), service_data={service: whole})
    await hear(one, nameless)
    assert one.tasks == []
    begin = replace(nameless, name="MIBFS", service_data={service: settling})
    await hear(one, begin, nameless)
    assert weights(one) == ["72.450"]


async def test_a_neighbours_scale_is_not_listened_to(tmp_path: Path) -> None:
    own = DeviceSection(address="C0:FF:EE:00:00:99", person="p-1", since=NOON)
    one = bench(tmp_path, no_radio(), owners=(own,), adopt=False)
    await hear(one, said(STABLE))
    assert one.tasks == []
    assert one.items() == []


async def test_a_full_outbox_refuses_to_listen_and_says_so(tmp_path: Path) -> None:
    one = bench(tmp_path, no_radio(), limits=Limits(max_waiting=1))
    await hear(one, said(SETTLING), said(STABLE))
    one.now[0] += SILENCE_S + 1
    await hear(one, said(SETTLING[:1] + b"\0" + SETTLING[2:]), said(STABLE[:1] + b"\0" + STABLE[2:]))
    assert weights(one) == ["70.600"]
    told = [item.kind for item in one.items() if isinstance(item, GatewayEvent)]
    assert told == [GatewayEventKind.OUTBOX_FULL]


def sealed(counter: int, weight: int, impedance: int) -> Sighting:
    plain = bytes(WeighInObject(1, weight, 0, impedance, 1_763_000_000))
    beacon = MiBeacon(0x5948, 0x3BD5, counter, None, None, b"").sealed(KEY, LOWEST_FIRST, plain, b"\0\0\1")
    return said(bytes(beacon), BEACON, "Xiaomi Scale S400 0001")


def s400(folder: Path, key: str | None) -> Bench:
    secret = None if key is None else SecretStr(key)
    since = NOON - timedelta(days=400)
    own = DeviceSection(address=ADDRESS, person="p-1", since=since, bind_key=secret)
    return bench(folder, no_radio(), owners=(own,), adopt=False, enabled=["xiaomi/s400"])


async def test_encrypted_advertisements_are_opened_with_the_configured_key(tmp_path: Path) -> None:
    one = s400(tmp_path, KEY.hex())
    await hear(one, sealed(1, 742, 4009), sealed(2, 0, 3900))
    (found,) = [item for item in one.items() if isinstance(item, Measurement)]
    assert [str(c.value) for c in found.components] == ["74.2", "None", "400.9", "390.0"]
    (owner,) = [item.person for item in one.items() if isinstance(item, Assignment)]
    assert owner == "p-1"


@pytest.mark.parametrize("key", [None, "ff" * 16])
async def test_a_missing_or_wrong_key_is_told_once_and_not_with_each_advertisement(
    tmp_path: Path, key: str | None
) -> None:
    one = s400(tmp_path, key)
    for _ in range(3):
        await hear(one, *(sealed(counter, 742, 4009) for counter in range(3)))
        one.now[0] += 301
    assert len(one.tasks) == 3
    (told,) = [item for item in one.items() if isinstance(item, DeviceEvent)]
    assert told.kind is DeviceEventKind.VISIT_FAILED
    assert "bind_key" in (told.detail or "")
    assert KEY.hex() not in (told.detail or "")
    assert len([item for item in one.items() if isinstance(item, Undecodable)]) == 9
