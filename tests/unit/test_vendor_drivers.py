"""Microlife and Yonker drivers where things go wrong, and how vendors' devices are asked what they are."""

import datetime as dt
from pathlib import Path

import pytest

from device_drivers.capture import Exchange, Origin, Session
from device_drivers.catalogue import Catalogue, driver_of
from device_drivers.driver import GatewayTime
from device_drivers.information import Information, ask_information
from device_drivers.link import LinkLost, Sighting, uuid16
from device_drivers.profile import Asking, DeviceProfile, Link
from device_drivers.replay import GattReplay
from device_drivers.vendors.microlife import (
    ANSWER_HEAD,
    DISCONNECT,
    GET_RECORDS,
    MicrolifeFrame,
    MicrolifeRecord,
)
from tests.doubles.edge_readings import CUFF, pressure
from tests.unit.test_edge_sink import sink
from wire_format.errors import Misconfigured
from wire_format.measurement import Measurement
from wire_format.statements import DeviceEvent, DeviceEventKind, Undecodable

from gatt_link import Kept, ScriptedDevice, visit_of
from virtual_time import virtually

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
TAKEN = dt.datetime(2026, 11, 1, 7, 30)  # noqa: DTZ001 - a device clock has no zone
PROFILES = Catalogue().profiles
MICROLIFE, YONKER = PROFILES["microlife/bp3gy1_2n"], PROFILES["yonker/yk_ibpa1"]
ACK = bytes(MicrolifeFrame(ANSWER_HEAD, b"\x81"))


def answer(count: int, tail: bytes = b"") -> bytes:
    records = [MicrolifeRecord.of(110 + n, 70, 60, TAKEN + dt.timedelta(hours=n)) for n in range(count)]
    return bytes(MicrolifeFrame(ANSWER_HEAD, bytes(38) + b"".join(map(bytes, records)) + tail))


def exchange(*answers: bytes, ack: bytes = ACK) -> Session:
    """The clock, then one request for records for each answer, each in packets of 20 bytes."""
    events = [
        Exchange.model_validate({"kind": "subscribe", "on": "FFF1"}),
        Exchange.model_validate({"kind": "write", "on": "FFF2", "hex": "00", "varies": True}),
        Exchange.model_validate({"kind": "notify", "on": "FFF1", "hex": ack.hex()}),
    ]
    for one in answers:
        asked = {"kind": "write", "on": "FFF2", "hex": bytes(GET_RECORDS).hex()}
        events.append(Exchange.model_validate(asked))
        for first in range(0, len(one), 20):
            part = {"kind": "notify", "on": "FFF1", "hex": one[first : first + 20].hex()}
            events.append(Exchange.model_validate(part))
    end = {"kind": "write", "on": "FFF2", "hex": bytes(DISCONNECT).hex()}
    events.append(Exchange.model_validate(end))
    return Session(id="x", origin=Origin.SYNTHETIC, source="here", exchange=tuple(events))


def collected(profile: DeviceProfile, session: Session, cut: int | None = None) -> tuple[Kept, GattReplay]:
    kept = Kept()

    async def visit() -> GattReplay:
        link = GattReplay(session, cut)
        await driver_of(profile).collect(link, visit_of(profile, kept, lambda: GatewayTime(NOW, 50, 1)))
        return link

    return kept, virtually(visit())


def measured(kept: Kept) -> list[Measurement]:
    return [r for r in kept.readings if isinstance(r, Measurement)]


def test_a_long_memory_comes_in_batches_and_the_cuff_is_let_go() -> None:
    kept, link = collected(MICROLIFE, exchange(answer(120)))
    assert len({m.measurement_id for m in measured(kept)}) == 120
    assert kept.batches == [1, 50, 50, 20]
    assert [data for _, data in link.written][-2:] == [bytes(GET_RECORDS), bytes(DISCONNECT)]
    (event,) = [r for r in kept.readings if isinstance(r, DeviceEvent)]
    assert event.kind is DeviceEventKind.CLOCK_SET
    raw = measured(kept)[0].provenance.raw
    assert [(one.source, len(one.data)) for one in raw] == [("FFF1", 38), ("FFF1", 10)]


def test_a_damaged_answer_is_kept_and_asked_for_again_but_not_for_ever() -> None:
    good = answer(3)
    bad = good[:-1] + bytes([good[-1] ^ 1])
    kept, _ = collected(MICROLIFE, exchange(bad, good))
    assert len(measured(kept)) == 3
    (lost,) = [r for r in kept.readings if isinstance(r, Undecodable)]
    assert (lost.raw.data, "sum" in lost.reason) == (bad, True)
    kept, _ = collected(MICROLIFE, exchange(good[:40], good))
    assert len(measured(kept)) == 3
    assert [r.raw.data for r in kept.readings if isinstance(r, Undecodable)] == [good[:40]]
    with pytest.raises(LinkLost, match="did not answer"):
        collected(MICROLIFE, exchange(bad, bad))
    with pytest.raises(LinkLost, match=r"ended the connection|cut here"):
        collected(MICROLIFE, exchange(good), cut=2)


