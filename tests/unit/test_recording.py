"""Recording links change nothing and note everything; a survey of an unknown device changes nothing on it."""

import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from device_drivers.capture import Exchange, Kind, Origin, Session
from device_drivers.catalogue import driver_of
from device_drivers.driver import GatewayTime
from device_drivers.link import AttError, LinkLost, SerialLink, Sighting, uuid16
from device_drivers.profile import DeviceProfile, load_profiles
from device_drivers.rehearsal import RECEIVED_AT, carry_out, rehearse
from device_drivers.replay import GattReplay, SerialReplay
from device_drivers.virtual_time import virtually
from edge_agent.recording import (
    NO_TAP,
    DeviceTap,
    Notes,
    RecordingGattLink,
    RecordingSerialLink,
    shown_uuid,
)
from edge_agent.survey import MOST_PACKETS, is_control_point, survey
from edge_agent.writes_of_time import holds_date, with_time_marked

from gatt_link import Kept, ScriptedDevice, visit_of

PRESSURE = bytes.fromhex("167c0056006100e807060f11111b33000000")
ADDRESS = "C0:49:5F:00:00:01"


def kinds(notes: Notes) -> list[Kind]:
    return [one.kind for one in notes.exchange()]


async def visited(device: ScriptedDevice, profile: DeviceProfile, notes: Notes, sink: Kept) -> None:
    visit = visit_of(profile, sink, lambda: GatewayTime(RECEIVED_AT, 50, 1))
    await driver_of(profile).collect(RecordingGattLink(device, notes), visit)


def test_what_a_driver_did_over_a_recorded_link_can_be_replayed() -> None:
    profile = load_profiles()["standard/glucose"]
    record = bytes.fromhex("0b0100e80706 0f11111b 0000 7c b0 f1 0000".replace(" ", ""))
    notes, sink = Notes(), Kept()

    async def visit() -> None:
        device = ScriptedDevice(records=[(1, [("2A18", record)])], values={uuid16(0x2A52): b""})
        await visited(device, profile, notes, sink)

    virtually(visit())
    session = Session(id="s", origin=Origin.SYNTHETIC, source="a test", exchange=notes.exchange())
    again = rehearse(profile, session)
    assert [type(r) for r in again.readings] == [type(r) for r in sink.readings]
    assert sink.readings
    assert (again.ended, again.unrecorded) == (None, ())
    # The answer came before the write was confirmed: it must still stand behind it.
    assert kinds(notes).index(Kind.WRITE) < kinds(notes).index(Kind.NOTIFY)


async def test_refusals_are_noted_behind_their_request() -> None:
    notes = Notes()
    link = RecordingGattLink(ScriptedDevice(refused_writes=frozenset({uuid16(0x2A2B)})), notes)
    with pytest.raises(AttError):
        await link.write(uuid16(0x2A2B), b"\x01")
    with pytest.raises(AttError):
        await link.read(uuid16(0x2A24))
    said = [(one.kind, one.on, one.code) for one in notes.exchange()]
    assert said == [
        (Kind.WRITE, "2A2B", None),
        (Kind.REFUSED, None, 0x80),
        (Kind.READ, "2A24", None),
        (Kind.REFUSED, None, 0x0A),
    ]
    assert link.characteristics() == frozenset()


async def test_a_lost_link_is_noted_as_closed() -> None:
    notes = Notes()
    device = ScriptedDevice(packets=[("2A35", PRESSURE)] * 2, break_after=1)
    link = RecordingGattLink(device, notes)
    await link.subscribe(uuid16(0x2A35), lambda _: None)
    with pytest.raises(LinkLost):
        await link.wait_closed()
    assert kinds(notes) == [Kind.SUBSCRIBE, Kind.NOTIFY, Kind.CLOSED]
    notes.add(Kind.READ, "2A24")
    assert kinds(notes)[-1] is Kind.CLOSED  # a read that was never answered says nothing


async def test_a_recording_has_an_end() -> None:
    notes = Notes(most=2)
    for _ in range(3):
        notes.add(Kind.NOTIFY, "2A35", b"")
    assert (len(notes.taken), notes.full) == (2, True)


