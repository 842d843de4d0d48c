"""What makers of cuffs say, packet by packet, as it was published; and what their frames refuse."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from device_drivers.decoding import Decoded
from device_drivers.vendors import microlife as ml
from device_drivers.vendors import omron_frames as of
from device_drivers.vendors.omron_records import CLOCK_BLOCKS, RECORD_LAYOUTS, OmronRecord
from device_drivers.vendors.yonker import YonkerResult
from wire_format.errors import MalformedPacket
from wire_format.measurement import BloodPressureContext, Failure, Remark
from wire_format.nomenclature import Term

Said = dict[str, Any]
CAPTURES = json.loads((Path(__file__).parents[1] / "captures" / "vendor_bp.json").read_text())
TAKEN = dt.datetime(2026, 11, 24, 7, 30, 12)  # noqa: DTZ001 - a device clock has no zone


def said(decoded: Decoded) -> Said:
    values = {part.term: part.value for part in decoded.components}
    stamp = decoded.stamp.text if decoded.stamp else None
    found = {
        "sys": values[Term.SYSTOLIC],
        "dia": values[Term.DIASTOLIC],
        "pulse": values[Term.PULSE_RATE],
        "ts": stamp,
    }
    if isinstance(decoded.context, BloodPressureContext):
        found |= {"mov": decoded.context.movement, "ihb": decoded.context.irregular_pulse}
    return found


def record(layout: str) -> Callable[[bytes], Said]:
    def decode(data: bytes) -> Said:
        one = OmronRecord(RECORD_LAYOUTS[layout], data)
        assert bytes(one) == data
        fields = {name: one.layout.get(data, name) or 0 for name in one.layout.fields}
        assert one.layout.put(data, fields) == data
        return {"empty": True} if one.empty else said(one.decoded())

    return decode


def omron_frame(data: bytes) -> Said:
    frame = of.Frame.from_bytes(data)
    assert bytes(frame) == data
    kept = frame.data if len(frame.data) == 14 else b""
    return {
        "len_ok": True,
        "xor_ok": True,
        "cmd": f"{frame.command:04x}",
        "record": record("little_14")(kept) if kept else None,
        "refused": frame.status if frame.refused else None,
    }


def clock(layout: str) -> Callable[[bytes], Said]:
    def decode(data: bytes) -> Said:
        shown = CLOCK_BLOCKS[layout].digits(data)
        assert shown is not None
        assert shown.stated is not None
        assert CLOCK_BLOCKS[layout].stamped(data, shown.stated) == data
        return {"ts": shown.text}

    return decode


def microlife(data: bytes) -> Said:
    frame = ml.MicrolifeFrame.from_bytes(data)
    assert bytes(frame) == data
    return {"sum_ok": True, "len_ok": True, "hdr": frame.head.hex()}


def yonker(data: bytes) -> Said:
    result = YonkerResult.from_bytes(data)
    assert bytes(result) == data
    found = said(result.decoded())
    return found | {"ts": found["ts"].removesuffix(":00")}


DECODERS: dict[str, Callable[[bytes], Said]] = {
    "omron14le": record("little_14"),
    "omron14be": record("big_14"),
    "omron_frame": omron_frame,
    "omron_time_off8": clock("at_8"),
    "omron_time_off8_mixed": clock("at_8_mixed"),
    "omron_time_off2_mixed": clock("at_2_mixed"),
    "microlife": microlife,
    "yonker": yonker,
}


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda c: c["id"])
def test_a_published_packet_decodes_as_published(capture: Said) -> None:
    decode, data, expect = DECODERS[capture["decoder"]], bytes.fromhex(capture["hex"]), capture["expect"]
    if expect.get("error"):
        with pytest.raises(MalformedPacket):
            decode(data)
        return
    found = decode(data)
    for key, value in expect.items():
        if isinstance(value, dict):
            assert {k: found[key][k] for k in value} == value
        else:
            assert found[key] == value, key


def test_the_collection_is_complete() -> None:
    assert len(CAPTURES) == 27
    assert all(c["source"] and c["origin"] for c in CAPTURES)


def test_the_fixed_messages_are_the_published_ones() -> None:
    assert bytes(of.START).hex() == "0800000000100018"
    assert bytes(of.END).hex() == "080f000000000007"
    assert bytes(of.read_request(0x0260, 0x2C)).hex() == "08010002602c0047"
    assert bytes(ml.GET_RECORDS).hex() == "4dff000900000000000000fd52"
    assert bytes(ml.DISCONNECT).hex() == "4dff00020452"
    at = dt.datetime(2024, 6, 15, 14, 30, 45)  # noqa: DTZ001 - a device clock has no zone
    assert bytes(ml.set_clock(at)).hex() == "4dff00080d18060f0e1e2de7"


@pytest.mark.parametrize("layout", sorted(RECORD_LAYOUTS))
def test_a_record_says_what_was_put_into_it(layout: str) -> None:
    row = RECORD_LAYOUTS[layout]
    made = OmronRecord.of(row, row.length + 2, TAKEN, systolic=187, diastolic=121, pulse=88)
    found = said(made.decoded(0, 3))
    assert (found["sys"], found["dia"], found["pulse"], found["ts"]) == (187, 121, 88, "2026-11-24T07:30:12")
    assert made.decoded(0, 3).sequence == (0 if "sequence" in row.fields else 3)
    assert made.decoded(1, 3).sequence != made.decoded(0, 3).sequence
    with pytest.raises(ValueError, match="does not fit the 8 bits of pulse"):
        row.put(bytes(row.length), {"pulse": 256})
    with pytest.raises(MalformedPacket, match="bytes, not 3"):
        OmronRecord(row, b"abc")


def test_second_63_is_kept_as_it_is_and_no_calendar_has_it() -> None:
    row = RECORD_LAYOUTS["big_14"]
    made = OmronRecord.of(row, 14, TAKEN, systolic=120, diastolic=80, pulse=60)
    odd = OmronRecord(row, row.put(bytes(made), {"second": 63}))
    assert odd.stamp.text == "2026-11-24T07:30:63"
    assert odd.stamp.stated is None
    other = OmronRecord(row, row.put(bytes(odd), {"pulse": 61}))
    numbers = {one.number(0, slot) for one in (odd, other) for slot in (3, 4)}
    assert len(numbers) == 4


def test_what_the_layouts_do_not_say_is_unknown() -> None:
    wrist = RECORD_LAYOUTS["big_14_6232"]
    context = OmronRecord.of(wrist, 14, TAKEN, systolic=120, diastolic=80, pulse=60).decoded().context
    assert context == BloodPressureContext()
    watch = RECORD_LAYOUTS["heartguide_24"]
    failed = OmronRecord.of(watch, 24, TAKEN, systolic=120, diastolic=80, pulse=60, error=5).decoded()
    assert (failed.failure, failed.sequence) == (Failure.DEVICE_FAULT, 0)
    assert bytes(OmronRecord.of(watch, 24, TAKEN, systolic=120, diastolic=80, pulse=60, error=5))[17] == 5
    torn = OmronRecord(watch, b"\xff" * 17 + bytes(7))
    with pytest.raises(MalformedPacket, match="0xFF"):
        torn.decoded()


def test_a_clock_block_whose_sum_does_not_fit_shows_nothing() -> None:
    good = bytes.fromhex("c6540000000000001a09121534069e00")
    assert CLOCK_BLOCKS["at_8"].digits(good[:9] + b"\x0a" + good[10:]) is None
    assert CLOCK_BLOCKS["at_8"].digits(good[:-1]) is None


@pytest.mark.parametrize(
    ("data", "said_"),
    [
        (b"", "ends within length"),
        (bytes.fromhex("08010002602c00"), "says it has 8 bytes has 7"),
        (bytes.fromhex("07010002602c48"), "says it has 7 bytes has 7"),
        (bytes.fromhex("08010002602c0046"), "check byte"),
    ],
)
def test_a_frame_that_does_not_fit_is_said(data: bytes, said_: str) -> None:
    with pytest.raises(MalformedPacket, match=said_):
        of.Frame.from_bytes(data)


PARTS = [
    bytes.fromhex(part)
    for part in (
        "40810002e4385261154a20531e3b0071",
        "6b80f93a4c6a154820b61af200736980",
        "92514954155420b61b59006a4e804b88",
        "465b1550210a100600465a80a46700f5",
    )
]


def test_parts_come_together_in_any_order_and_what_is_torn_is_said() -> None:
    for order in ((0, 1, 2, 3), (3, 0, 2, 1)):
        four = of.Assembler(4)
        got = [one for n in order for one in four.add(n, PARTS[n])]
        assert [of.Frame.from_bytes(one.raw).address for one in got] == [0x02E4]
    four = of.Assembler(4)
    assert four.add(0, PARTS[0]) == []
    again = four.add(0, PARTS[0])
    assert again == [of.Assembled(PARTS[0], torn=True)]
    assert [one.torn for one in four.rest()] == [True]
    assert four.rest() == []
    short = [one for n in range(4) for one in four.add(n, PARTS[n][:9] if n == 1 else PARTS[n])]
    assert [one.torn for one in short] == [True]
    assert [one.torn for one in of.Assembler(4).add(0, b"")] == [True]
    far = of.Assembler(4)
    assert [one.torn for n in range(4) for one in far.add(n, b"\xff" * 16)] == [True]


def test_microlife_frames_and_records_that_do_not_fit_are_said() -> None:
    for data, text in (
        ("4e3a0002810a", "begin with 4e3a"),
        ("4d3a0003810a", "announces 3"),
        ("4d3a0002810b", "sum"),
        ("4d3a0000", "announces 0"),
    ):
        with pytest.raises(MalformedPacket, match=text):
            ml.MicrolifeFrame.from_bytes(bytes.fromhex(data))
    with pytest.raises(MalformedPacket, match="38 bytes at least"):
        ml.records_of(bytes(37))
    with pytest.raises(MalformedPacket, match="10 bytes, not 9"):
        ml.MicrolifeRecord(bytes(9))
    made = ml.MicrolifeRecord.of(187, 121, 88, TAKEN)
    records, cut = ml.records_of(bytes(38) + bytes(made) + b"\x01\x02")
    assert (records, cut) == ([made], b"\x01\x02")
    odd = ml.MicrolifeRecord(bytes(made)[:8] + b"\x01\x00").decoded(0)
    assert Remark.TRAILING_BYTES in odd.remarks
    assert ml.announced(b"\x4d\x3a\x01") is None
    assert ml.announced(b"\x4d\xff\x01\x00") is None
    assert ml.announced(b"\x4d\x3a\x01\x00") == 260
