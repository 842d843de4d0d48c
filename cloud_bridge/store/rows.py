"""Between rows and the model: measurements and statements as payload bytes, alerts as columns."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, or_, select

from cloud_bridge.alerts import RANK, Alert, AlertState, Outcome
from cloud_bridge.connectors.base import CareContext, Identifier
from cloud_bridge.fold import fold
from cloud_bridge.folding import together
from cloud_bridge.rules.base import (
    Finding,
    FirstVisit,
    Membership,
    Queue,
    Reading,
    Setting,
    Settings,
    Severity,
    Standing,
)
from cloud_bridge.store import discharge_schema, schema
from wire_format.codec import Item, decode_items, encode_items
from wire_format.errors import Rejected
from wire_format.measurement import Measurement
from wire_format.statements import Assignment, Redating

_SETTINGS: Final = TypeAdapter(Settings)
_FINDING: Final = TypeAdapter(Finding)


def dump(item: Item) -> bytes:
    """Return one item as it is kept."""
    return encode_items([item])


def load_measurement(body: bytes) -> Measurement:
    """Return a kept measurement."""
    (item,) = decode_items(body)
    if not isinstance(item, Measurement):
        raise Rejected("A row of measurements holds something else: the database was changed from outside.")
    return item


def readings(connection: Connection, rows: Sequence[Row[Any]]) -> list[Reading]:
    """Return the rows of the measurement table as readings, each folded with what its home stated."""
    if not rows:
        return []
    said = _statements(connection, rows)
    known = people(connection, {row.gateway for row in rows})

    def one(row: Row[Any]) -> Reading:
        def patient_of(pseudonym: str) -> str | None:
            return known.get((row.gateway, pseudonym))

        statements = [*said[row.gateway, row.id], *said[row.gateway, row.boot_id]]
        return fold(
            load_measurement(row.body),
            [item for item in statements if isinstance(item, Assignment)],
            [item for item in statements if isinstance(item, Redating)],
            patient_of,
            forked=row.forked,
            repetition_of=row.repetition_of,
        )

    return [one(row) for row in rows]


def _statements(
    connection: Connection, rows: Sequence[Row[Any]]
) -> dict[tuple[str, UUID], list[Assignment | Redating]]:
    """Return statements by the gateway that said them, and the measurement or boot that they speak of.

    A gateway speaks of its own readings alone: nobody says whose a reading of another home is.
    """
    table = schema.statement
    ids, boots = {row.id for row in rows}, {row.boot_id for row in rows}
    about = or_(table.c.measurement.in_(ids), table.c.boot_id.in_(boots))
    found: dict[tuple[str, UUID], list[Assignment | Redating]] = defaultdict(list)
    for row in connection.execute(select(table).where(about)):
        (item,) = decode_items(row.body)
        if isinstance(item, Assignment | Redating):
            found[row.gateway, row.measurement or row.boot_id].append(item)
    return found


def people(connection: Connection, gateways: set[str]) -> dict[tuple[str, str], str]:
    """Return the patients of some homes, by home and pseudonym."""
    table = schema.person
    query = select(table).where(table.c.gateway.in_(gateways))
    return {(row.gateway, row.pseudonym): row.patient for row in connection.execute(query)}


def settings(connection: Connection, subject: str, zone: str) -> Settings:
    """Return what is agreed for a subject; whoever is not a patient has the zone alone."""
    return settings_of(connection, [subject], zone)[subject]


def settings_of(connection: Connection, subjects: Sequence[str], zone: str) -> dict[str, Settings]:
    """Return the same of some subjects."""
    patient, said = schema.patient, schema.setting
    where = select(patient.c.id, patient.c.zone).where(patient.c.id.in_(subjects))
    lives = {row.id: row.zone for row in connection.execute(where)}
    query = select(said).where(said.c.patient.in_(subjects)).order_by(said.c.stated_at, said.c.id)
    own: dict[str, list[Setting]] = defaultdict(list)
    for row in connection.execute(query):
        parts = (row.rule, row.parameter, row.value, row.author, row.reason, row.stated_at)
        own[row.patient].append(Setting(row.id, *parts))
    joined = _memberships(connection, subjects)
    asked = _visits(connection, subjects)
    return {
        one: Settings(tuple(own[one]), joined[one], lives.get(one) or zone, one, tuple(asked[one]))
        for one in subjects
    }


def _visits(connection: Connection, subjects: Sequence[str]) -> dict[str, list[FirstVisit]]:
    """Return the first visits that were asked for, of plans that are not over."""
    table, found = discharge_schema.first_visit, defaultdict[str, list[FirstVisit]](list)
    mine = table.c.patient.in_(subjects) & (table.c.state != "withdrawn")
    for row in connection.execute(select(table).where(mine).order_by(table.c.discharge)):
        done = row.moved_at if row.state == "done" else None
        given_back = row.moved_at if row.state == "given_back" else None
        found[row.patient].append(FirstVisit(row.discharge, row.asked_at, row.due_at, done, given_back))
    return found


def memberships(connection: Connection, subject: str) -> tuple[Membership, ...]:
    """Return the programmes that a patient is in now, in the order in which they decide."""
    return _memberships(connection, [subject])[subject]


def _memberships(connection: Connection, subjects: Sequence[str]) -> dict[str, tuple[Membership, ...]]:
    table = schema.membership
    query = select(table).where(table.c.patient.in_(subjects)).order_by(table.c.stated_at, table.c.id)
    latest = {(row.patient, row.programme): row for row in connection.execute(query)}
    active = sorted((r for r in latest.values() if r.active), key=lambda r: (r.stated_at, r.place))
    found: dict[str, list[Membership]] = defaultdict(list)
    for row in active:
        found[row.patient].append(Membership(row.id, row.programme, row.stated_at))
    return {one: tuple(found[one]) for one in subjects}


def dump_settings(own: Settings) -> str:
    """Return what was agreed as it is kept with a finding."""
    return _SETTINGS.dump_json(own).decode()


def load_settings(text: str) -> Settings:
    """Return what was agreed when something was found."""
    return _SETTINGS.validate_json(text)


def dump_finding(finding: Finding) -> str:
    """Return a finding as it is kept, whole."""
    return _FINDING.dump_json(finding).decode()


def load_finding(text: str) -> Finding:
    """Return a finding as it was."""
    return _FINDING.validate_json(text)


def care_context(row: Row[Any]) -> CareContext:
    """Return a patient's row as connectors see it."""
    return CareContext(
        patient=Identifier(row.system, row.value),
        nurse=Identifier(row.nurse_system, row.nurse_value),
        physician=Identifier(row.physician_system, row.physician_value),
        organization=Identifier(row.organization_system, row.organization_value),
        language=row.language,
        **{name: _who(row, name) for name in NOT_EVERYBODYS},
    )