async def test_a_serial_line_is_noted_both_ways() -> None:
    recorded = (
        Exchange(kind=Kind.SENT, hex="0102"),
        Exchange(kind=Kind.RECEIVED, hex=b"abc\r\nrest".hex()),
    )
    session = Session(id="s", origin=Origin.SYNTHETIC, source="a test", exchange=recorded)
    notes = Notes()
    link = RecordingSerialLink(SerialReplay(session), notes)
    await link.line(9600)
    await link.send(b"\x01\x02")
    assert await link.exactly(1, 1) == b"a"
    assert await link.until(b"\n", 1) == b"bc\r\n"
    assert await link.discard() == b"rest"
    assert await link.discard() == b""
    assert link.baud_rate == 9600
    said = [(e.kind, e.data) for e in notes.exchange()]
    assert said == [
        (Kind.SENT, b"\x01\x02"),
        (Kind.RECEIVED, b"a"),
        (Kind.RECEIVED, b"bc\r\n"),
        (Kind.RECEIVED, b"rest"),
    ]


def advert(weight: int) -> Sighting:
    return Sighting(ADDRESS, "MI", frozenset(), {0x0157: bytes([weight])}, {uuid16(0x181D): bytes([weight])})


def test_a_tap_notes_one_device_and_hands_everything_on() -> None:
    handed: list[Sighting] = []
    tap = DeviceTap(ADDRESS)
    heard = tap.heard(lambda sighting, _: handed.append(sighting))
    other = Sighting("C0:49:5F:00:00:99", None, frozenset())
    for sighting in (advert(1), advert(1), other, advert(2)):
        heard(sighting, object())
    assert len(handed) == 4
    assert [e.manufacturer_data for e in tap.adverts.exchange()] == [{0x0157: "01"}, {0x0157: "02"}]
    assert [list(e.service_data) for e in tap.adverts.exchange()] == [["181D"], ["181D"]]
    assert tap.sighting == advert(2)


@dataclass
class Opening:
    device: ScriptedDevice
    asked: list[dict[str, Any]] = field(default_factory=list)
    holds: str = "a bond"

    def open(self, _handle: object, **how: Any) -> "Opening":
        self.asked.append(how)
        return self

    async def __aenter__(self) -> ScriptedDevice:
        return self.device

    async def __aexit__(self, *_: object) -> None:
        self.device.sent = -1


async def test_only_the_named_devices_connection_is_noted() -> None:
    tap, radio = DeviceTap(ADDRESS), Opening(ScriptedDevice(values={uuid16(0x2A24): b"X"}))
    taped = cast("Any", tap.radio(cast("Any", radio)))
    async with taped.open(SimpleNamespace(address=ADDRESS.lower()), bonding=True, terms="t") as link:
        assert await link.read(uuid16(0x2A24)) == b"X"
        assert link.values == radio.device.values  # what the link can do besides
    async with taped.open(SimpleNamespace(address="C0:49:5F:00:00:99"), bonding=False) as link:
        assert link is radio.device
    assert len(tap.visits) == 1
    assert kinds(tap.visits[0]) == [Kind.READ]
    assert radio.asked == [{"bonding": True, "terms": "t"}, {"bonding": False}]
    assert (taped.holds, radio.device.sent) == ("a bond", -1)


async def test_without_a_tap_nothing_is_in_between() -> None:
    radio, line = cast("Any", object()), cast("Any", object())
    assert NO_TAP.radio(radio) is radio
    assert NO_TAP.cables(line) is line
    assert NO_TAP.heard(print) is print


async def test_only_the_named_cable_is_noted() -> None:
    session = Session(
        id="s", origin=Origin.SYNTHETIC, source="a test", exchange=(Exchange(kind=Kind.RECEIVED, hex="61"),)
    )

    @asynccontextmanager
    async def opener(_port: str) -> AsyncIterator[SerialLink]:
        yield SerialReplay(session)

    tap = DeviceTap("/dev/ttyUSB0")
    for port in ("/dev/ttyUSB1", "/dev/ttyUSB0"):
        async with tap.cables(opener)(port) as link:
            assert await link.exactly(1, 1) == b"a"
    assert [kinds(notes) for notes in tap.visits] == [[Kind.RECEIVED]]


# --- a survey ---


@dataclass
class Unknown(ScriptedDevice):
    """A device of which only its services are known."""

    refused: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)

    def services(self) -> dict[str, dict[str, tuple[str, ...]]]:
        return {
            uuid16(0x180A): {uuid16(0x2A24): ("read",), uuid16(0x2A25): ("read",)},
            uuid16(0x1810): {uuid16(0x2A35): ("indicate",), uuid16(0x2A36): ("notify",)},
            uuid16(0xFFF0): {
                uuid16(0xFFF1): ("notify", "write-without-response"),
                uuid16(0xFFF2): ("write",),
                uuid16(0x2A52): ("indicate",),
            },
        }

    async def read(self, characteristic: str) -> bytes:
        self.asked.append(shown_uuid(characteristic))
        return await super().read(characteristic)

    async def subscribe(self, characteristic: str, handler: Callable[[bytes], None]) -> None:
        if characteristic in self.refused:
            raise AttError("a subscription", 0x05)
        await super().subscribe(characteristic, handler)


