"""Omron memories: all of it once, then only what is new; nothing is lost, doubled, written or erased."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from device_drivers.catalogue import Catalogue
from device_drivers.driver import GatewayTime, RecordCursor
from device_drivers.drivers.omron_eeprom import OmronEeprom
from device_drivers.link import LinkLost
from device_drivers.profile import ClockWrite, DeviceProfile
from device_drivers.vendors.omron_frames import READ, WRITE, Frame
from device_drivers.vendors.omron_map import OmronMap, RingMark
from device_drivers.vendors.omron_records import OmronRecord
from virtual_home.devices.omron_memory import OmronMemory
from wire_format.errors import Misconfigured, Rejected
from wire_format.identity import device_id
from wire_format.measurement import ClockTrust, Measurement, Remark
from wire_format.statements import DeviceEvent, DeviceEventKind, Undecodable

from gatt_link import Kept, visit_of
from omron_cuff import OmronCuff
from virtual_time import virtually

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
LOCAL = dt.datetime(2026, 11, 24, 16, 0)  # noqa: DTZ001 - a device clock has no zone
PROFILES = Catalogue().profiles
EVERY = sorted(name for name, profile in PROFILES.items() if profile.driver == "omron_eeprom")
KEY = device_id("Example", "X-1", "SN1", None).bytes
RINGS = [name for name in EVERY if PROFILES[name].protocol.get("index")]


class Cuff:
    """A cuff, and the visits to it: what each brought, and where it left off."""

    def __init__(self, name: str, **memory: Any) -> None:
        self.profile = PROFILES[name]
        self.map = self.profile.protocol_as(OmronMap)
        self.clock = LOCAL
        self.measured = LOCAL - dt.timedelta(days=30)
        self.memory = OmronMemory(self.map, lambda: self.clock, **{"key": KEY} | memory)
        self.cursor: RecordCursor | None = None
        self.sink = Kept()
        self.visits = 0
        self.link: OmronCuff | None = None

    def measure(self, count: int = 1, area: int = 0) -> None:
        for _ in range(count):
            self.clock = self.measured = self.measured + dt.timedelta(minutes=10)
            number = sum(self.memory.stored)
            self.memory.store(area=area, systolic=110 + number % 90, diastolic=70, pulse=60 + number % 40)
        self.clock = LOCAL

    def visit(
        self,
        *,
        break_after: int | None = None,
        spoil: Callable[[bytes], list[bytes]] = lambda data: [data],
        profile: DeviceProfile | None = None,
    ) -> list[Measurement]:
        """Read it once more, as if it was another time of the gateway; return what was committed."""
        self.sink = Kept()
        virtually(self._visit(break_after, spoil, profile or self.profile))
        reached = [cursor for cursor in self.sink.cursors if cursor is not None]
        self.cursor = reached[-1] if reached else self.cursor
        return [r for r in self.sink.readings if isinstance(r, Measurement)]

    async def _visit(
        self, break_after: int | None, spoil: Callable[[bytes], list[bytes]], profile: DeviceProfile
    ) -> None:
        self.link = OmronCuff(self.memory, break_after, spoil)
        self.visits += 1
        visit = visit_of(profile, self.sink, lambda: GatewayTime(NOW, 50, 1), cursor=self.cursor)
        await OmronEeprom().collect(self.link, replace(visit, number=self.visits))

    @property
    def asked(self) -> list[tuple[int, int, int]]:
        assert self.link is not None
        return [(frame.command, frame.address, frame.size) for frame in self.link.asked]

    @property
    def events(self) -> list[DeviceEvent]:
        return [r for r in self.sink.readings if isinstance(r, DeviceEvent)]


def ids(found: list[Measurement]) -> set[object]:
    return {one.measurement_id for one in found}


@pytest.mark.parametrize("name", EVERY)
def test_everything_comes_once_and_nothing_is_written(name: str) -> None:
    cuff = Cuff(name)
    cuff.measure(5)
    if len(cuff.map.areas) > 1:
        cuff.measure(3, area=1)
    found = cuff.visit()
    assert sorted(int(m.components[0].value or 0) for m in found) == list(range(110, 110 + len(found)))
    assert len(found) == len(ids(found)) == sum(cuff.memory.stored)
    assert all(Remark.STORED_RECORD in m.remarks and m.time.trust is ClockTrust.COMPARED for m in found)
    users = {m.user for m in found}
    assert users == ({1, 2} if len(cuff.map.areas) > 1 else {None})
    assert [cursor is not None for cursor in cuff.sink.cursors[:-1]] == [False] * (len(cuff.sink.cursors) - 1)
    assert cuff.memory.writes == []
    assert {command for command, _, _ in cuff.asked} <= {READ, 0x0000, 0x0F00}
    assert all(size <= cuff.map.block_size for command, _, size in cuff.asked if command == READ)


@pytest.mark.parametrize("name", EVERY)
def test_a_full_ring_is_read_whole_and_again_it_is_the_same(name: str) -> None:
    cuff = Cuff(name)
    cuff.measure(cuff.map.areas[0].slots + 3)
    first = cuff.visit()
    assert len(ids(first)) == cuff.map.areas[0].slots
    cuff.cursor = None
    assert ids(cuff.visit()) == ids(first)
    assert max(cuff.sink.batches) <= 50


@pytest.mark.parametrize("name", RINGS)
def test_only_what_is_new_is_read_and_the_newest_first(name: str) -> None:
    cuff = Cuff(name)
    cuff.measure(cuff.map.areas[0].slots - 1)
    whole = cuff.visit()
    blocks = len(cuff.asked)
    assert ids(cuff.visit()) <= ids(whole)
    assert len(cuff.asked) < blocks / 2
    cuff.measure(4)
    found = cuff.visit()
    assert len(ids(found) - ids(whole)) == 4
    assert max(m.time.stated for m in found if m.time.stated) in {m.time.stated for m in found[:4]}
    assert len(cuff.asked) < blocks / 2 + 4
    assert cuff.events == []


@pytest.mark.parametrize("name", RINGS)
def test_a_ring_that_is_not_the_one_it_was_is_read_whole(name: str) -> None:
    cuff = Cuff(name)
    cuff.measure(6)
    cuff.visit()
    slots = cuff.map.areas[0].slots
    cuff.measure(slots)  # the position is as it was, every record another
    found = cuff.visit()
    assert len(ids(found)) == slots
    assert [event.kind for event in cuff.events] == [DeviceEventKind.RECORDS_RENUMBERED]
    fresh = Cuff(name)
    fresh.measure(2)
    fresh.cursor = cuff.cursor
    assert len(ids(fresh.visit())) == 2


@pytest.mark.parametrize("name", RINGS)
def test_a_ring_that_turned_more_than_once_is_read_whole(name: str) -> None:
    cuff = Cuff(name)
    cuff.measure(6)
    cuff.visit()
    slots = cuff.map.areas[0].slots
    cuff.measure(slots + 2)
    assert len(ids(cuff.visit())) == slots


@pytest.mark.parametrize("name", RINGS)
def test_records_that_the_index_does_not_tell_of_are_found(name: str) -> None:
    cuff = Cuff(name)
    cuff.measure(5)
    cuff.visit()
    cuff.measure(2)
    cuff.memory.stored[0] -= 2
    assert len(ids(cuff.visit())) == 7


@pytest.mark.parametrize("name", EVERY)
def test_a_break_in_mid_dump_loses_nothing_and_doubles_nothing(name: str) -> None:
    whole = Cuff(name)
    whole.measure(9)
    expected = ids(whole.visit())
    for after in (0, 1, 3, 5):
        cuff = Cuff(name)
        cuff.measure(9)
        with pytest.raises(LinkLost):
            cuff.visit(break_after=after)
        first = ids([r for r in cuff.sink.readings if isinstance(r, Measurement)])
        assert first <= expected
        assert cuff.cursor is None
        assert first | ids(cuff.visit()) == expected


def test_a_damaged_answer_is_kept_and_asked_for_again() -> None:
    for name in ("omron/hem_7142t2", "omron/hem_7322t"):
        cuff, spoiled = Cuff(name), []

        def once(data: bytes, spoiled: list[bytes] = spoiled) -> list[bytes]:
            if len(data) < 16 or data[1:3] != b"\x81\x00" or spoiled:
                return [data]
            spoiled.append(data)
            return [data[:-1] + bytes([data[-1] ^ 0xFF])]

        cuff.measure(3)
        assert len(cuff.visit(spoil=once)) == 3
        lost = [r for r in cuff.sink.readings if isinstance(r, Undecodable)]
        assert len(lost) == 1
        assert spoiled[0][:8] in lost[0].raw.data


def test_a_cuff_that_says_nothing_or_strange_things_ends_the_visit() -> None:
    cuff = Cuff("omron/hem_7142t2")
    with pytest.raises(LinkLost, match="did not answer a request"):
        cuff.visit(spoil=lambda _: [])
    stranger = Cuff("omron/hem_7142t2")
    stranger.measure(1)
    other = bytes.fromhex("088100ffff000089")
    assert len(stranger.visit(spoil=lambda data: [other, data])) == 1
    kept = [r for r in stranger.sink.readings if isinstance(r, Undecodable)]
    assert kept
    assert all("was not asked" in one.reason for one in kept)
    short = Cuff("omron/hem_7142t2")
    short.measure(1)
    one_byte = bytes(Frame(0x8100, 0x02E8, 0x38, b"x"))
    with pytest.raises(LinkLost):
        short.visit(spoil=lambda data: [one_byte] if data[3:5] == b"\x02\xe8" else [data])
    assert any("sent 1 bytes, not 56" in r.reason for r in short.sink.readings if isinstance(r, Undecodable))


def test_a_locked_cuff_is_given_a_key_only_while_it_shows_p() -> None:
    cuff = Cuff("omron/hem_7322t", key=None, shows_p=False)
    cuff.measure(2)
    with pytest.raises(Rejected, match="until -P- blinks"):
        cuff.visit()
    assert cuff.memory.key is None
    cuff.memory.shows_p = True
    assert len(cuff.visit()) == 2
    assert cuff.memory.key == KEY
    cuff.memory.shows_p = False
    cuff.cursor = None
    assert len(cuff.visit()) == 2
    assert cuff.link is not None
    greetings = [data[0] for kind, _, data in cuff.link.log if kind == "write" and len(data) == 17]
    assert greetings == [1]


def test_a_token_that_is_not_repeated_or_not_answered_ends_the_visit() -> None:
    deaf = Cuff("omron/hem_7142t2")
    deaf.memory.map = deaf.map.model_copy(update={"unlock": "none"})
    deaf.measure(1)
    deaf.memory.greeted = lambda _: b"\x91\x01"  # type: ignore[method-assign]  # a cuff of another mind
    with pytest.raises(Rejected, match="did not repeat the token"):
        deaf.visit()
    silent = Cuff("omron/hem_7142t2")
    with pytest.raises(LinkLost):
        silent.visit(break_after=0)
    open_to_all = PROFILES["omron/hem_7142t2"].model_copy(
        update={"protocol": PROFILES["omron/hem_7142t2"].protocol | {"unlock": "none"}}
    )
    third = Cuff("omron/hem_7142t2")
    third.memory.map = open_to_all.protocol_as(OmronMap)
    third.measure(2)
    assert len(third.visit(profile=open_to_all)) == 2


def test_an_area_that_is_refused_is_said_once_and_the_other_is_read() -> None:
    cuff = Cuff("omron/hem_7322t", refused_areas=frozenset({1}))
    cuff.measure(4)
    assert len(cuff.visit()) == 4
    (event,) = cuff.events
    assert (event.kind, event.detail) == (
        DeviceEventKind.VISIT_FAILED,
        "The records of user 2: The cuff refused a request on its memory (code 0xE3).",
    )
    before = event.event_id
    cuff.visit()
    assert [e.event_id for e in cuff.events if e.kind is DeviceEventKind.VISIT_FAILED] in ([before], [])
    none = Cuff("omron/hem_7322t", refused_areas=frozenset({0, 1}))
    with pytest.raises(Rejected, match="refuses to give any"):
        none.visit()


def test_without_clock_or_index_everything_is_read_and_believed_less() -> None:
    cuff = Cuff("omron/hem_7600t")
    cuff.measure(3)
    answer = cuff.memory.answer

    def partly(frame: Any) -> Any:
        here = frame.command == READ and frame.address in {0x0260, 0x0274}
        return type(frame)(READ | 0x8000, frame.address, frame.size, status=0xE3) if here else answer(frame)

    cuff.memory.answer = partly  # type: ignore[method-assign]  # a cuff that keeps its settings to itself
    found = cuff.visit()
    assert len(found) == 3
    assert all(m.time.trust is ClockTrust.STATED for m in found)
    assert cuff.cursor is None
    wrong = Cuff("omron/hem_7600t")
    wrong.measure(1)
    wrong_answer = wrong.memory.answer

    def odd(frame: Any) -> Any:
        said = wrong_answer(frame)
        return (
            said if frame.address != 0x0274 else type(said)(said.command, 0x0274, said.size, bytes(9) + b"\1")
        )

    wrong.memory.answer = odd  # type: ignore[method-assign]  # a clock block whose sum does not fit
    assert [m.time.trust for m in wrong.visit()] == [ClockTrust.STATED]


def test_a_wrong_clock_is_taken_out_and_left_alone_unless_the_profile_says_otherwise() -> None:
    cuff = Cuff("omron/hem_7322t")
    cuff.clock = LOCAL - dt.timedelta(days=30)
    cuff.memory.store(systolic=150, diastolic=90, pulse=70)
    (found,) = cuff.visit()
    assert found.time.measured is not None
    assert abs(found.time.measured.utc - NOW) < dt.timedelta(seconds=2)
    assert cuff.memory.writes == []
    allowed = cuff.profile.model_copy(
        update={"clock": cuff.profile.clock.model_copy(update={"write": ClockWrite.WHEN_OFF})}
    )
    told: list[dt.datetime] = []
    cuff.memory.set_digits = told.append
    (again,) = cuff.visit(profile=allowed)
    assert again.measurement_id == found.measurement_id
    assert [(address, len(data)) for address, data in cuff.memory.writes] == [(0x029A, 10)]
    assert told == [LOCAL]
    assert [event.kind for event in cuff.events] == [DeviceEventKind.CLOCK_SET]
    nowhere = PROFILES["omron/hem_7142t2"]
    closed = nowhere.model_copy(
        update={"clock": nowhere.clock.model_copy(update={"write": ClockWrite.ALWAYS})}
    )
    other = Cuff("omron/hem_7142t2")
    other.visit(profile=closed)
    assert (other.memory.writes, other.events) == ([], [])


def test_a_clock_that_may_not_be_set_after_all_is_said() -> None:
    cuff = Cuff("omron/hem_7322t")
    cuff.clock = LOCAL - dt.timedelta(days=30)
    allowed = cuff.profile.model_copy(
        update={"clock": cuff.profile.clock.model_copy(update={"write": ClockWrite.WHEN_OFF})}
    )
    answer = cuff.memory.answer
    cuff.memory.answer = lambda frame: (  # type: ignore[method-assign]  # a cuff that lets nobody write
        answer(frame) if frame.command != WRITE else type(frame)(0x8F00, 0, 0, status=0xE7)
    )
    cuff.visit(profile=allowed)
    assert [(e.kind, e.detail) for e in cuff.events] == [
        (DeviceEventKind.CLOCK_REFUSED, "The cuff refused a request on its memory (code 0xE7).")
    ]


def test_a_record_that_makes_no_sense_is_one_item_however_often_it_is_read() -> None:
    cuff = Cuff("omron/hem_7142t2")
    cuff.memory.put(0, OmronRecord(cuff.map.layout, b"\xff" + bytes(range(13))))
    assert cuff.visit() == []
    (first,) = [r for r in cuff.sink.readings if isinstance(r, Undecodable)]
    cuff.visit()
    (again,) = [r for r in cuff.sink.readings if isinstance(r, Undecodable)]
    assert first.item_id == again.item_id


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"record": "x"}, "no record layout 'x'"),
        ({"record_size": 60, "block_size": 56}, "as long as its layout"),
        ({"index": {"address": 0, "size": 8, "order": "big", "offsets": [0]}}, "one offset for each area"),
        ({"index": {"address": 0, "size": 2, "order": "big", "offsets": [0, 2]}}, "outside of the block"),
        ({"clock": {"address": 0, "layout": "x"}}, "no clock block layout 'x'"),
        ({"clock": {"address": 0, "layout": "at_8", "write_address": 0x02B0}}, "into the records"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(change: dict[str, Any], said: str) -> None:
    profile = PROFILES["omron/hem_7322t"]
    wrong = profile.model_copy(update={"protocol": profile.protocol | change})
    with pytest.raises(Misconfigured, match=said):
        Catalogue({"x": wrong})


def test_a_mark_survives_as_two_numbers() -> None:
    for positions in ((3, None), (None, None), (99, 0)):
        mark = RingMark(positions, 0xFFFFFFFF, 0x7FFFFFFF)
        assert RingMark.from_cursor(mark.cursor, 2) == mark
        assert max(mark.cursor.count, mark.cursor.sequence) < 2**63