def test_a_refused_clock_and_a_record_that_is_cut_off_are_said() -> None:
    kept, _ = collected(
        MICROLIFE, exchange(answer(2, b"\x01\x02"), ack=bytes(MicrolifeFrame(ANSWER_HEAD, b"\x91")))
    )
    (event,) = [r for r in kept.readings if isinstance(r, DeviceEvent)]
    assert (event.kind, event.detail) == (DeviceEventKind.CLOCK_REFUSED, "91")
    (lost,) = [r for r in kept.readings if isinstance(r, Undecodable)]
    assert (lost.raw.data, lost.reason) == (b"\x01\x02", "The last record is cut off.")
    assert len(measured(kept)) == 2


def test_an_acknowledgement_said_twice_is_not_the_records() -> None:
    session = exchange(answer(2))
    twice = session.model_copy(update={"exchange": (*session.exchange[:3], *session.exchange[2:])})
    kept, _ = collected(MICROLIFE, twice)
    assert len(measured(kept)) == 2


def test_no_time_no_clock_is_set() -> None:
    kept = Kept()
    session = exchange(answer(1))
    session = session.model_copy(update={"exchange": (session.exchange[0], *session.exchange[3:])})

    async def visit() -> None:
        link = GattReplay(session)
        when = GatewayTime(NOW, None, 1)
        await driver_of(MICROLIFE).collect(link, visit_of(MICROLIFE, kept, lambda: when))

    virtually(visit())
    assert [type(r) for r in kept.readings] == [Measurement]


async def test_a_yonker_profile_on_another_device_is_refused() -> None:
    kept = Kept()
    with pytest.raises(Misconfigured, match="does not offer cdeacd81"):
        await driver_of(YONKER).collect(
            ScriptedDevice(values={uuid16(0x2A35): b""}),
            visit_of(YONKER, kept, lambda: GatewayTime(NOW, 50, 1)),
        )


async def test_a_yonker_result_is_dated_by_its_arrival() -> None:
    kept = Kept()
    device = ScriptedDevice(
        packets=[(YONKER.records.characteristics[0], bytes.fromhex("818367510000190b18131200000000"))]
    )
    await driver_of(YONKER).collect(device, visit_of(YONKER, kept, lambda: GatewayTime(NOW, 50, 1)))
    (found,) = measured(kept)
    assert found.time.measured is not None
    assert (found.time.measured.utc, found.time.measured.uncertainty_ms) == (NOW, 300_050)


def heard(*services: str, name: str | None = None) -> Sighting:
    return Sighting("A", name, frozenset(s if len(s) > 4 else uuid16(int(s, 16)) for s in services))


def said(model: str | None) -> Information:
    return Information("OMRON", model, None, None, None)


def test_a_cuff_of_an_unknown_model_is_not_read_by_another_models_map() -> None:
    catalogue = Catalogue()
    guess = catalogue.match(heard("FE4A"))
    assert guess is not None
    assert guess.name == "omron/hem_7142t2"
    assert catalogue.confirmed(heard("FE4A"), said("HEM-7142T2-AP"), guess) is guess
    with pytest.raises(Misconfigured, match=r"no profile for the model 'HEM-7155T'.*HEM-7142T"):
        catalogue.confirmed(heard("FE4A"), said("HEM-7155T"), guess)
    plain = catalogue.match(heard("1810"))
    assert plain is not None
    assert catalogue.confirmed(heard("1810"), said("anything"), plain) is plain
    assert catalogue.confirmed(heard(), said("anything"), plain) is plain


def test_of_profiles_that_connect_in_several_ways_the_named_one_is_tried() -> None:
    catalogue = Catalogue(enabled=["omron/hem_7188t1"])
    guess = catalogue.match(heard("FE4A"))
    assert guess is not None
    assert guess.name == "omron/hem_7188t1"
    assert catalogue.confirmed(heard("FE4A"), said("HEM-7142T2"), guess).name == "omron/hem_7142t2"
    alone = Catalogue(enabled=["omron/hem_7600t", "omron/hem_6232t"])
    assert alone.match(heard("ecbe3980-c9a2-11e1-b1bd-0002a5d5c51b")) is not None


async def test_a_device_that_bears_few_questions_is_asked_but_once() -> None:
    device = ScriptedDevice(values={uuid16(0x2A25): b"SN2"})
    once, always = Link(ask_what_it_is=Asking.FIRST_VISIT), Link()
    assert (await ask_information(device, once, None)).serial == "SN2"
    assert (await ask_information(device, always, CUFF)).serial == "SN2"
    known = await ask_information(device, once, CUFF)
    assert (known.serial, known.model, known.firmware) == (CUFF.serial, CUFF.model, None)


def test_a_clock_that_was_set_is_no_reading(tmp_path: Path) -> None:
    one = sink(tmp_path)
    event = DeviceEvent(event_id=CUFF.device_id, device=CUFF, kind=DeviceEventKind.CLOCK_SET, at=NOW)
    one.commit([event])
    assert one.sealed == 0
    one.commit([event, pressure(120, user=1)])
    assert one.sealed == 1
