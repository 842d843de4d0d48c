"""Whose readings are: people enrolled late, readings that become nobody's, homes that speak of others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_bridge.connectors.base import ReadingOrder, WithdrawnReading
from tests.doubles.bridge_desk import BridgeDesk, assigned, care, redated, told
from tests.doubles.bridge_home import GATEWAY, SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure
from wire_format.errors import Rejected


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    made = BridgeDesk(tmp_path)
    yield made
    made.close()


def live(desk: BridgeDesk) -> list[str]:
    return [alert.finding.subject for alert in desk.store.alerts.open_alerts()]


def settle(desk: BridgeDesk) -> None:
    """Deliver everything that is due."""
    for claimed in desk.store.deliveries.claim_deliveries(desk.now, 100):
        desk.store.deliveries.mark_delivered(claimed, desk.now)


@pytest.mark.parametrize("meanwhile", ["nothing", "home", "another"])
def test_somebody_who_is_enrolled_later_owns_what_came_before(desk: BridgeDesk, meanwhile: str) -> None:
    home = SealingHome()
    third = blood_pressure("120", minutes=5)
    m, other = blood_pressure("192", "124"), blood_pressure("130", minutes=-60)
    desk.receive(home, home.seal([m, assigned(m, "p-late")]), home.seal([other]))
    assert live(desk) == [f"home:{GATEWAY}"]
    desk.store.registry.enrol_person(GATEWAY, "p-late", "patient-9", care("9"))
    if meanwhile == "home":  # whatever is judged first, nothing is judged as whose it is not
        desk.ingest.judge_again([f"home:{GATEWAY}"])
        assert {row["subject"] for row in desk.table("alert")} == {f"home:{GATEWAY}"}
    desk.receive(home, *([home.seal(told(third, "p-2"))] if meanwhile == "another" else []))
    if meanwhile != "another":
        desk.ingest.judge_again(desk.store.intake.timers_due(desk.now))
        desk.receive(home, home.seal(told(third, "p-2")))
    owners = sorted(str(row["patient"]) for row in desk.table("measurement"))
    assert owners == ["None", "patient-2", "patient-9"]
    assert live(desk) == ["patient-9"]
    assert isinstance(desk.store.deliveries.load_reading_order(m.measurement_id), ReadingOrder)
    assert desk.store.intake.timers_due(desk.now) == []


def test_a_home_that_nobody_enrolled_has_no_people(desk: BridgeDesk) -> None:
    with pytest.raises(Rejected, match="enrol the gateway"):
        desk.store.registry.enrol_person("gw-9", "p-1", "patient-1", care("1"))


def test_a_reading_that_becomes_nobodys_is_taken_back_where_it_was_filed(desk: BridgeDesk) -> None:
    home = SealingHome()
    m = blood_pressure("130")
    desk.receive(home, home.seal(told(m)))
    settle(desk)
    desk.receive(home, home.seal([assigned(m, None, later=60)]))
    (again,) = desk.store.deliveries.claim_deliveries(desk.now, 10)
    assert again.key.subject == m.measurement_id
    assert desk.store.deliveries.load_reading_order(m.measurement_id) == WithdrawnReading(m.measurement_id)


def test_a_withdrawn_alert_names_no_reading_that_is_another_patients(desk: BridgeDesk) -> None:
    home = SealingHome()
    m = blood_pressure("192", "124")
    desk.receive(home, home.seal(told(m)))
    (alert,) = desk.store.alerts.open_alerts()
    for statement in (assigned(m, "p-2", later=60), assigned(m, None, later=120)):
        desk.receive(home, home.seal([statement]))
        order = desk.store.deliveries.load_alert_order(alert.alert_id)
        assert order is not None
        assert order.care.patient.value == "1"
        assert order.readings == ()
        assert order.gateway.gateway == GATEWAY


def test_what_was_filed_otherwise_before_is_filed_as_a_revision(desk: BridgeDesk) -> None:
    home = SealingHome()
    m = blood_pressure("130")
    desk.receive(home, home.seal(told(m)))
    for number, statement in enumerate(
        (redated(m, NOW.replace(hour=6)), assigned(m, "p-2", later=60), assigned(m, "p-1", later=90))
    ):
        desk.receive(home, home.seal([statement]))
        order = desk.store.deliveries.load_reading_order(m.measurement_id)
        assert isinstance(order, ReadingOrder)
        assert order.revision == number + 2


def test_a_reading_that_gets_its_owner_later_is_no_revision(desk: BridgeDesk) -> None:
    home = SealingHome()
    m = blood_pressure("130")
    desk.receive(home, home.seal([m]), home.seal([assigned(m)]))
    order = desk.store.deliveries.load_reading_order(m.measurement_id)
    assert isinstance(order, ReadingOrder)
    assert order.revision == 1


# --- a home speaks of itself alone ---


def test_a_reading_that_names_another_gateway_is_quarantined(desk: BridgeDesk) -> None:
    desk.enrol("gw-2")
    home = SealingHome()
    desk.receive(home, home.seal([blood_pressure("130", gateway="gw-2")]))
    desk.receive(home, home.seal([blood_pressure("131", gateway="gw-nobody")]))
    assert {row["verdict"] for row in desk.table("envelope")} == {"quarantined"}
    assert desk.readings() == []


@pytest.mark.parametrize("first", ["reading", "statement"])
def test_a_home_cannot_say_whose_another_homes_reading_is(desk: BridgeDesk, first: str) -> None:
    desk.enrol("gw-2")
    home, other = SealingHome(), SealingHome("gw-2", outbox=2)
    m = blood_pressure("192", "124")
    mine, theirs = home.seal(told(m, "p-1")), other.seal([assigned(m, "p-2", later=60), redated(m, NOW)])
    if first == "reading":
        desk.receive(home, mine)
        desk.receive(other, theirs)
    else:
        desk.receive(other, theirs)
        desk.receive(home, mine)
    (one,) = desk.readings()
    assert one.patient == "patient-1"
    assert len(one.statements) == 1
    assert len(desk.table("statement")) == 3  # what was said is kept all the same
