"""When was it? As an interval that is true, or not at all."""

import datetime as dt
from uuid import UUID

import pytest

from device_drivers.date_time import DateTime
from device_drivers.device_time import ClockComparison, Received, device_time, from_local
from device_drivers.profile import parse_profile
from wire_format.measurement import ClockTrust, DeviceTime, Instant, Remark

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
KNOWN = Received(NOW, 50, 10**9)
UNKNOWING = Received(NOW, None, 10**9)
LOCAL = dt.datetime(2026, 11, 24, 15, 50, 0)  # noqa: DTZ001 - 07:50 UTC in Shanghai
TEXT = """
title = "x"
driver = "gatt_push"
evidence = "specification"
[match]
services = ["1810"]
[records]
characteristics = ["2A35"]
{records}
[clock]
characteristic = "2A2B"
write = "when_off"
factory_default = 2021-01-01T00:00:00
"""
PROFILE = parse_profile("x", TEXT.format(records="").encode())
PUSHES = parse_profile("y", TEXT.format(records="push_delay_s = 60").encode())


def when(
    stamp: DateTime | None,
    received: Received = KNOWN,
    comparison: ClockComparison | None = None,
    profile: object = PROFILE,
    offset_minutes: int | None = None,
) -> tuple[DeviceTime, tuple[Remark, ...]]:
    return device_time(
        profile,  # type: ignore[arg-type]
        received,
        UUID(int=7),
        480,
        stamp=stamp,
        offset_minutes=offset_minutes,
        comparison=comparison,
    )


def test_the_devices_word_alone_is_believed_within_the_profiles_bound() -> None:
    time, remarks = when(DateTime.of(LOCAL))
    assert time.measured == Instant(utc=NOW - dt.timedelta(minutes=10), uncertainty_ms=900_000)
    assert (time.trust, time.stated, remarks) == (ClockTrust.STATED, LOCAL, ())


@pytest.mark.parametrize(("offset_s", "trust"), [(20, ClockTrust.SYNCHRONISED), (3600, ClockTrust.COMPARED)])
def test_a_compared_clock_gives_its_offset_back(offset_s: int, trust: ClockTrust) -> None:
    wrong = LOCAL + dt.timedelta(seconds=offset_s)
    time, _ = when(DateTime.of(wrong), comparison=ClockComparison(offset_s * 1000, 1100))
    assert time.measured == Instant(utc=NOW - dt.timedelta(minutes=10), uncertainty_ms=2150)
    assert (time.trust, time.stated) == (trust, wrong)


def test_an_offset_field_shifts_the_base_time_and_both_are_kept() -> None:
    time, _ = when(DateTime.of(LOCAL - dt.timedelta(minutes=339)), offset_minutes=339)
    assert (time.stated, time.base_time, time.offset_minutes) == (
        LOCAL,
        LOCAL - dt.timedelta(minutes=339),
        339,
    )


@pytest.mark.parametrize(
    ("raw", "remark"),
    [
        (None, Remark.CLOCK_UNSET),
        ("00000411141d00", Remark.CLOCK_UNSET),
        ("e5070101001e00", Remark.CLOCK_UNSET),
        ("ea070d01000000", Remark.CLOCK_INVALID),
    ],
)
def test_a_clock_that_cannot_be_used_leaves_the_time_unknown(raw: str | None, remark: Remark) -> None:
    stamp = None if raw is None else DateTime(bytes.fromhex(raw))
    time, remarks = when(stamp)
    assert (time.measured, time.stated, time.trust, remarks) == (None, None, ClockTrust.NONE, (remark,))
    assert time.stated_bytes == (None if raw is None else bytes.fromhex(raw))


def test_a_device_that_sends_at_once_is_dated_by_its_arrival() -> None:
    time, _ = when(None, profile=PUSHES)
    assert time.measured == Instant(utc=NOW, uncertainty_ms=60_050)
    assert when(None, UNKNOWING, profile=PUSHES)[0].measured is None


def test_a_time_that_has_not_come_yet_is_not_believed() -> None:
    time, remarks = when(DateTime.of(LOCAL + dt.timedelta(days=2)))
    assert (time.measured, remarks) == (None, (Remark.CLOCK_AHEAD,))
    assert time.stated == LOCAL + dt.timedelta(days=2)
    unjudged, remarks = when(DateTime.of(LOCAL + dt.timedelta(days=2)), UNKNOWING)
    assert unjudged.measured is not None
    assert remarks == ()


def test_a_gateway_without_time_compares_nothing() -> None:
    time, _ = when(DateTime.of(LOCAL), UNKNOWING, ClockComparison(5000, 10))
    assert time.trust is ClockTrust.STATED


def test_the_ends_of_the_calendar_are_no_crash() -> None:
    assert from_local(dt.datetime(1, 1, 1), 480) is None  # noqa: DTZ001
    time, _ = when(DateTime(b"\x0f\x27\x0c\x1f\x17\x3b\x3b"), offset_minutes=32767)
    assert time.measured is None


def test_a_clock_thousands_of_years_off_dates_nothing_and_loses_nothing() -> None:
    time, _ = when(DateTime.of(LOCAL), comparison=ClockComparison(2816 * 366 * 86_400_000, 1100))
    assert (time.measured, time.trust, time.stated) == (None, ClockTrust.NONE, LOCAL)
