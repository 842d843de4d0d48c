"""The delivery outbox in SQL: rows claimed by conditional update, done when the receiver said 2xx."""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, not_, or_, select, true, update

from cloud_bridge.alerts import AlertState
from cloud_bridge.connectors.base import (
    AlertOrder,
    CareContext,
    Gateway,
    Order,
    ReadingOrder,
    WithdrawnReading,
)
from cloud_bridge.duty import ALWAYS, Duty
from cloud_bridge.orders import alert_order
from cloud_bridge.store import consent_holds, rows, schema
from cloud_bridge.store.base import (
    Among,
    ClaimedDelivery,
    Consented,
    ConsentGoneError,
    DeliveryKey,
    HeldDeliveries,
)
from cloud_bridge.store.consent_holds import Missing
from cloud_bridge.store.engine import reading
from cloud_bridge.store.first_visits import VISIT, visit_order
from cloud_bridge.store.reminders import REMINDER, reminder_order
from cloud_bridge.store.silences import Silences
from wire_format.errors import Rejected

CLAIM_LASTS: Final = dt.timedelta(minutes=2)
ERROR_LENGTH: Final = 500
MAX_FILED: Final = 60
"""A fortnight of a sensor is thousands of readings: they are filed, but not all named by one work order."""
IN_A_ROW: Final = 4
UNKNOWN_SOFTWARE: Final = "unknown"


