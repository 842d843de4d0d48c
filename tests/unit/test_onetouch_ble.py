"""OneTouch Verio Flex: one question at a time, each record by its number, and nothing twice."""

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from device_drivers.catalogue import Catalogue
from device_drivers.driver import RecordCursor
from device_drivers.drivers.onetouch_ble import ANSWER, COMMAND
from device_drivers.link import AttError, LinkLost
from device_drivers.vendors.lifescan import LifeScanFrame, VerioRecord
from wire_format.errors import MalformedPacket
from wire_format.measurement import ClockTrust, Remark
from wire_format.nomenclature import Term
from wire_format.statements import DeviceEvent, DeviceEventKind, Undecodable

from gatt_link import Kept
from visiting import MEASURED, measured, visited

VERIO = Catalogue().profiles["lifescan/onetouch_verio_flex"]


@dataclass
class Verio:
    """A meter that answers each command; `odd` replaces the message after a command, or lets it be silent."""

    records: dict[int, bytes]
    top: int = 3
    count: int = 3
    odd: dict[bytes, bytes | None] = field(default_factory=dict)
    break_after: int = 10_000
    asked: list[bytes] = field(default_factory=list)
    acknowledged: int = 0
    twice: bool = False

    def __post_init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.handler: Callable[[bytes], None] = lambda _: None

    def characteristics(self) -> frozenset[str]:
        return frozenset({COMMAND, ANSWER})

    async def read(self, characteristic: str) -> bytes:
        raise AttError(characteristic, 0x0A)

    async def subscribe(self, characteristic: str, handler: Callable[[bytes], None]) -> None:
        assert characteristic == ANSWER
        self.handler = handler

    async def wait_closed(self) -> None:
        await asyncio.shield(self.closed)

    async def write(self, characteristic: str, data: bytes) -> None:
        assert characteristic == COMMAND
        if data == b"\x81":
            self.acknowledged += 1
            return
        command = LifeScanFrame.from_bytes(data[1:]).message[1:]
        assert self.acknowledged == len(self.asked), "a command before the last answer was acknowledged"
        self.asked.append(command)
        if len(self.asked) > self.break_after:
            self.closed.set_result(None)
            return
        asyncio.get_running_loop().call_soon(self._say, command)

    def _say(self, command: bytes) -> None:
        self.handler(b"\x81")
        message = self.odd[command] if command in self.odd else b"\x03" + self._message(command)
        if message is None:
            return
        packet = message if message[:1] == b"\x01" else b"\x01" + bytes(LifeScanFrame(0, message))
        for _ in range(1 + self.twice):
            self.handler(packet)

    def _message(self, command: bytes) -> bytes:
        if command == b"\x20\x02":
            shown = dt.datetime(2026, 11, 24, 16, 1) - dt.datetime(2000, 1, 1)  # noqa: DTZ001 - no zone
            return b"\x06" + int(shown.total_seconds()).to_bytes(4, "little")
        if command == b"\x27\x00":
            return b"\x06" + self.count.to_bytes(2, "little")
        if command == b"\x0a\x02\x06":
            return b"\x06" + self.top.to_bytes(4, "little")
        found = self.records.get(int.from_bytes(command[1:], "little"))
        return b"\x09" if found is None else b"\x06" + found


def verio_record(number: int, **changes: int) -> bytes:
    seconds = int((MEASURED - dt.datetime(2000, 1, 1)).total_seconds()) + number * 60  # noqa: DTZ001 - no zone
    return bytes(VerioRecord(seconds, 100 + number, **changes))


THREE = {number: verio_record(number) for number in (1, 2, 3)}


def numbers(sink: Kept) -> list[int | None]:
    return [m.record and m.record.sequence for m in measured(sink)]


def test_a_verio_is_asked_for_each_record_and_only_for_newer_ones() -> None:
    sink, ended, device = visited(VERIO, lambda: Verio(THREE))
    assert ended is None
    assert numbers(sink) == [1, 2, 3]
    assert [m.value(Term.GLUCOSE) for m in measured(sink)] == [101, 102, 103]
    assert all(m.time.clock_offset_ms == 60_000 for m in measured(sink))
    assert all(m.time.trust is ClockTrust.COMPARED for m in measured(sink))
    assert isinstance(device, Verio)
    assert device.acknowledged == len(device.asked)
    assert sink.cursors[-1] == RecordCursor(sequence=3, count=3)
    four = THREE | {4: verio_record(4)}
    again, _, device = visited(VERIO, lambda: Verio(four, top=4, count=4), cursor=sink.cursors[-1])
    assert numbers(again) == [4]
    nothing, _, _ = visited(VERIO, lambda: Verio(four, top=4, count=4), cursor=again.cursors[-1])
    assert measured(nothing) == []


def test_a_number_that_held_nothing_yet_is_asked_for_again() -> None:
    # Firmware that numbers from 0 and says how many it has had: the highest number is the next one's.
    three = {number: verio_record(number) for number in range(3)}
    sink, _, _ = visited(VERIO, lambda: Verio(three, top=3, count=3))
    assert numbers(sink) == [0, 1, 2]
    four = three | {3: verio_record(3)}
    again, _, _ = visited(VERIO, lambda: Verio(four, top=4, count=4), cursor=sink.cursors[-1])
    assert numbers(again) == [3]


