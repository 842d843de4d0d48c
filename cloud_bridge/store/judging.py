"""What judging asks of the store and writes to it, within the transaction of whoever judges."""

import datetime as dt
import json
from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, func, select, update

from cloud_bridge.alerts import LIVE, Alert, AlertState
from cloud_bridge.duty import ALWAYS, Duty
from cloud_bridge.judge import Basis
from cloud_bridge.rules.base import GATEWAY, HOME, Queue, Reading, Settings, subject_of
from cloud_bridge.rules.programme import installed
from cloud_bridge.rules.technical import Sign, SignKind, sign_of_clock, sign_of_event
from cloud_bridge.store import rows, schema
from wire_format.codec import ITEM_TYPES, decode_items
from wire_format.identity import derived_id
from wire_format.statements import DeviceEvent

AT_ONCE: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
DUE: Final = "due:"
LAST_RANK: Final = 3
"""Readings are delivered after alerts of any urgency."""
NO_HOME: Final = ""
"""In place of a gateway, of a patient who went home before their gateway did."""
_DEVICE_EVENT: Final = next(name for name, model in ITEM_TYPES.items() if model is DeviceEvent)


class Judging:
    """See `cloud_bridge.judge.JudgingTransaction`. `zone` is where patients live if nothing else was said."""

    def __init__(
        self, connection: Connection, destinations: Sequence[str], zone: str = "UTC", duty: Duty = ALWAYS
    ) -> None:
        self._db = connection
        self._destinations = destinations
        self._zone = zone
        self._duty = duty

    @property
    def duty(self) -> Duty:
        """When somebody is on duty here."""
        return self._duty

    def readings_of(self, subject: str, since: dt.datetime) -> list[Reading]:
        """Return a subject's readings since a moment, and those whose time nobody knows."""
        table = schema.measurement
        query = select(table).where(_whose(subject), _moment() >= since)
        found = rows.readings(self._db, self._db.execute(query).all())
        # Between a person's enrolment and the next look at their home the columns lag behind the fold.
        return [one for one in found if subject_of(one) == subject]

    def last_before(self, subject: str, since: dt.datetime) -> list[Reading]:
        """Return a patient's newest reading of each quantity before a moment."""
        table = schema.measurement
        earlier = and_(_whose(subject), _moment() < since)
        newest = select(table.c.quantity, func.max(_moment()).label("at")).where(earlier)
        last = newest.group_by(table.c.quantity).subquery()
        same = and_(table.c.quantity == last.c.quantity, _moment() == last.c.at)
        found = self._db.execute(select(table).join(last, same).where(earlier)).all()
        return [one for one in rows.readings(self._db, found) if subject_of(one) == subject]

    def signs_of(self, gateway: str, since: dt.datetime) -> list[Sign]:
        """Return the signs from a home's equipment, and the last one before `since` that it was heard."""
        table = schema.item
        query = select(table.c.body).where(table.c.gateway == gateway, table.c.kind == _DEVICE_EVENT)
        events = [item for body in self._db.execute(query).scalars() for item in decode_items(body)]
        said = [sign_of_event(event) for event in events if isinstance(event, DeviceEvent)]
        measured = schema.measurement
        recent = and_(measured.c.gateway == gateway, measured.c.received_at >= since)
        bodies = self._db.execute(select(measured.c.body).where(recent)).scalars()
        clocks = [sign_of_clock(rows.load_measurement(body)) for body in bodies]
        return [s for s in (*said, *clocks) if s is not None and s.when >= since] + self._heard(
            gateway, since
        )

    def _heard(self, gateway: str, since: dt.datetime) -> list[Sign]:
        table = schema.envelope
        mine = table.c.gateway == gateway
        before = select(func.max(table.c.received_at)).where(mine, table.c.received_at < since)
        last = self._db.execute(before).scalar_one_or_none()
        query = select(table.c.received_at).where(mine, table.c.received_at >= (last or since)).distinct()
        return [
            Sign(derived_id("heard", gateway, at), SignKind.HEARD, at)
            for at in self._db.execute(query).scalars()
        ]

    def watches(self, gateway: str) -> bool:
        """Whether something is open with a home's equipment that a new sign may end."""
        table = schema.alert
        is_open = table.c.state.in_([state.value for state in LIVE])
        query = select(table.c.id).where(table.c.subject == f"{GATEWAY}{gateway}", is_open).limit(1)
        return self._db.execute(query).first() is not None

    def earliest(self, readings: Collection[UUID], subject: str) -> dt.datetime | None:
        """Return when the first of some readings was, of those that are the subject's; None if none is."""
        if not readings:
            return None
        table = schema.measurement
        query = select(table).where(table.c.id.in_(readings))
        found = rows.readings(self._db, self._db.execute(query).all())
        times = [
            one.measured.utc if one.measured is not None else one.measurement.time.received_at
            for one in found
            if subject_of(one) == subject
        ]
        return min(times, default=None)

    def settings_of(self, subject: str) -> Settings:
        """Return what is agreed for a subject."""
        return rows.settings(self._db, subject, self._zone)

    def alerts_of(self, subject: str) -> list[Alert]:
        """Return every alert there ever was of a subject; nobody else moves them before this ends."""
        query = select(schema.alert).where(schema.alert.c.subject == subject).with_for_update()
        return [rows.alert(row) for row in self._db.execute(query)]

    def save_alert(self, alert: Alert, what: str, now: dt.datetime, basis: Basis | None = None) -> None:
        """Write an alert's new revision, its history, what it stood on, and the deliveries it wants."""
        values = rows.alert_columns(alert)
        table = schema.alert
        if alert.revision == 1:
            gateway = self._gateway_of(alert)
            self._db.execute(table.insert().values(id=alert.alert_id, gateway=gateway, **values))
        else:
            self._db.execute(update(table).where(table.c.id == alert.alert_id).values(**values))
        self._db.execute(schema.alert_history.insert().values(alert=alert.alert_id, at=now, what=what))
        watch(self._db, alert)
        if basis is not None:
            self._keep(alert, basis, now)
        if delivered(alert):
            self.want("alert", alert.alert_id, now, rows.rank(alert))

    def _keep(self, alert: Alert, basis: Basis, now: dt.datetime) -> None:
        sets = schema.rule_set
        if self._db.execute(select(sets.c.digest).where(sets.c.digest == basis.rule_set)).first() is None:
            known = installed(basis.rule_set)
            row = {"programme": known.name, "version": known.version, "body": known.body}
            self._db.execute(sets.insert().values(digest=basis.rule_set, **row))
        self._db.execute(
            schema.judgement.insert().values(
                alert=alert.alert_id,
                revision=alert.revision,
                judged_at=now,
                rule_set=basis.rule_set,
                settings=rows.dump_settings(basis.settings),
                contents=json.dumps([[str(i), digest.hex()] for i, digest in basis.contents]),
                finding=rows.dump_finding(alert.finding),
            )
        )

    def _gateway_of(self, alert: Alert) -> str:
        """Return the home that a finding came from; of one without readings, one of the patient, if any."""
        subject, evidence = alert.finding.subject, alert.finding.evidence
        if subject.startswith(GATEWAY):
            return subject.removeprefix(GATEWAY)
        if evidence:
            query = select(schema.measurement.c.gateway).where(schema.measurement.c.id == evidence[0])
        else:
            person = schema.person
            query = select(person.c.gateway).where(person.c.patient == subject).order_by(person.c.gateway)
        name: str | None = self._db.execute(query.limit(1)).scalar_one_or_none()
        return name or NO_HOME

    def want(self, kind: str, subject: UUID, now: dt.datetime, rank: int = LAST_RANK) -> None:
        """Want one more revision delivered, to every destination."""
        want_delivery(self._db, kind, subject, self._destinations, now, rank)

    def set_timer(self, subject: str, due_at: dt.datetime | None) -> None:
        """Judge a subject again at a moment; None: no need to."""
        set_timer(self._db, subject, due_at)


