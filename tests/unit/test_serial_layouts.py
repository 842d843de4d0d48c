"""Published frames and lines of serial meters decode as published; what is damaged is no value."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from device_drivers.date_time import DateTime
from device_drivers.serial_layouts.codefree import CodeFreeCount, CodeFreeFrame, CodeFreeRecord
from device_drivers.serial_layouts.freestyle import FreeStyleClock, FreeStyleMemory, FreeStyleRecord
from device_drivers.serial_layouts.lifescan import (
    UltraEasyRecord,
    clock_digits,
    clock_seconds,
)
from device_drivers.serial_layouts.taidoc import TaiDocFrame, TaiDocResult, TaiDocTime
from device_drivers.serial_layouts.ultra2 import (
    Ultra2Line,
    Ultra2Record,
    line_sum,
    record_count,
    serial_number,
    shown_clock,
    software_version,
)
from device_drivers.vendors.lifescan import LifeScanFrame, crc16
from wire_format.errors import MalformedPacket
from wire_format.measurement import Absent, Failure, Meal
from wire_format.nomenclature import Term

CAPTURES = json.loads((Path(__file__).parents[1] / "captures" / "serial.json").read_text())
Said = dict[str, Any]


def minute(stamp: DateTime) -> str:
    return stamp.text.removesuffix(":00")


def ls_frame(data: bytes) -> Said:
    right = crc16(data[:-2]) == int.from_bytes(data[-2:], "little")
    if not right:
        with pytest.raises(MalformedPacket, match="checksum"):
            LifeScanFrame.from_bytes(data)
        return {"crc_ok": False}
    frame = LifeScanFrame.from_bytes(data)
    assert bytes(frame) == data
    return {"len_ok": True, "link": frame.link, "msg": frame.message.hex(), "crc_ok": True}


def ultra2(data: bytes) -> Said:
    line = Ultra2Line.from_bytes(data)
    assert bytes(line) == data
    return {"ok": True, "sum": f"{line_sum(line.text.encode()):04X}"}


def td(data: bytes) -> Said:
    frame = TaiDocFrame.from_bytes(data)
    assert bytes(frame) == data
    return {"sum_ok": True, "stx": data[0], "cmd": frame.command, "dir": frame.direction}


def td_dt(data: bytes) -> Said:
    time = TaiDocTime.from_bytes(data)
    assert bytes(time) == data
    assert time.stamp.stated is not None
    assert TaiDocTime.of(time.stamp.stated) == time
    return {"ts": minute(time.stamp)}


def fs_clock(data: bytes) -> Said:
    return {"ts": FreeStyleClock.from_bytes(data).stamp.text}


def fs_reading(data: bytes) -> Said:
    record = FreeStyleRecord.from_bytes(data)
    assert bytes(record) == data
    return {"value": record.component.value, "ts": minute(record.stamp), "kind": record.kind}


def sd_codefree(data: bytes) -> Said:
    frame = CodeFreeFrame.from_bytes(data)
    assert bytes(frame) == data
    return {"stx": data[0], "dir": frame.direction, "len_ok": True, "xor_ok": True, "etx": data[-1]}


DECODERS: dict[str, Callable[[bytes], Said]] = {
    "ls_frame": ls_frame,
    "ultra2": ultra2,
    "td": td,
    "td_dt": td_dt,
    "fs_clock": fs_clock,
    "fs_reading": fs_reading,
    "sd_codefree": sd_codefree,
}


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda c: c["id"])
def test_published_bytes_decode_as_published(capture: Said) -> None:
    data = bytes.fromhex(capture["hex"]) if "hex" in capture else capture["ascii"].encode()
    found = DECODERS[capture["decoder"]](data)
    assert {key: found[key] for key in capture["expect"]} == capture["expect"]


def test_the_collection_is_complete() -> None:
    assert len(CAPTURES) == 14
    assert all(c["origin"] and c["source"] for c in CAPTURES)


def test_an_ultra2_is_known_by_the_end_of_its_serial_number() -> None:
    assert serial_number(Ultra2Line('@ "12345678Y"')) == "12345678Y"
    (other,) = [c["ascii"].encode() for c in CAPTURES if c["id"] == "u2-2"]
    with pytest.raises(MalformedPacket, match="no serial number of an Ultra2"):
        serial_number(Ultra2Line.from_bytes(other))


LINE = Ultra2Record("SAT", DateTime.of(dt.datetime(2026, 3, 21, 16, 45, 24)), "081")  # noqa: DTZ001 - no zone
FRAME = LifeScanFrame(0x03, b"\x05\x0d\x02")
RECORD = FreeStyleRecord("093", DateTime.of(dt.datetime(2026, 6, 4, 16, 53)), "G")  # noqa: DTZ001 - no zone
MEMORY = FreeStyleMemory("XABC123-X4567", "0.22", FreeStyleClock(RECORD.digits), (bytes(RECORD),))
WHOLE: dict[str, Any] = {
    "LifeScan frame": FRAME,
    "UltraEasy record": UltraEasyRecord(1_700_000_000, 104),
    "Ultra2 line": Ultra2Line("?P02.00.00"),
    "Ultra2 record": LINE,
    "FreeStyle record": RECORD,
    "FreeStyle clock": MEMORY.clock,
    "FreeStyle memory": MEMORY,
    "CodeFree frame": CodeFreeFrame(0x20, b"\x10\x30"),
    "CodeFree count": CodeFreeCount(300),
    "CodeFree record": CodeFreeRecord(RECORD.digits, 104, 0x10),
    "TaiDoc frame": TaiDocFrame(0x25, b"\x04\x27\x25\x0d"),
    "TaiDoc time": TaiDocTime(RECORD.digits),
    "TaiDoc result": TaiDocResult(104, 0, 0x40),
}
SUMMED = (
    "LifeScan frame",
    "Ultra2 line",
    "Ultra2 record",
    "FreeStyle memory",
    "CodeFree frame",
    "TaiDoc frame",
)


@pytest.mark.parametrize("name", WHOLE)
def test_a_value_is_the_same_after_its_bytes(name: str) -> None:
    one = WHOLE[name]
    assert type(one).from_bytes(bytes(one)) == one


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_cut_off_is_malformed(name: str) -> None:
    one = WHOLE[name]
    for length in range(len(bytes(one))):
        if name != "CodeFree count" or length < 3:  # what follows the number is filling
            with pytest.raises(MalformedPacket):
                type(one).from_bytes(bytes(one)[:length])


@pytest.mark.parametrize("name", SUMMED)
def test_one_wrong_bit_anywhere_is_malformed(name: str) -> None:
    one = WHOLE[name]
    data = bytes(one)
    for place in range(len(data)):
        wrong = data[:place] + bytes([data[place] ^ 0x01]) + data[place + 1 :]
        with pytest.raises(MalformedPacket):
            type(one).from_bytes(wrong)


@pytest.mark.parametrize(
    ("value", "absent"), [(0xFFFE, Absent.BELOW_RANGE), (0xFFFF, Absent.ABOVE_RANGE), (104, None)]
)
def test_an_ultraeasy_marks_hi_and_lo(value: int, absent: Absent | None) -> None:
    found = UltraEasyRecord(1, value).component
    assert found.absent is absent
    assert found.value == (None if absent else value)


def test_a_clock_that_was_never_set_states_nothing() -> None:
    assert UltraEasyRecord(0, 104).stamp is None
    local = dt.datetime(2026, 11, 24, 12, 0, 1)  # noqa: DTZ001 - no zone
    assert clock_digits(clock_seconds(local)).stated == local
    lost = FreeStyleRecord("093", RECORD.digits, "G", 0x02)
    assert lost.stamp.unknown
    assert not RECORD.stamp.unknown


def test_a_month_that_no_calendar_has_is_kept_as_sent() -> None:
    time = TaiDocTime.from_bytes((26 << 9 | 13 << 5 | 40).to_bytes(2, "little") + b"\x63\x1f")
    assert time.stamp.stated is None
    assert time.stamp.text == "2026-13-08T31:99:00"
    with pytest.raises(MalformedPacket, match="calendars"):
        DateTime.from_digits(2026, 300, 1, 0, 0, 0)


def test_a_meter_that_doubts_its_own_memory_gives_no_value() -> None:
    record = Ultra2Record.from_bytes(bytes(Ultra2Record("SAT", LINE.stamp, "081", damaged=True)))
    assert (record.component.absent, record.failure) == (Absent.NOT_A_NUMBER, Failure.DEVICE_FAULT)
    assert LINE.failure is None


def test_ultra2_lines_that_answer_something_else_are_refused() -> None:
    line = Ultra2Line("?P02.00.00 30/08/06")
    assert software_version(line) == "P02.00.00 30/08/06"
    for read in (serial_number, shown_clock, record_count, Ultra2Record.of):
        with pytest.raises(MalformedPacket):
            read(line)
    with pytest.raises(MalformedPacket):
        software_version(Ultra2Line('@ "12345678Y"'))
    shown = Ultra2Line('F "SAT","08/03/13","22:12:00   "')
    assert shown_clock(shown).text == "2013-08-03T22:12:00"
    assert record_count(Ultra2Line('P 003,"GMF600DCY","MMOL/L"')) == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"093  Foo  04 2026 16:53 G 0x00", "no month"),
        (b"093  Foe 04 2026 16:53 G 0x00", "no record"),
        (b"093  July 04 2026 16:53 X 0x00", "no record"),
        (b"093  July 04 2026 16:53 G 0x00\xff", "no ASCII"),
    ],
)
def test_freestyle_lines_of_another_form_are_malformed(line: bytes, said: str) -> None:
    with pytest.raises(MalformedPacket, match=said):
        FreeStyleRecord.from_bytes(line)


def test_freestyle_months_are_spelled_in_three_ways() -> None:
    for text, month in ((b"June", 6), (b"Jun ", 6), (b"July", 7), (b"Jul ", 7), (b"May ", 5)):
        record = FreeStyleRecord.from_bytes(b"093  " + text + b" 04 2026 16:53 G 0x00")
        assert record.digits.digits[1] == month


def test_freestyle_status_bits() -> None:
    control = FreeStyleRecord("093", RECORD.digits, "00", 0x01)
    strange = FreeStyleRecord("093", RECORD.digits, "00", 0x80)
    assert (control.control, control.reserved_bits) == (True, False)
    assert (strange.control, strange.reserved_bits) == (False, True)


def test_a_ketone_is_a_ketone() -> None:
    ketone = FreeStyleRecord("003", RECORD.digits, "K").component
    assert (ketone.term, str(ketone.value)) == (Term.KETONE, "0.2")
    assert FreeStyleRecord("HI ", RECORD.digits, "K").component.absent is Absent.ABOVE_RANGE


def test_an_empty_freestyle_has_no_sum() -> None:
    head = b"\r\nDABC123-X4567\r\n1.43 -P\r\nNov  24 2026 12:00:00\r\n"
    empty = FreeStyleMemory.from_bytes(head + b"Log Empty END")
    assert (empty.serial, empty.lines) == ("DABC123-X4567", ())


def summed(body: bytes) -> bytes:
    return body + b"0x%04X  END" % (sum(body) & 0xFFFF)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\r\nX\r\n1\r\nNov  24 2026 12:00:00\r\n000\r\n", "serial number"),
        (b"\r\nDABC123-X4567\r\n", "serial number"),
        (
            b"\r\nDABC123-X4567\r\n1\r\nNov  24 2026 12:00:00\r\n002\r\n" + bytes(RECORD) + b"\r\n",
            "announced",
        ),
        (b"\r\nDABC123-X4567\r\n1\r\nNov  24 2026 12:00:00\r\nxyz\r\n", "announced"),
        (b"\r\nDABC123-X4567\r\n1\r\nyesterday\r\n000\r\n", "no clock"),
    ],
)
def test_a_memory_that_contradicts_itself_is_malformed(body: bytes, said: str) -> None:
    with pytest.raises(MalformedPacket, match=said):
        FreeStyleMemory.from_bytes(summed(body))


def test_taidoc_marks() -> None:
    assert TaiDocResult(104, 0, 0xC0).control
    assert TaiDocResult(104, 0, 0xC0).meal_mark is None
    assert TaiDocResult(104, 0, 0x80).meal_mark is Meal.POSTPRANDIAL
    assert TaiDocResult(104, 0, 0x1C).kind == 7
    assert TaiDocResult(19).component(20, 600).absent is Absent.BELOW_RANGE
    assert TaiDocResult(601).component(20, 600).absent is Absent.ABOVE_RANGE
    assert TaiDocResult(600).component(20, 600).value == 600


def test_a_codefree_meal_that_is_not_known_is_said_to_be_reserved() -> None:
    assert CodeFreeRecord(RECORD.digits, 104, 0x30).meal_mark is Meal.RESERVED
    assert CodeFreeRecord(RECORD.digits, 104).meal_mark is None
    with pytest.raises(MalformedPacket, match="another one"):
        CodeFreeCount.from_bytes(b"\x20\x00\x01")


def test_bytes_after_a_record_are_not_skipped() -> None:
    with pytest.raises(MalformedPacket, match="after the value"):
        UltraEasyRecord.from_bytes(bytes(9))