class SqlDeliveries:
    """See `Deliveries`. A claim that its worker does not live to fulfil runs out by itself."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a hospital says of its deliveries
        self,
        engine: Engine,
        staff_language: str,
        claim_lasts: dt.timedelta = CLAIM_LASTS,
        zone: str = "UTC",
        duty: Duty = ALWAYS,
        consent_needed: Mapping[str, str] = MappingProxyType({}),
        silences: Silences | None = None,
    ) -> None:
        self._engine = engine
        self._staff_language = staff_language
        self._claim_lasts = claim_lasts
        self._needed = consent_needed
        self._zone = zone
        self._duty = duty
        self._silences = silences or Silences(zone)

    def claim_deliveries(
        self, now: dt.datetime, limit: int, among: Among | None = None
    ) -> list[ClaimedDelivery]:
        """Claim rows that are due, in one transaction.

        1. Take what is due; alerts by their urgency before readings, then the oldest first.
        2. Hold back what needs a consent that it has not, on record. What was held for as long as anything is
           becomes a dead letter.
        3. Claim the rest, each by a conditional update; a few only where a consent is needed, as they go one
           after the other.
        4. If nothing was claimed because all was held back, go on with the next rows.
        """
        table = schema.delivery
        due = and_(_due(now), _among(among))
        query = select(table).where(due).order_by(table.c.rank, table.c.created_at).limit(limit)
        with self._engine.begin() as connection:
            while found := connection.execute(query).all():
                held: list[Missing] = []
                claimed = self._claim_all(connection, found, now, held)
                consent_holds.note_held(connection, held, now)
                if claimed or not held:
                    return claimed
        return []

    def _claim_all(
        self, connection: Connection, found: Sequence[Row[Any]], now: dt.datetime, held: list[Missing]
    ) -> list[ClaimedDelivery]:
        claimed: list[ClaimedDelivery] = []
        taken: Counter[str] = Counter()
        for row in found:
            if row.destination in self._needed and taken[row.destination] >= IN_A_ROW:
                continue
            if (one := self._claim(connection, row, now, held)) is not None:
                claimed.append(one)
                taken[row.destination] += 1
        return claimed

    def _claim(
        self, connection: Connection, row: Row[Any], now: dt.datetime, held: list[Missing]
    ) -> ClaimedDelivery | None:
        values: dict[str, Any] = {"claimed_until": now + self._claim_lasts, "held_at": None}
        key, consent = DeliveryKey(row.kind, row.subject, row.destination), None
        if (to := self._needed.get(row.destination)) is not None:
            patient, without = consent_holds.missing(connection, row, to, now)
            takes_back = row.about is not None and row.about != patient
            if without is not None and not takes_back:
                if self._hold(connection, row, without, now):
                    held.append(without)
                return None
            consent = Consented(to, patient, takes_back=takes_back and without is not None)
            values["about"] = row.about if consent.takes_back else patient
        mine = and_(_is(row), _due(now))
        if connection.execute(update(schema.delivery).where(mine).values(**values)).rowcount != 1:
            return None
        return ClaimedDelivery(key, row.wanted, row.attempts, row.created_at, consent)

    @staticmethod
    def _hold(connection: Connection, row: Row[Any], without: Missing, now: dt.datetime) -> bool:
        """Hold a row back; or give it up, if it was held for as long as anything is."""
        values = consent_holds.hold(without, now)
        if row.held_at is not None:
            values = {"dead": True, "last_error": consent_holds.reason(without)}
        mine = and_(_is(row), _due(now))
        return connection.execute(update(schema.delivery).where(mine).values(**values)).rowcount == 1

    def mark_delivered(self, claimed: ClaimedDelivery, now: dt.datetime) -> None:
        """Record the receiver's 2xx for this revision. What was taken back is still wanted, and now held."""
        del now
        values: dict[str, Any] = {"last_error": None, "attempts": 0}
        took_back = claimed.consent is not None and claimed.consent.takes_back
        values |= {"about": None} if took_back else {"delivered": claimed.wanted}
        self._change(claimed, values)

    def let_go(self, claimed: ClaimedDelivery) -> None:
        """End a claim, as if nobody had claimed the row."""
        table = schema.delivery
        with self._engine.begin() as connection:
            connection.execute(update(table).where(_is(claimed.key)).values(claimed_until=None))

    def mark_failed(self, claimed: ClaimedDelivery, error: str, next_attempt_at: dt.datetime | None) -> None:
        """Record a failure: to be tried again then, or, with None, a dead letter."""
        values: dict[str, Any] = {"attempts": claimed.attempts + 1, "dead": next_attempt_at is None}
        if next_attempt_at is not None:
            values["next_attempt_at"] = next_attempt_at
        values["last_error"] = error[:ERROR_LENGTH]
        self._change(claimed, values, schema.delivery.c.wanted == claimed.wanted)

    def _change(
        self, claimed: ClaimedDelivery, values: dict[str, Any], *conditions: ColumnElement[bool]
    ) -> None:
        """End a claim. A newer revision that was wanted meanwhile stays due, whatever became of this.

        A worker whose claim ran out may come after another one that delivered more: then it has no say.
        """
        table = schema.delivery
        last_word = and_(_is(claimed.key), table.c.delivered < claimed.wanted, *conditions)
        with self._engine.begin() as connection:
            connection.execute(update(table).where(_is(claimed.key)).values(claimed_until=None))
            connection.execute(update(table).where(last_word).values(**values))

    def retry_dead(self, key: DeliveryKey, now: dt.datetime) -> None:
        """Let a dead letter be delivered again; raises `Rejected` if there is none."""
        retry_dead(self._engine, key, now)

    def waiting(self) -> int:
        """Return how many rows are neither delivered, nor dead, nor held back."""
        table = schema.delivery
        query = select(table.c.subject).where(
            ~table.c.dead, table.c.delivered < table.c.wanted, table.c.held_at.is_(None)
        )
        with reading(self._engine) as connection:
            return len(connection.execute(query).all())

    def held(self) -> list[HeldDeliveries]:
        """Return what waits for a consent."""
        return consent_holds.held(self._engine)

    def needs_changed(self, now: dt.datetime) -> None:
        """Let go of what is held for a consent that is not needed any more; asked once, at the start."""
        consent_holds.needs_changed(self._engine, self._needed, now)

    def load(self, claimed: ClaimedDelivery, now: dt.datetime) -> Order | None:
        """Return what a connector needs; None if there is nobody, or nothing any more, to tell.

        Consent is looked up again, on the same snapshot that the order is made of. Raises `ConsentGoneError`.
        """
        key, consent = claimed.key, claimed.consent
        if consent is not None and consent.takes_back:
            return WithdrawnReading(key.subject)
        with reading(self._engine) as connection:
            if consent is not None:
                patient, without = consent_holds.missing(connection, key, consent.recipient, now)
                if without is not None or patient != consent.patient:
                    raise ConsentGoneError
            if key.kind == "reading":
                return _reading_order(connection, key.subject)
            if key.kind == VISIT:
                return visit_order(connection, key.subject, self._staff_language)
            if key.kind == REMINDER:
                return reminder_order(connection, key.subject, (self._zone, self._duty), now)
            return self._alert_order(connection, key.subject, consent, now)

    def load_reading_order(self, measurement: UUID) -> ReadingOrder | WithdrawnReading:
        """Return what a connector needs to file a reading, or to take one back that is nobody's any more."""
        with reading(self._engine) as connection:
            return _reading_order(connection, measurement)

    def load_alert_order(self, alert: UUID) -> AlertOrder | None:
        """Return what a connector needs to hand over an alert; None if it has no patient."""
        with reading(self._engine) as connection:
            return self._alert_order(connection, alert, None, None)

    def _alert_order(
        self, connection: Connection, alert: UUID, consent: Consented | None, now: dt.datetime | None
    ) -> AlertOrder | None:
        row = connection.execute(select(schema.alert).where(schema.alert.c.id == alert)).one()
        (one,) = rows.alerts(connection, [row])
        if one.state is AlertState.FOLDED:
            one = replace(one, state=AlertState.WITHDRAWN)  # to others it is no item
        care = _care(connection, one.finding.subject)
        if care is None:
            return None
        evidence = _filed(one.told.evidence)
        readings = _reading_orders(connection, evidence)
        software = _software(connection, evidence)
        gateway = _gateway(connection, row.gateway, software) if row.gateway else None
        why = self._silences.cause_of(connection, one.finding)
        lives = ZoneInfo(rows.settings(connection, one.finding.subject, self._zone).zone)
        # What turned out to be somebody else's is no business of this patient's work order.
        own = [order for order in readings if order.reading.patient == one.finding.subject]
        if consent is not None and now is not None:
            own = consent_holds.covered(connection, own, consent, now)
        return alert_order(one, own, care, gateway, self._staff_language, self._duty, lives, why)


