"""Orders for connectors: whole readings and alerts of one invented patient."""

import datetime as dt
from dataclasses import replace
from typing import Any
from uuid import UUID

from cloud_bridge.alerts import Alert, AlertState
from cloud_bridge.connectors.base import (
    AlertOrder,
    CareContext,
    Gateway,
    Identifier,
    ReadingOrder,
    ReminderOrder,
    VisitOrder,
)
from cloud_bridge.rules.base import Finding, Reading, Severity, Standing
from tests.doubles.bridge_readings import NOW, reading
from wire_format.measurement import Measurement

BASE = "https://hospital.example/id"
CARE = CareContext(
    Identifier(f"{BASE}/patient", "42"),
    Identifier(f"{BASE}/staff", "nurse-1"),
    Identifier(f"{BASE}/staff", "physician-1"),
    Identifier(f"{BASE}/organization", "ward-1"),
    "zh-Hans",
)
GATEWAY = Gateway("gw-1", "dca632fffe010203", "0.1.0")


def order(folded: Reading, **changes: Any) -> ReadingOrder:
    return replace(ReadingOrder(folded, CARE, GATEWAY, b"\x01" * 32), **changes)


def folded(m: Measurement) -> Reading:
    return Reading(m, "patient-1", m.time.measured)


def alert_order(**changes: Any) -> AlertOrder:
    evidence = (order(reading("192", "124")), order(reading("188", "122", minutes=3)))
    finding = Finding(
        UUID(int=77),
        "BP-SEVERE",
        "1",
        "patient-1",
        Severity.SEVERE,
        changes.pop("standing", Standing.CONFIRMED),
        tuple(o.reading.id for o in evidence),
        (),
        NOW,
    )
    alert = Alert(UUID(int=77), finding, AlertState.OPEN, 1, NOW, NOW + dt.timedelta(minutes=15))
    alert = replace(alert, **changes)
    return AlertOrder(alert, evidence, CARE, GATEWAY, "Severe", "Call now.", "For you: Severe", "请坐下休息")


def visit_order(**changes: Any) -> VisitOrder:
    care = replace(CARE, family_doctor=Identifier(f"{BASE}/staff", "doctor-7"))
    due = NOW + dt.timedelta(hours=72)
    made = VisitOrder(UUID(int=78), care, NOW, due, "First visit", ("Amlodipine: 1 tablet",), ("Potassium",))
    return replace(made, **changes)


def reminder_order() -> ReminderOrder:
    return ReminderOrder(UUID(int=79), CARE, NOW, NOW + dt.timedelta(hours=1), "Amlodipine")
