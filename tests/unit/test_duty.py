"""Service hours: due times are counted while somebody is on duty, over nights, weekends, holidays and DST."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from cloud_bridge.duty import ALWAYS, Duty
from cloud_bridge.rules.base import Severity
from cloud_bridge.rules.care import Care

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
CARE = Care(severe_minutes=15, high_minutes=240, routine_working_days=1)
DAY = (dt.time(8), dt.time(17, 30))
WEEK = (DAY, DAY, DAY, DAY, DAY, None, None)
WARD = Duty(SHANGHAI, WEEK, emergency="120")


def at(day: int, hour: int, minute: int = 0, *, zone: ZoneInfo = SHANGHAI, month: int = 11) -> dt.datetime:
    """A moment of November 2026, whose 23rd is a Monday."""
    return dt.datetime(2026, month, day, hour, minute, tzinfo=zone).astimezone(dt.UTC)


@pytest.mark.parametrize(
    ("now", "on", "opens"),
    [
        (at(23, 7, 59), False, at(23, 8)),
        (at(23, 8), True, at(23, 8)),
        (at(23, 17, 29), True, at(23, 17, 29)),
        (at(23, 17, 30), False, at(24, 8)),
        (at(27, 20), False, at(30, 8)),  # a Friday evening
        (at(28, 12), False, at(30, 8)),
    ],
)
def test_somebody_is_on_duty_or_will_be(now: dt.datetime, on: bool, opens: dt.datetime) -> None:
    assert (WARD.on(now), WARD.opens(now)) == (on, opens)


@pytest.mark.parametrize(
    ("severity", "now", "due"),
    [
        (Severity.SEVERE, at(23, 10), at(23, 10, 15)),
        (Severity.SEVERE, at(23, 17, 20), at(24, 8, 5)),  # ten minutes today, five tomorrow
        (Severity.SEVERE, at(23, 17, 15), at(23, 17, 30)),
        (Severity.SEVERE, at(27, 22), at(30, 8, 15)),
        (Severity.HIGH, at(23, 10), at(23, 14)),
        (Severity.HIGH, at(27, 16), at(30, 10, 30)),
        (Severity.ROUTINE, at(23, 10), at(24, 17, 30)),
        (Severity.ROUTINE, at(27, 10), at(30, 17, 30)),
        (Severity.ROUTINE, at(28, 10), at(30, 17, 30)),
    ],
)
def test_due_times_are_counted_in_service_hours(
    severity: Severity, now: dt.datetime, due: dt.datetime
) -> None:
    assert WARD.due(CARE, severity, now) == due


def test_holidays_are_off_and_make_up_days_are_not() -> None:
    holidays = Duty(
        SHANGHAI,
        WEEK,
        closed=frozenset({dt.date(2026, 11, 24), dt.date(2026, 11, 25)}),
        open=frozenset({dt.date(2026, 11, 28), dt.date(2026, 11, 25)}),
        open_hours=(dt.time(9), dt.time(12)),
    )
    assert holidays.opens(at(23, 18)) == at(26, 8)  # closed wins
    assert holidays.due(CARE, Severity.SEVERE, at(27, 17, 25)) == at(28, 9, 10)
    assert holidays.due(CARE, Severity.ROUTINE, at(27, 10)) == at(28, 12)
    assert Duty(SHANGHAI, WEEK).due(Care(routine_working_days=3), Severity.ROUTINE, at(23, 10)) == at(
        26, 17, 30
    )


def test_an_hour_that_a_zone_leaves_out_is_not_worked() -> None:
    night = Duty(BERLIN, ((dt.time(1), dt.time(5)),) * 7)
    # 29 March 2026: 02:00 becomes 03:00. Of four hours by the clock three are served.
    assert night.due(CARE, Severity.HIGH, at(29, 1, zone=BERLIN, month=3)) == at(30, 2, zone=BERLIN, month=3)


def test_without_hours_somebody_always_is_on_duty() -> None:
    sunday = at(29, 3)
    assert (ALWAYS.on(sunday), ALWAYS.opens(sunday)) == (True, sunday)
    spans = [ALWAYS.due(CARE, severity, sunday) - sunday for severity in Severity]
    assert spans == [dt.timedelta(minutes=15), dt.timedelta(hours=4), dt.timedelta(days=1)]
    assert ALWAYS.quiet_until(sunday, SHANGHAI) is None


def test_a_calendar_in_which_nobody_works_promises_plain_times() -> None:
    nobody = Duty(SHANGHAI, (None,) * 7)
    now = at(23, 10)
    assert nobody.opens(now) == now
    assert nobody.due(CARE, Severity.SEVERE, now) == now + dt.timedelta(minutes=15)
    assert nobody.due(CARE, Severity.ROUTINE, now) == now + dt.timedelta(days=1)


@pytest.mark.parametrize(
    ("quiet", "now", "until"),
    [
        ((dt.time(22), dt.time(7)), at(23, 21, 59), None),
        ((dt.time(22), dt.time(7)), at(23, 22), at(24, 7)),
        ((dt.time(22), dt.time(7)), at(24, 3), at(24, 7)),
        ((dt.time(22), dt.time(7)), at(24, 7), None),
        ((dt.time(12), dt.time(14)), at(24, 13), at(24, 14)),
        ((dt.time(12), dt.time(14)), at(24, 11), None),
    ],
)
def test_quiet_hours_are_of_where_people_live(
    quiet: tuple[dt.time, dt.time], now: dt.datetime, until: dt.datetime | None
) -> None:
    assert Duty(quiet=quiet).quiet_until(now, SHANGHAI) == until
    berlin = Duty(quiet=quiet).quiet_until(dt.datetime(2026, 11, 24, 3, tzinfo=BERLIN), BERLIN)
    assert (berlin is None) is (quiet[0] < quiet[1])