def set_timer(connection: Connection, subject: str, due_at: dt.datetime | None) -> None:
    """Have a subject judged at a moment; None: not by time alone."""
    table = schema.timer
    connection.execute(table.delete().where(table.c.subject == subject))
    if due_at is not None:
        connection.execute(table.insert().values(subject=subject, due_at=due_at))


def due_key(alert: UUID) -> str:
    """Return what the timer of an alert is called: it runs until somebody saw it."""
    return f"{DUE}{alert.hex}"


def watch(connection: Connection, alert: Alert, *, ran_out: bool = False) -> None:
    """Have an alert looked at when it is due, while it waits; `ran_out`: nobody is left to ask."""
    waits = alert.waits_for_somebody and not ran_out
    set_timer(connection, due_key(alert.alert_id), alert.due_at if waits else None)


def delivered(alert: Alert) -> bool:
    """Whether an alert is for the hospital's system: an item about a patient, and not about equipment."""
    finding = alert.finding
    mine = not finding.subject.startswith((HOME, GATEWAY)) and finding.queue is not Queue.INSTALLER
    return mine and alert.state is not AlertState.FOLDED


def _whose(subject: str) -> ColumnElement[bool]:
    table = schema.measurement
    if subject.startswith(HOME):
        return and_(table.c.gateway == subject.removeprefix(HOME), table.c.patient.is_(None))
    return table.c.patient == subject


def _moment() -> ColumnElement[dt.datetime]:
    table = schema.measurement
    return func.coalesce(table.c.measured_at, table.c.received_at)


def want_delivery(  # noqa: PLR0913, PLR0917 - what a row of the outbox says
    connection: Connection,
    kind: str,
    subject: UUID,
    destinations: Sequence[str],
    now: dt.datetime,
    rank: int = LAST_RANK,
) -> None:
    """Add or renew a delivery row for each destination: one more revision is wanted, at once.

    What has a lower `rank` goes first.
    """
    table = schema.delivery
    for destination in destinations:
        key = {"kind": kind, "subject": subject, "destination": destination}
        known = and_(*(table.c[name] == value for name, value in key.items()))
        again = {"wanted": table.c.wanted + 1, "attempts": 0, "next_attempt_at": now, "dead": False}
        again |= {"held_at": None, "rank": rank}  # it may be another patient's now
        changed = connection.execute(update(table).where(known).values(**again))
        if changed.rowcount == 0:
            connection.execute(
                table.insert().values(
                    **key, wanted=1, delivered=0, next_attempt_at=now, created_at=now, rank=rank
                )
            )
