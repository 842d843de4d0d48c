"""Roles that a programme can name: who acts in turn, who is copied, and what where a patient has nobody."""

import datetime as dt
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from cloud_bridge.alerts import Episode
from cloud_bridge.connectors.base import Copy, Identifier
from cloud_bridge.connectors.fhir_map import alert_bundle
from cloud_bridge.connectors.webhook_map import message_events
from cloud_bridge.duty import ALWAYS
from cloud_bridge.orders import alert_order as order_of
from cloud_bridge.rules.base import Severity
from cloud_bridge.rules.care import Care, CareRole
from cloud_bridge.rules.programme import parse_programme, programme
from tests.doubles.bridge_orders import BASE, CARE, alert_order
from wire_format.errors import Misconfigured

DOCTOR = Identifier(f"{BASE}/staff", "doctor-7")
PHARMACIST = Identifier(f"{BASE}/staff", "pharmacist-3")


def parsed(care: str) -> Care:
    body = programme("hypertension").body
    before, _, rest = body.partition('roles = ["nurse", "physician"]')
    return parse_programme(f"{before}{care}{rest}").care


def test_a_programme_names_family_doctor_and_pharmacist() -> None:
    care = parsed('roles = ["nurse", "family_doctor", "organization"]\ncopied = ["physician", "pharmacist"]')
    assert [care.role(n) for n in range(4)] == [
        CareRole.NURSE,
        CareRole.FAMILY_DOCTOR,
        CareRole.ORGANIZATION,
        CareRole.ORGANIZATION,
    ]
    assert care.copied == (CareRole.PHYSICIAN, CareRole.PHARMACIST)
    assert parsed('roles = ["nurse"]').copied == (CareRole.PHYSICIAN,)


@pytest.mark.parametrize(
    ("care", "said"),
    [
        ('roles = ["nurse", "nurse"]', "a role is asked twice"),
        ('copied = ["physician", "physician"]', "a role is copied twice"),
        ('copied = ["barber"]', "barber"),
    ],
)
def test_what_cannot_be_meant_is_refused(care: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        parsed(care)


def test_whoever_a_patient_does_not_have_is_replaced_by_the_ward_and_not_copied() -> None:
    everybody = replace(CARE, family_doctor=DOCTOR, pharmacist=PHARMACIST)
    for role, who in ((CareRole.FAMILY_DOCTOR, DOCTOR), (CareRole.PHARMACIST, PHARMACIST)):
        assert everybody.of(role) == who
        assert CARE.of(role) is None
        assert replace(alert_order(), asked=role, care=everybody).owner == who
        assert replace(alert_order(), asked=role).owner == CARE.organization
    alert = alert_order().alert
    visit = replace(alert, finding=replace(alert.finding, programme="discharge", severity=Severity.HIGH))
    for care, copied in ((everybody, [DOCTOR]), (CARE, [])):
        made = order_of(visit, (), care, None, "en", ALWAYS, ALWAYS.zone)
        assert [one.to for one in made.copies] == copied
        assert made.physician_text is not None


@pytest.mark.parametrize("led", [False, True])
def test_what_came_late_reaches_nobodys_phone(led: bool) -> None:
    """A work order and no message, of an item that came late and of a late episode that leads one."""
    everybody = replace(CARE, family_doctor=DOCTOR)
    alert = alert_order().alert
    alert = replace(alert, finding=replace(alert.finding, programme="discharge", severity=Severity.ROUTINE))
    if led:
        newer = replace(
            alert.finding, finding_id=UUID(int=7), since=alert.finding.since + dt.timedelta(days=1)
        )
        alert = replace(alert, folds=(Episode(newer, alert.raised_at, late=True),))
        assert alert.lead is newer
    else:
        alert = replace(alert, late=True)
    made = order_of(alert, (), everybody, None, "en", ALWAYS, ALWAYS.zone)
    assert (made.patient_text, made.physician_text, made.copies) == (None, None, ())
    assert made.work is not None
    assert message_events(made) == []
    assert resources(alert_bundle(made, [], test_data=False), "CommunicationRequest") == []


def resources(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == kind]


def test_each_role_is_told_once_by_each_follow_up_system() -> None:
    copies = (Copy(CareRole.FAMILY_DOCTOR, DOCTOR, "seen"), Copy(CareRole.PHARMACIST, PHARMACIST, "check"))
    order = replace(alert_order(), copies=copies)
    sent = resources(alert_bundle(order, [], test_data=False), "CommunicationRequest")
    told = {one["recipient"][0]["reference"]: one["payload"][0]["contentString"] for one in sent}
    assert told[f"Practitioner?identifier={BASE}/staff|doctor-7"] == "seen"
    assert told[f"Practitioner?identifier={BASE}/staff|pharmacist-3"] == "check"
    assert len(sent) == 4
    # What the server has is not sent again.
    known = [one | {"id": str(n), "meta": {"versionId": "1"}} for n, one in enumerate(sent)]
    assert resources(alert_bundle(order, known, test_data=False), "CommunicationRequest") == []
    events = {one.body["role"]: one for one in message_events(order)}
    assert set(events) == {"physician", "family_doctor", "pharmacist", "patient"}
    assert len({one.event_id for one in events.values()}) == 4
    assert events["pharmacist"].body["to"]["value"] == "pharmacist-3"


def test_a_role_that_is_asked_owns_the_task() -> None:
    care = replace(CARE, family_doctor=DOCTOR, pharmacist=PHARMACIST)
    for role, code in ((CareRole.FAMILY_DOCTOR, "62247001"), (CareRole.PHARMACIST, "46255001")):
        order = replace(alert_order(), asked=role, care=care)
        (task,) = resources(alert_bundle(order, [], test_data=False), "Task")
        assert task["performerType"][0]["coding"][0]["code"] == code
        assert task["owner"]["reference"].endswith(order.owner.value)
