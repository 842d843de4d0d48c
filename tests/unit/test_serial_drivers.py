"""Drivers of serial meters against meters that refuse, repeat themselves, doubt, or are somebody else."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from device_drivers.capture import Kind, capture_of
from device_drivers.catalogue import serial_driver_of
from device_drivers.drivers import (
    serial_codefree,
    serial_freestyle_lite,
    serial_freestyle_optium,
    serial_taidoc,
    serial_ultra2,
    serial_ultraeasy,
)
from device_drivers.information import Information
from device_drivers.serial_dialogue import NoAnswer, Refused
from device_drivers.serial_layouts.codefree import CodeFreeFrame
from device_drivers.serial_layouts.lifescan import Link
from device_drivers.serial_layouts.taidoc import TaiDocFrame, TaiDocResult
from device_drivers.serial_layouts.ultra2 import Ultra2Line
from device_drivers.vendors.lifescan import LifeScanFrame
from tests.doubles.direct_link import PROFILES, Direct, Outcome, once
from tests.doubles.serial_street import METERS, NOON, memory, meter
from virtual_home.serial.codefree import CodeFreeMeter
from virtual_home.serial.lifescan import UltraEasyMeter
from virtual_home.serial.meter import Result
from virtual_home.serial.taidoc import TaiDocMeter
from wire_format.errors import MalformedPacket

from virtual_time import virtually

every_family = pytest.mark.parametrize("profile", METERS)
ULTRA2, EASY = "lifescan/onetouch_ultra2", "lifescan/onetouch_ultraeasy"
LITE, OPTIUM = "abbott/freestyle_lite", "abbott/freestyle_optium"
CODEFREE, TAIDOC = "sd_biosensor/codefree", "taidoc/td42xx"


@every_family
def test_who_is_there_is_asked_first(profile: str) -> None:
    one = Outcome(profile, meter(profile))
    assert one.ended is None
    assert one.said is not None
    assert one.said.manufacturer
    assert one.said.model
    assert one.said.serial == (METERS[profile][1] or None)
    assert one.link.baud_rate == PROFILES[profile].protocol["baud_rate"]
    assert len(one.measured) == 12
    assert max(one.sink.batches) <= 50


@every_family
def test_large_memories_are_committed_in_batches(profile: str) -> None:
    one = Outcome(profile, meter(profile, results=memory(120)))
    assert [n for n in one.sink.batches if n > 1] == [50, 50, 20]


ERASE = (b"DMZ", b"\x05\x1a", bytes(TaiDocFrame(0x52, bytes(4), 0xA3)))
"""The requests of these families that erase a memory: written here, and nowhere in the product."""

SENDABLE = (
    serial_codefree,
    serial_freestyle_lite,
    serial_freestyle_optium,
    serial_taidoc,
    serial_ultra2,
    serial_ultraeasy,
)


def erases(sent: bytes) -> bool:
    return any(code in sent for code in ERASE[1:]) or ERASE[0] in sent


@every_family
def test_no_visit_sends_anything_that_erases(profile: str) -> None:
    of = meter(profile)
    of.offset = dt.timedelta(hours=9)
    sent = b"|".join(Outcome(profile, of).link.sent)
    capture = capture_of(profile)
    assert capture is not None
    sent += b"|".join(e.data for s in capture.sessions for e in s.exchange if e.kind is Kind.SENT)
    assert sent
    assert not erases(sent)
    assert of.erasures_asked == 0
    assert erases(sent + ERASE[0])


def test_no_driver_has_a_request_that_erases() -> None:
    values = [command.value for module in SENDABLE for command in module.Command]
    assert len(values) > 20
    assert 0x52 not in values
    for value in values:
        data = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else b""
        assert not erases(data)


def test_simulated_meters_see_who_asks_them_to_erase() -> None:
    for name, request in (
        (ULTRA2, b"\x11\rDMZ\r"),
        (EASY, bytes(LifeScanFrame(0, ERASE[1]))),
        (TAIDOC, ERASE[2]),
    ):
        of = meter(name)
        list(of.hear(request))
        assert of.erasures_asked == 1


@every_family
def test_another_familys_meter_is_not_taken_for_ones_own(profile: str) -> None:
    for other in METERS:
        if other == profile or {other, profile} <= {LITE, OPTIUM}:
            continue
        one = Outcome(profile, meter(other))
        assert isinstance(one.ended, NoAnswer | MalformedPacket), other
        assert one.said is None
        assert one.sink.readings == []


@pytest.mark.parametrize("profile", [p for p in METERS if p != CODEFREE])
def test_a_damaged_answer_is_asked_for_again_and_kept(profile: str) -> None:
    whole = Outcome(profile, meter(profile)).measured
    damaged = once(lambda part: part[:2] + bytes([part[2] ^ 0x20]) + part[3:], at=7 if profile != LITE else 2)
    one = Outcome(profile, meter(profile), damaged)
    ids = {m.measurement_id for m in one.measured}
    assert ids <= {m.measurement_id for m in whole}
    assert one.strays
    assert (len(ids) == len(whole)) is (one.ended is None)


def test_a_damaged_line_of_a_dump_ends_the_visit_by_name_and_leaves_the_clock() -> None:
    of = meter(ULTRA2)
    of.offset = dt.timedelta(hours=4)
    one = Outcome(ULTRA2, of, once(lambda part: part.replace(b"0", b"8", 1), at=6))
    assert "1 records were damaged on the cable" in str(one.ended)
    assert len(one.measured) == 11
    assert [s.reason for s in one.strays] == ["Ultra2 line: the checksum is wrong."]
    assert of.clock_settings == 0


def test_a_damaged_record_that_cannot_be_asked_for_again() -> None:
    one = Outcome(CODEFREE, meter(CODEFREE), once(lambda part: part[:-2] + b"\x00\xaa", at=4))
    assert "read again at the next visit" in str(one.ended)
    assert len(one.measured) == 11


def test_a_codefree_record_of_another_form_is_kept() -> None:
    odd = bytes(CodeFreeFrame(0x20, b"\x20\x01\x02"))
    one = Outcome(CODEFREE, meter(CODEFREE), once(lambda _: odd, at=3))
    assert one.ended is None
    assert [s.raw.data for s in one.strays] == [odd]


def test_a_codefree_that_does_not_end_its_session_is_left() -> None:
    one = Outcome(CODEFREE, meter(CODEFREE), lambda parts: [p for p in parts if b"\x10\x70" not in p])
    assert one.ended is None
    assert len(one.measured) == 12


@dataclass
class Greeter(CodeFreeMeter):
    says: bytes = b""

    def greeting(self) -> bytes:
        return self.says


@pytest.mark.parametrize(
    ("says", "error"),
    [
        (b"", "switched on"),
        (b"\x00\x00", "switched on"),
        (bytes(CodeFreeFrame(0x20, b"\x10\x31")), "challenge"),
        (bytes(CodeFreeFrame(0x20, b"\x10\x30"))[:-1] + b"\xab", "framed"),
    ],
)
def test_a_codefree_is_known_by_its_challenge(says: bytes, error: str) -> None:
    one = Outcome(CODEFREE, Greeter("", lambda: NOON, says=says))
    assert error in str(one.ended)
    assert one.link.sent == []


def test_lines_of_a_form_that_is_not_known_are_kept_once_for_all_visits() -> None:
    odd = bytes(Ultra2Line('P "SAT","03/21/15","16:45:24   ","  0X1 ","N","03", 00'))
    # Place 5 is the first record; at the second visit there is a newer one before it.
    first = Outcome(ULTRA2, meter(ULTRA2), once(lambda _: odd, at=5))
    second = Outcome(ULTRA2, meter(ULTRA2, results=memory(13)), once(lambda _: odd, at=6))
    assert first.ended is second.ended is None
    assert [s.raw.data for s in first.strays] == [odd]
    assert [s.item_id for s in first.strays] == [s.item_id for s in second.strays]


def test_a_freestyle_line_of_another_form_is_kept() -> None:
    @dataclass
    class Odd(METERS[LITE][0]):  # type: ignore[misc]
        def _record(self, result: Result) -> object:
            record = super()._record(result)
            return replace(record, kind="ZZ") if result is self.memory[0] else record

    one = Outcome(LITE, Odd("DABC123-X4567", lambda: NOON, memory=memory(3)))
    assert one.ended is None
    assert [s.reason for s in one.strays] == ["FreeStyle: the line is no record."]
    assert len(one.measured) == 2


def test_an_ultraeasy_that_refuses_says_with_what() -> None:
    @dataclass
    class Refusing(UltraEasyMeter):
        def _said(self, asked: bytes) -> bytes:
            return b"\x05\x09" if asked[1:2] == b"\x20" else super()._said(asked)

    one = Outcome(EASY, Refusing("ABC1234X", lambda: NOON))
    assert isinstance(one.ended, Refused)
    assert "CLOCK with status 09" in str(one.ended)


@pytest.mark.parametrize("prefix", [b"\x05\x06", b"\x05\x0f\x00", b"\x01"])
def test_an_ultraeasy_without_a_number_of_records(prefix: bytes) -> None:
    of = meter(EASY)
    assert isinstance(of, UltraEasyMeter)
    of.count_prefix = prefix
    assert "no number of records" in str(Outcome(EASY, of).ended)


def test_an_ultraeasy_record_of_another_length_is_kept() -> None:
    @dataclass
    class Longer(UltraEasyMeter):
        def _record(self, index: int) -> bytes:
            said = super()._record(index)
            return said + b"\x01" if index == 1 else said

    one = Outcome(EASY, Longer("ABC1234X", lambda: NOON, memory=memory(3)))
    assert one.ended is None
    assert (len(one.measured), len(one.strays)) == (2, 1)


@pytest.mark.parametrize("length", [3, 5])
def test_an_ultraeasy_clock_of_another_length_is_no_clock(length: int) -> None:
    @dataclass
    class Strange(UltraEasyMeter):
        def _said(self, asked: bytes) -> bytes:
            return b"\x05\x06" + bytes(length) if asked[1:2] == b"\x20" else super()._said(asked)

    assert "no time" in str(Outcome(EASY, Strange("ABC1234X", lambda: NOON)).ended)


def test_an_ultraeasy_that_says_everything_twice_is_understood() -> None:
    one = Outcome(EASY, meter(EASY), lambda parts: [p for part in parts for p in (part, part)])
    assert len(one.measured) == 12
    assert len({m.measurement_id for m in one.measured}) == 12


def test_an_ultraeasy_answer_that_comes_late_is_not_the_next_one() -> None:
    before: list[bytes] = []

    def late(parts: Sequence[bytes]) -> list[bytes]:
        again, before[:] = list(before), list(parts) or before
        return [*again, *parts] if parts else []

    one = Outcome(EASY, meter(EASY), late)
    assert one.ended is None
    assert {m.measurement_id for m in one.measured} == {
        m.measurement_id for m in Outcome(EASY, meter(EASY)).measured
    }


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (LifeScanFrame(Link.DISCONNECT), "ended the connection"),
        (LifeScanFrame(Link.ACKNOWLEDGE), "does not end its old connection"),
    ],
)
def test_an_ultraeasy_link_that_does_not_hold(said: LifeScanFrame, error: str) -> None:
    def alter(parts: Sequence[bytes]) -> list[bytes]:
        disconnected = any(LifeScanFrame.from_bytes(p).link & Link.DISCONNECT for p in parts)
        if disconnected == bool(said.link & Link.DISCONNECT):
            return list(parts)
        return [bytes(said)] * 6 if parts else []

    assert error in str(Outcome(EASY, meter(EASY), alter).ended)


def test_an_ultraeasy_that_only_acknowledges_does_not_answer() -> None:
    def alter(parts: Sequence[bytes]) -> list[bytes]:
        frames = [LifeScanFrame.from_bytes(p) for p in parts]
        return [bytes(replace(f, message=b"")) for f in frames for _ in range(6)]

    assert "does not answer" in str(Outcome(EASY, meter(EASY), alter).ended)


def test_a_taidoc_record_of_another_kind_is_kept_and_no_glucose() -> None:
    @dataclass
    class Haematocrit(TaiDocMeter):
        @staticmethod
        def _result(result: Result) -> TaiDocResult:
            return replace(TaiDocMeter._result(result), marks=6 << 2)  # noqa: SLF001 - its base

    one = Outcome(TAIDOC, Haematocrit("4277123456789012", lambda: NOON, memory=memory(2)))
    assert one.ended is None
    assert one.measured == []
    assert ["kind 6" in s.reason for s in one.strays] == [True, True]


def test_a_taidoc_answer_to_another_request_is_no_answer() -> None:
    greeted = once(lambda _: bytes(TaiDocFrame(0x54)), at=1)
    assert Outcome(TAIDOC, meter(TAIDOC), greeted).ended is None
    always = Outcome(TAIDOC, meter(TAIDOC), lambda parts: [bytes(TaiDocFrame(0x54)) for _ in parts])
    assert "answers no" in str(always.ended)
    echo = Outcome(
        TAIDOC, meter(TAIDOC), lambda parts: [bytes(TaiDocFrame(0x22, direction=0xA3)) for _ in parts]
    )
    assert "answers no" in str(echo.ended)


def test_a_taidoc_without_a_serial_number() -> None:
    one = Outcome(TAIDOC, meter(TAIDOC, serial="0" * 16))
    assert one.said == Information("TaiDoc", "TD-4277", None, None, None)


def test_an_optium_whose_answer_lacks_something_is_asked_again_and_named() -> None:
    one = Outcome(OPTIUM, meter(OPTIUM), lambda parts: [p.replace(b"Clock", b"Cloud") for p in parts])
    assert "lacks a serial number or a clock" in str(one.ended)


def test_a_meter_that_babbles_for_ever_is_left() -> None:
    @dataclass
    class Babbling(Direct):
        async def discard(self) -> bytes:
            return b"noise"

    async def ask() -> None:
        await serial_driver_of(PROFILES[ULTRA2]).identify(Babbling(meter(CODEFREE)), PROFILES[ULTRA2])

    with pytest.raises(MalformedPacket, match="no whole frame"):
        virtually(ask())