def retry_dead(engine: Engine, key: DeliveryKey, now: dt.datetime) -> None:
    """Let a dead letter be delivered again; raises `Rejected` if there is none."""
    table = schema.delivery
    again = {"dead": False, "attempts": 0, "next_attempt_at": now, "held_at": None}
    with engine.begin() as connection:
        changed = connection.execute(update(table).where(_is(key), table.c.dead).values(**again))
    if changed.rowcount == 0:
        raise Rejected("There is no such dead letter: `cloud-bridge status` lists them.")


def _due(now: dt.datetime) -> ColumnElement[bool]:
    table = schema.delivery
    return and_(
        ~table.c.dead,
        table.c.delivered < table.c.wanted,
        table.c.next_attempt_at <= now,
        or_(table.c.claimed_until.is_(None), table.c.claimed_until <= now),
    )


def _among(among: Among | None) -> ColumnElement[bool]:
    if among is None:
        return true()
    named = schema.delivery.c.destination.in_(sorted(among.destinations))
    return not_(named) if among.others else named


def _is(key: Any) -> Any:  # noqa: ANN401 - a row or a key; SQLAlchemy's expression
    table = schema.delivery
    return and_(
        table.c.kind == key.kind, table.c.subject == key.subject, table.c.destination == key.destination
    )


def _care(connection: Connection, patient: str) -> CareContext | None:
    row = connection.execute(select(schema.patient).where(schema.patient.c.id == patient)).one_or_none()
    return None if row is None else rows.care_context(row)


def _reading_order(connection: Connection, measurement: UUID) -> ReadingOrder | WithdrawnReading:
    found = _reading_orders(connection, [measurement])
    return found[0] if found else WithdrawnReading(measurement)


def _reading_orders(connection: Connection, ids: Sequence[UUID]) -> list[ReadingOrder]:
    """Return orders in the order of `ids`, without those that have no patient."""
    table = schema.measurement
    found = connection.execute(select(table).where(table.c.id.in_(ids))).all()
    orders: dict[UUID, ReadingOrder] = {}
    for row, one in zip(found, rows.readings(connection, found), strict=True):
        care = _care(connection, one.patient) if one.patient else None
        if care is not None:
            gateway = _gateway(connection, row.gateway, one.measurement.provenance.software)
            orders[row.id] = ReadingOrder(one, care, gateway, row.envelope, row.revision)
    return [orders[i] for i in ids if i in orders]


def _filed(evidence: Sequence[UUID]) -> Sequence[UUID]:
    """Return the readings that a work order names: the first and the latest ones, if there are too many."""
    return evidence if len(evidence) <= MAX_FILED else (evidence[0], *evidence[1 - MAX_FILED :])


def _software(connection: Connection, evidence: Sequence[UUID]) -> str:
    if not evidence:
        return UNKNOWN_SOFTWARE
    table = schema.measurement
    body = connection.execute(select(table.c.body).where(table.c.id == evidence[0])).scalar_one()
    return rows.load_measurement(body).provenance.software


def _gateway(connection: Connection, name: str, software: str) -> Gateway:
    table = schema.gateway
    system_id = connection.execute(select(table.c.system_id).where(table.c.name == name)).scalar_one()
    return Gateway(name, system_id, software)