async def test_a_survey_writes_nothing_and_says_what_there_is() -> None:
    values = {uuid16(0x2A24): b"BP-1", uuid16(0x2A25): b"SN-1"}
    device = Unknown([("2A35", PRESSURE)], values=values, refused=frozenset({uuid16(0x2A36)}))
    found = await survey(device, 5)
    assert device.written == []
    assert device.asked == ["2A24"]  # not its serial number
    assert set(device.handlers) == {uuid16(0x2A35)}
    assert found.left_alone == ["FFF1", "2A52"]
    assert found.services["1810"] == {"2A35": ("indicate",), "2A36": ("notify",)}
    assert (found.packets, kinds(found.notes)[-1]) == (1, Kind.CLOSED)
    assert [e.code for e in found.notes.exchange() if e.kind is Kind.REFUSED] == [0x05]


async def test_a_survey_ends_by_itself() -> None:
    silent = Unknown(packets=[("2A35", PRESSURE), ("9999", b"")])  # never subscribed to all: it never speaks
    assert (await survey(silent, 0.01)).packets == 0
    loud = Unknown([("2A35", PRESSURE)] * (MOST_PACKETS + 50))
    assert (await survey(loud, 5)).packets >= MOST_PACKETS


async def test_what_was_found_before_the_device_left_counts() -> None:
    @dataclass
    class Leaving(Unknown):
        async def read(self, characteristic: str) -> bytes:
            raise LinkLost(f"gone at {characteristic}")

    found = await survey(Leaving(values={uuid16(0x2A24): b""}), 5)
    assert kinds(found.notes) == [Kind.CLOSED]
    assert "1810" in found.services


@pytest.mark.parametrize(
    ("short", "properties", "expected"),
    [
        (0x2A35, ("indicate",), False),
        (0x2A52, ("indicate",), True),
        (0xFFF1, ("notify", "write"), True),
        (0xFFF1, ("write",), False),
        (0xFFF1, ("notify", "read"), False),
    ],
)
def test_control_points_are_known_or_look_like_it(
    short: int, properties: tuple[str, ...], expected: bool
) -> None:
    assert is_control_point(uuid16(short), properties) is expected


# --- the host's writes of the time ---

AT = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("ea070b18", True),
        ("07ea0b17", True),
        ("551a0b1908", True),
        (int(AT.timestamp()).to_bytes(4, "little").hex(), True),
        ((int(AT.timestamp()) - 946_684_800).to_bytes(4, "big").hex(), True),
        (b"SET 11/24/26".hex(), True),
        ("0101", False),
        ("ea070b1a", False),
        ("", False),
    ],
)
def test_writes_that_hold_the_date_are_known(data: str, expected: bool) -> None:
    assert holds_date(bytes.fromhex(data), AT) is expected


def test_a_write_of_the_clock_may_be_left_out_at_a_replay() -> None:
    profile = load_profiles()["standard/blood_pressure"]
    exchange = (
        Exchange(kind=Kind.WRITE, on="2A2B", hex="00"),
        Exchange(kind=Kind.WRITE, on="FFF2", hex="ea070b18"),
        Exchange(kind=Kind.SENT, hex="01"),
        Exchange(kind=Kind.NOTIFY, on="2A35", hex="ea070b18"),
    )
    marked = with_time_marked(exchange, profile, AT)
    assert [(e.varies, e.optional) for e in marked] == [
        (True, True), (True, False), (False, False), (False, False)
    ]  # fmt: skip
    assert with_time_marked(exchange, None, AT) == marked


async def test_an_advertisement_in_a_session_of_a_connection_is_passed_over() -> None:
    exchange = (
        Exchange(kind=Kind.ADVERT, on="BP-1"),
        Exchange(kind=Kind.NOTIFY, on="2A35", hex=PRESSURE.hex()),
    )
    session = Session(id="s", origin=Origin.SYNTHETIC, source="a test", exchange=exchange)
    profile, sink = load_profiles()["standard/blood_pressure"], Kept()
    link, ended = await carry_out(
        profile, session, visit_of(profile, sink, lambda: GatewayTime(RECEIVED_AT, 50, 1))
    )
    assert isinstance(link, GattReplay)
    assert (ended, len(sink.readings)) == (None, 1)
