"""Whose a reading is, and when it stays nobody's."""

import datetime as dt

from device_drivers.driver import GatewayTime
from edge_agent.assignment import Pairing, assign
from tests.doubles.edge_readings import CUFF, NOON, pressure

NOW = GatewayTime(utc=NOON, uncertainty_ms=5, monotonic_ns=1)
DAY = dt.timedelta(days=1)


def pairing(
    person: str = "home-1/a",
    slot: int | None = None,
    since: dt.datetime = NOON - DAY,
    until: dt.datetime | None = None,
) -> Pairing:
    return Pairing(CUFF.device_id, person, slot, since, until)


def test_the_paired_person_gets_the_reading_with_the_bounds_relied_on() -> None:
    found = assign(pressure(120), [pairing()], "gw-1", NOW)
    assert (found.person, found.author, found.stated_at) == ("home-1/a", "gw-1", NOON)
    assert (found.valid_from, found.valid_until) == (NOON - DAY, None)
    assert found.measurement_id == pressure(120).measurement_id


def test_a_record_older_than_the_pairing_is_nobodys() -> None:
    found = assign(pressure(120, at=NOON - 2 * DAY), [pairing()], "gw-1", NOW)
    assert found.person is None
    assert found.reason == "no pairing covers the time of measurement"
    at_the_moment = pressure(120, at=NOON - DAY)
    assert assign(at_the_moment, [pairing()], "gw-1", NOW).person == "home-1/a"


def test_a_record_after_the_pairing_ended_is_nobodys() -> None:
    ended = pairing(until=NOON - dt.timedelta(hours=1))
    assert assign(pressure(120), [ended], "gw-1", NOW).person is None


def test_slots_tell_people_apart_and_an_unknown_slot_is_not_guessed() -> None:
    two = [pairing("home-1/a", 1), pairing("home-1/b", 2)]
    assert assign(pressure(120, user=1), two, "gw-1", NOW).person == "home-1/a"
    assert assign(pressure(120, user=2), two, "gw-1", NOW).person == "home-1/b"
    for unknown in (None, 3, 255):
        assert assign(pressure(120, user=unknown), two, "gw-1", NOW).person is None


def test_a_device_shared_without_slots_is_not_guessed() -> None:
    shared = [pairing("home-1/a"), pairing("home-1/b")]
    found = assign(pressure(120), shared, "gw-1", NOW)
    assert (found.person, found.reason) == (None, "several people are paired with this device")
    handed_over = [
        pairing("home-1/a", until=NOON - dt.timedelta(hours=1)),
        pairing("home-1/b", since=NOON - dt.timedelta(hours=1)),
    ]
    assert assign(pressure(120), handed_over, "gw-1", NOW).person == "home-1/b"


def test_without_a_time_or_a_pairing_it_is_nobodys() -> None:
    timeless = pressure(120)
    timeless = timeless.model_copy(update={"time": timeless.time.model_copy(update={"measured": None})})
    assert assign(timeless, [pairing()], "gw-1", NOW).person is None
    assert assign(pressure(120), [], "gw-1", NOW).reason == "no person is paired with this device"


def test_the_same_assignment_said_again_is_the_same_statement() -> None:
    first = assign(pressure(120), [pairing()], "gw-1", NOW)
    later = assign(
        pressure(120), [pairing()], "gw-1", GatewayTime(utc=NOON + DAY, uncertainty_ms=5, monotonic_ns=2)
    )
    assert first.statement_id == later.statement_id
    other = assign(pressure(120), [pairing("home-1/b")], "gw-1", NOW)
    assert other.statement_id != first.statement_id
