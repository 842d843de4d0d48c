"""Clocks of serial meters: compared, set after the records, read back; and records without a usable time."""

import datetime as dt
from dataclasses import dataclass, replace

import pytest

from device_drivers.date_time import DateTime
from device_drivers.driver import GatewayTime
from device_drivers.serial_layouts.taidoc import TaiDocFrame
from tests.doubles.direct_link import Outcome
from tests.doubles.serial_street import METERS, NOON, memory, meter
from virtual_home.serial.lifescan import Ultra2Meter, UltraEasyMeter
from virtual_home.serial.meter import Result
from virtual_home.serial.taidoc import TaiDocMeter
from wire_format.measurement import ClockTrust, Remark
from wire_format.statements import DeviceEventKind

ULTRA2, EASY = "lifescan/onetouch_ultra2", "lifescan/onetouch_ultraeasy"
OPTIUM, TAIDOC = "abbott/freestyle_optium", "taidoc/td42xx"
SETTABLE = [ULTRA2, EASY, OPTIUM, TAIDOC]


@pytest.mark.parametrize("profile", SETTABLE)
def test_a_clock_is_set_after_the_records_and_read_back(profile: str) -> None:
    of = meter(profile)
    of.offset = dt.timedelta(hours=-8)
    one = Outcome(profile, of)
    assert [e.kind for e in one.events] == [DeviceEventKind.CLOCK_SET]
    assert one.sink.readings[-1] == one.events[0]
    assert {m.time.trust for m in one.measured} == {ClockTrust.COMPARED}
    assert Outcome(profile, of).events == []


@pytest.mark.parametrize("profile", SETTABLE)
def test_a_clock_that_does_not_take_the_time_is_told_of(profile: str) -> None:
    of = meter(profile)
    of.offset = dt.timedelta(hours=-8)
    of.set_clock = lambda _shown: None  # type: ignore[method-assign] # a meter that ignores it
    (event,) = Outcome(profile, of).events
    assert event.kind is DeviceEventKind.CLOCK_REFUSED
    assert event.detail == "The device took the time and did not keep it."


def test_a_meter_that_refuses_its_clock_keeps_its_records() -> None:
    @dataclass
    class Stubborn(UltraEasyMeter):
        def _said(self, asked: bytes) -> bytes:
            return b"\x05\x08" if asked[1:3] == b"\x20\x01" else super()._said(asked)

    of = Stubborn("ABC1234X", lambda: NOON, memory=memory(3), offset=dt.timedelta(days=2))
    one = Outcome(EASY, of)
    assert one.ended is None
    (event,) = one.events
    assert event.kind is DeviceEventKind.CLOCK_REFUSED
    assert event.detail == "The meter refused SET_CLOCK with status 08."
    assert len(one.measured) == 3


def test_a_gateway_that_does_not_know_the_time_sets_no_clock() -> None:
    of = meter(ULTRA2)
    of.offset = dt.timedelta(hours=-8)
    one = Outcome(ULTRA2, of, now=GatewayTime(NOON, None, 1))
    assert one.events == []
    assert of.clock_settings == 0
    assert {m.time.trust for m in one.measured} == {ClockTrust.STATED}


def test_records_without_a_usable_time_are_the_same_at_each_visit() -> None:
    @dataclass
    class Lost(METERS[OPTIUM][0]):  # type: ignore[misc]
        def _record(self, result: Result) -> object:
            return replace(super()._record(result), status=0x02)

    def read(count: int) -> Outcome:
        return Outcome(OPTIUM, Lost("XABC123-X4567", lambda: NOON, deaf_for=0, memory=memory(count)))

    # Newer records come first: at the second visit each has another place.
    first, second = read(3), read(5)
    ids = {m.measurement_id for m in first.measured}
    assert len(ids) == 3
    assert len(second.measured) == 5
    assert ids < {m.measurement_id for m in second.measured}
    for m in first.measured:
        assert m.time.stated is m.time.measured is None
        assert Remark.CLOCK_UNSET in m.remarks


def test_a_clock_of_no_calendar_leaves_records_to_their_word() -> None:
    @dataclass
    class Thirteen(TaiDocMeter):
        def _said(self, asked: TaiDocFrame) -> bytes:
            month = (26 << 9 | 13 << 5 | 1).to_bytes(2, "little")
            return month + bytes(2) if asked.command == 0x23 else super()._said(asked)

    one = Outcome(TAIDOC, Thirteen("4277123456789012", lambda: NOON, memory=memory(2)))
    assert {m.time.trust for m in one.measured} == {ClockTrust.STATED}
    assert [e.kind for e in one.events] == [DeviceEventKind.CLOCK_REFUSED]


def test_digits_are_kept_as_given() -> None:
    assert DateTime.from_digits(2026, 13, 40, 25, 61, 0).stated is None


def test_the_seconds_of_an_ultra2_are_compared() -> None:
    of = meter(ULTRA2)
    assert isinstance(of, Ultra2Meter)
    of.offset = dt.timedelta(seconds=30)
    (first, *_) = Outcome(ULTRA2, of).measured
    assert first.time.clock_offset_ms == 30_000
    assert first.time.trust is ClockTrust.SYNCHRONISED
