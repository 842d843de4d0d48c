"""Orders as HL7 v2.6 messages: readings as ORU^R01 (IHE PCD-01), alerts as ORU^R40 (IHE PCD-04). Pure.

Measured terms are IEEE 11073 codes, units UCUM, in the device's own unit and digits. The control id of a
message follows from what it says, so that sending again is seen to be the same message; the filler order
number is the reading's (or the alert's) own id, so that a receiver finds what it has of it.
Conformance was checked by structure only: no validator of IHE's was at hand.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cloud_bridge.alerts import Alert, AlertState
from cloud_bridge.connectors.base import AlertOrder, CareContext, Gateway, ReadingOrder
from cloud_bridge.connectors.fhir_codes import SPECIMEN_CODES, specialization
from cloud_bridge.connectors.fhir_observations import is_patient_data
from cloud_bridge.connectors.hl7_segments import DELIMITERS, composed, escaped, segment, timestamp
from cloud_bridge.rules.base import Severity
from wire_format.identity import derived_id
from wire_format.measurement import Absent, Component, GlucoseContext, Measurement
from wire_format.nomenclature import NOMENCLATURE, PANEL_BLOOD_PRESSURE, Quantity, Term

VERSION: Final = "2.6"
MESSAGE_TYPE: Final = {"PCD-01": "ORU^R01^ORU_R01", "PCD-04": "ORU^R40^ORU_R40"}
PROFILE: Final = {
    "PCD-01": "IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO",
    "PCD-04": "IHE_PCD_ACM_001^IHE PCD^1.3.6.1.4.1.19376.1.6.4.4^ISO",
}
MONITORING: Final = composed("182777000", "monitoring of patient", "SCT")
CONTROL_ID_LENGTH: Final = 20
"""HL7 v2.6, MSH-10."""

_PANEL: Final = (Term.SYSTOLIC, Term.DIASTOLIC, Term.MEAN_ARTERIAL)
_PRIORITIES: Final = {Severity.SEVERE: "PH", Severity.HIGH: "PM", Severity.ROUTINE: "PL"}
_OUT_OF_RANGE: Final = {Absent.ABOVE_RANGE: ">", Absent.BELOW_RANGE: "<"}
"""HL7 table 0078: off the instrument's scale."""

# IEEE 11073-10101, the attributes of an alert as PCD-04 nests them under facets 1 to 7.
_ALARM: Final = composed("196616", "MDC_EVT_ALARM", "MDC")
_SOURCE: Final = composed("68480", "MDC_ATTR_ALERT_SOURCE", "MDC")
_PHASE: Final = composed("68481", "MDC_ATTR_EVENT_PHASE", "MDC")
_STATE: Final = composed("68482", "MDC_ATTR_ALARM_STATE", "MDC")
_INACTIVATION: Final = composed("68483", "MDC_ATTR_ALARM_INACTIVATION_STATE", "MDC")
_PRIORITY: Final = composed("68484", "MDC_ATTR_ALARM_PRIORITY", "MDC")
_TYPE: Final = composed("68485", "MDC_ATTR_ALERT_TYPE", "MDC")


@dataclass(frozen=True, slots=True)
class Routing:
    """What MSH says of both ends; `processing` is P, or T for test data."""

    application: str
    facility: str
    processing: str = "P"


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its control id (MSH-10), and its text without the framing of a transport."""

    control_id: str
    text: str


def reading_messages(order: ReadingOrder, routing: Routing, now: dt.datetime) -> list[Message]:
    """Return what files one reading: nothing if it is no patient's; before a revision the old is taken back.

    A receiver is never left with one reading under two people: what was filed before is deleted first.
    """
    m = order.reading.measurement
    if not is_patient_data(m):
        return []
    messages = []
    if order.revision > 1:
        messages.append(withdrawal(m.measurement_id, order.revision, routing, now))
    body = [
        _patient(order.care),
        _order(m.measurement_id, order.gateway, _moment(order)),
        *_observations(order, corrected=order.revision > 1),
    ]
    key = ("reading", m.measurement_id, order.revision, order.care.patient.value)
    return [*messages, _message("PCD-01", key, routing, order.gateway, now, body)]


def withdrawal(reading: UUID, revision: int, routing: Routing, now: dt.datetime) -> Message:
    """Return what takes a reading back, by its filler order number alone: whose it was is not said."""
    body = [
        segment("PID", {5: "^^^^^^U"}),
        segment(
            "OBR", {1: "1", 2: composed(str(reading)), 3: composed(str(reading)), 4: MONITORING, 25: "X"}
        ),
        segment("OBX", {1: "1", 3: MONITORING, 4: "1.0.0.0", 11: "D"}),
    ]
    return _message("PCD-01", ("withdrawal", reading, revision), routing, None, now, body)


def alert_message(order: AlertOrder, routing: Routing, now: dt.datetime) -> Message:
    """Return one state of an alert."""
    alert = order.alert
    phase, state, inactivation = _facets(alert)
    priority = _PRIORITIES[alert.urgency]  # what came late is grave, and pages nobody
    said = order.reason if order.work is None else f"{order.reason}. {order.work}"
    values = [
        (_ALARM, escaped(said), f"A~{priority}~SP"),
        (_SOURCE, escaped(alert.told.rule), ""),
        (_PHASE, phase, ""),
        (_STATE, state, ""),
        (_INACTIVATION, inactivation, ""),
        (_PRIORITY, priority, ""),
        (_TYPE, "SP", ""),
    ]
    raised = timestamp(alert.raised_at)
    facets = [
        segment(
            "OBX", {1: str(n), 2: "ST", 3: what, 4: f"1.0.0.0.{n}", 5: value, 8: flags, 11: "R", 14: raised}
        )
        for n, (what, value, flags) in enumerate(values, start=1)
    ]
    ours = _ours(alert.alert_id, order.gateway)
    obr = {1: "1", 2: ours, 3: ours, 4: _ALARM, 7: raised, 29: composed(str(alert.alert_id))}
    body = [_patient(order.care), segment("OBR", obr), *facets]
    key = ("alert", alert.alert_id, alert.revision, order.care.patient.value)
    return _message("PCD-04", key, routing, order.gateway, now, body)


def _facets(alert: Alert) -> tuple[str, str, str]:
    """Return event phase, alarm state and inactivation state."""
    match alert.state:
        case AlertState.OPEN if alert.escalation:
            return "escalate", "active", "enabled"
        case AlertState.OPEN:
            return ("start" if alert.revision == 1 else "update", "active", "enabled")
        case AlertState.ACKNOWLEDGED | AlertState.IN_PROGRESS:
            return "update", "active", "alert-acknowledged"
        case _:
            return "end", "inactive", "enabled"


def _message(  # noqa: PLR0913, PLR0917 - a message has its parts
    kind: str,
    key: tuple[object, ...],
    routing: Routing,
    gateway: Gateway | None,
    now: dt.datetime,
    body: list[str],
) -> Message:
    control_id = derived_id("hl7", kind, *map(str, key)).hex[:CONTROL_ID_LENGTH]
    sender = composed("KITELINE", gateway.system_id.upper(), "EUI-64") if gateway else composed("KITELINE")
    header = segment(
        "MSH",
        {
            2: DELIMITERS,
            3: sender,
            5: composed(routing.application),
            6: composed(routing.facility),
            7: timestamp(now),
            9: MESSAGE_TYPE[kind],
            10: control_id,
            11: routing.processing,
            12: VERSION,
            15: "NE",
            16: "AL",
            18: "UNICODE UTF-8",
            21: PROFILE[kind],
        },
    )
    return Message(control_id, header + "".join(body))


def _patient(care: CareContext) -> str:
    """Return who the patient is to the hospital; the name is the hospital's to know (name type U)."""
    assigner = "&".join(("", escaped(care.patient.system), "URI"))
    return segment("PID", {3: f"{escaped(care.patient.value)}^^^{assigner}^PI", 5: "^^^^^^U"})