NOT_EVERYBODYS: Final = ("family_doctor", "family_organization", "pharmacist")


def _who(row: Row[Any], name: str) -> Identifier | None:
    system, value = getattr(row, f"{name}_system"), getattr(row, f"{name}_value")
    return None if system is None else Identifier(system, value)


def care_columns(care: CareContext) -> dict[str, str]:
    """Return the columns of a patient's row. Who is not named is not forgotten: another source may have."""
    named = [(name, getattr(care, name)) for name in NOT_EVERYBODYS]
    return {
        **{
            column: text
            for name, who in named
            if who is not None
            for column, text in ((f"{name}_system", who.system), (f"{name}_value", who.value))
        },
        "system": care.patient.system,
        "value": care.patient.value,
        "nurse_system": care.nurse.system,
        "nurse_value": care.nurse.value,
        "physician_system": care.physician.system,
        "physician_value": care.physician.value,
        "organization_system": care.organization.system,
        "organization_value": care.organization.value,
        "language": care.language,
    }


def alert_columns(alert: Alert) -> dict[str, Any]:
    """Return an alert's columns; its id and its home aside."""
    finding = alert.finding
    return {
        "rule": finding.rule,
        "version": finding.version,
        "programme": finding.programme,
        "queue": finding.queue.value,
        "subject": finding.subject,
        "severity": finding.severity.value,
        "standing": finding.standing.value,
        "evidence": json.dumps([str(i) for i in finding.evidence]),
        "statements": json.dumps([str(i) for i in finding.statements]),
        "reason": json.dumps(dict(finding.reason), ensure_ascii=False, sort_keys=True),
        "since": finding.since,
        "came_true": finding.came_true,
        "state": alert.state.value,
        "revision": alert.revision,
        "raised_at": alert.raised_at,
        "due_at": alert.due_at,
        "acknowledged_at": alert.acknowledged_at,
        "acknowledged_by": alert.acknowledged_by,
        "late": alert.late,
        "escalation": alert.escalation,
        "moved_at": alert.moved_at,
        "moved_by": alert.moved_by,
        "reopened": alert.reopened,
        "outcome": None if alert.outcome is None else alert.outcome.value,
        "folded_into": alert.folded_into,
        "rank": rank(alert),
    }


def rank(alert: Alert) -> int:
    """Return the place of an alert among others by its urgency: 0 is severe."""
    return max(RANK.values()) - RANK[alert.urgency]


def alerts(connection: Connection, found: Sequence[Row[Any]]) -> list[Alert]:
    """Return rows of the alert table, each with what is folded into it."""
    if not found:
        return []
    table = schema.alert
    folded = table.c.state == AlertState.FOLDED.value
    query = select(table).where(folded, table.c.folded_into.in_([row.id for row in found]))
    own = [alert(row) for row in found]
    every = together([*(alert(row) for row in connection.execute(query)), *own])
    return [every[one.alert_id] for one in own]


def alert(row: Row[Any]) -> Alert:
    """Return a row of the alert table, without what is folded into it."""
    finding = Finding(
        finding_id=row.id,
        rule=row.rule,
        version=row.version,
        subject=row.subject,
        severity=Severity(row.severity),
        standing=Standing(row.standing),
        evidence=tuple(map(UUID, json.loads(row.evidence))),
        statements=tuple(map(UUID, json.loads(row.statements))),
        since=row.since,
        reason=tuple(sorted(json.loads(row.reason).items())),
        programme=row.programme,
        queue=Queue(row.queue),
        came_true=row.came_true,
    )
    return Alert(
        alert_id=row.id,
        finding=finding,
        state=AlertState(row.state),
        revision=row.revision,
        raised_at=row.raised_at,
        due_at=row.due_at,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        late=row.late,
        escalation=row.escalation,
        moved_at=row.moved_at,
        moved_by=row.moved_by,
        reopened=row.reopened,
        outcome=None if row.outcome is None else Outcome(row.outcome),
        folded_into=row.folded_into,
    )