def test_a_verio_that_is_switched_off_in_between_goes_on_where_it_was() -> None:
    sink, ended, _ = visited(VERIO, lambda: Verio(THREE, break_after=5))
    assert isinstance(ended, LinkLost)
    assert numbers(sink) == [1]
    again, ended, _ = visited(VERIO, lambda: Verio(THREE), cursor=sink.cursors[-1])
    assert ended is None
    assert numbers(again) == [2, 3]


def test_a_verio_whose_memory_was_cleared_is_read_anew_and_said_so() -> None:
    sink, _, _ = visited(VERIO, lambda: Verio(THREE), cursor=RecordCursor(sequence=500, count=500))
    assert numbers(sink) == [1, 2, 3]
    (told,) = [one for one in sink.readings if isinstance(one, DeviceEvent)]
    assert told.kind is DeviceEventKind.RECORDS_RENUMBERED
    assert measured(visited(VERIO, lambda: Verio({}, top=0, count=0))[0]) == []


def test_a_full_verio_is_committed_in_batches() -> None:
    many = {number: verio_record(number) for number in range(1, 101)}
    sink, ended, _ = visited(VERIO, lambda: Verio(many, top=100, count=100, twice=True))
    assert ended is None
    assert numbers(sink) == list(range(1, 101))
    assert max(sink.batches) <= 50
    assert [one for one in sink.readings if isinstance(one, Undecodable)] == []


@pytest.mark.parametrize(
    ("odd", "advice"),
    [
        ({b"\x20\x02": b"\x03\x07\x03"}, "Pair it again"),
        ({b"\x27\x00": b"\x03\x08\x03"}, "not the right one"),
        ({b"\x27\x00": b"\x03\x55\x03"}, "0x55"),
        ({b"\x27\x00": b"\x03\x06\x01"}, "number that was asked for"),
        ({b"\x0a\x02\x06": b"\x03\x06\x00\x00\x01\x00"}, "beyond what can be asked"),
        ({b"\x20\x02": b"\x03"}, "damaged"),
        ({b"\x20\x02": b"\x01\x02\x09\x00"}, "damaged"),
        ({b"\xb3\x02\x00": b"\x03\x07\x03"}, "Pair it again"),
        ({b"\xb3\x02\x00": None}, "did not answer"),
        ({b"\xb3\x02\x00": b"\x03\x01"}, "0x01"),
    ],
)
def test_what_a_verio_refuses_or_damages_is_named(odd: dict[bytes, bytes | None], advice: str) -> None:
    sink, ended, _ = visited(VERIO, lambda: Verio(THREE, odd=odd))
    assert ended is not None
    assert advice in str(ended)
    assert set(numbers(sink)) <= {1}


def test_a_result_that_is_no_glucose_is_kept_as_bytes() -> None:
    odd = {1: verio_record(1, kind=2), 2: verio_record(2, reserved=5), 3: verio_record(3)[:-1]}
    sink, ended, _ = visited(VERIO, lambda: Verio(odd))
    assert ended is None
    assert numbers(sink) == [2]
    assert Remark.RESERVED_BITS in measured(sink)[0].remarks
    assert len([one for one in sink.readings if isinstance(one, Undecodable)]) == 2
    with pytest.raises(MalformedPacket, match="longer"):
        VerioRecord.from_bytes(verio_record(1) + b"\0")


def test_what_nobody_asked_for_is_kept_but_not_without_end() -> None:
    class Chatty(Verio):
        def _say(self, command: bytes) -> None:
            for number in range(40):
                self.handler(bytes([0x40, number]))
            super()._say(command)

    sink, ended, _ = visited(VERIO, lambda: Chatty(THREE))
    assert ended is None
    assert numbers(sink) == [1, 2, 3]
    assert len([one for one in sink.readings if isinstance(one, Undecodable)]) == 20


def test_a_verio_that_is_slow_is_left_with_what_was_read() -> None:
    records = VERIO.records.model_copy(update={"overall_s": Decimal(30), "first_s": Decimal(20)})
    profile = VERIO.model_copy(update={"records": records})
    odd: dict[bytes, bytes | None] = {b"\xb3\x03\x00": None}

    class Slow(Verio):
        async def write(self, characteristic: str, data: bytes) -> None:
            await asyncio.sleep(2)
            await super().write(characteristic, data)

    sink, ended, _ = visited(profile, lambda: Slow(THREE, odd=odd))
    assert ended is None
    assert numbers(sink) == [1, 2]


def test_a_lifescan_frame_is_whole_or_malformed() -> None:
    whole = bytes(LifeScanFrame(3, bytes.fromhex("050d02")))
    assert whole.hex() == "020903050d0203089f"
    assert LifeScanFrame.from_bytes(whole).message == bytes.fromhex("050d02")
    for index in range(len(whole)):
        broken = whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :]
        with pytest.raises(MalformedPacket):
            LifeScanFrame.from_bytes(broken)
    with pytest.raises(MalformedPacket):
        LifeScanFrame.from_bytes(whole[:3])