def _ours(what: UUID, gateway: Gateway | None) -> str:
    if gateway is None:
        return composed(str(what), "KITELINE")
    return composed(str(what), "KITELINE", gateway.system_id.upper(), "EUI-64")


def _order(reading: UUID, gateway: Gateway, moment: str) -> str:
    ours = _ours(reading, gateway)
    return segment("OBR", {1: "1", 2: ours, 3: ours, 4: MONITORING, 7: moment})


def _moment(order: ReadingOrder) -> str:
    """Return when it was measured; empty where nobody knows."""
    return "" if order.reading.measured is None else timestamp(order.reading.measured.utc)


def _observations(order: ReadingOrder, *, corrected: bool) -> list[str]:
    m = order.reading.measurement
    device = _device(m)
    code, name = specialization(m.quantity)
    lines = [{3: composed(str(code), name, "MDC"), 4: "1.0.0.0", 11: "X", 18: device}]
    rest = list(m.components)
    metric = 0
    if m.quantity is Quantity.BLOOD_PRESSURE:
        metric, parts = 1, [c for c in rest if c.term in _PANEL]
        rest = [c for c in rest if c.term not in _PANEL]
        mdc, panel, _ = PANEL_BLOOD_PRESSURE
        lines.append({3: composed(str(mdc), panel, "MDC"), 4: "1.0.0.1", 11: "X"})
        lines += [_value(c, m, f"1.0.0.1.{n}", corrected=corrected) for n, c in enumerate(parts, start=1)]
    lines += [_value(c, m, f"1.0.0.{n}", corrected=corrected) for n, c in enumerate(rest, start=metric + 1)]
    moment = {14: _moment(order)} if order.reading.measured is not None else {}
    return [
        segment("OBX", {1: str(n), **line, **(moment if n > 1 else {})})
        for n, line in enumerate(lines, start=1)
    ]


def _value(part: Component, m: Measurement, place: str, *, corrected: bool) -> dict[int, str]:
    """Return the fields of one value; without one, why (HL7 table 0078), and status X: no result."""
    line = {2: "NM", 3: _code(part, m), 4: place, 6: composed(part.unit.value, part.unit.value, "UCUM")}
    if part.value is not None:
        return {**line, 5: f"{part.value:f}", 11: "C" if corrected else "R"}
    reason = _OUT_OF_RANGE.get(part.absent) if part.absent is not None else None
    return {**line, 8: reason or "", 11: "X"}


def _code(part: Component, m: Measurement) -> str:
    """Return the term's code: IEEE 11073 where one is known, else LOINC, else our own word for it."""
    if part.term is Term.GLUCOSE and isinstance(m.context, GlucoseContext):
        found = SPECIMEN_CODES.get(m.context.specimen) if m.context.specimen is not None else None
        if found is not None:
            return composed(str(found[0]), found[1], "MDC")
    row = NOMENCLATURE[part.term]
    if row.mdc is not None and row.mdc_name is not None:
        return composed(str(row.mdc), row.mdc_name, "MDC")
    if row.loinc:
        return composed(row.loinc[0], part.term.value, "LN")
    return composed(part.term.value, part.term.value, "L")


def _device(m: Measurement) -> str:
    device = m.device
    if device.system_id is not None:
        return composed(device.system_id.upper(), "", device.system_id.upper(), "EUI-64")
    return composed(str(device.device_id), "", f"urn:uuid:{device.device_id}", "URN")
