"""The transaction in which one envelope becomes stored readings, alerts and deliveries, or nothing at all."""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, and_, func, select, update

from cloud_bridge.alerts import Alert
from cloud_bridge.rules.base import Finding, Reading, Settings
from cloud_bridge.store import rows, schema
from cloud_bridge.store.base import InboxMessage
from cloud_bridge.store.engine import reading as reading_only
from wire_format.envelope import EnvelopeHeader
from wire_format.identity import content_hash
from wire_format.measurement import Measurement
from wire_format.receipt import Verdict
from wire_format.statements import Assignment, Redating

REFUSED_KEPT: Final = 10_000
REPETITION_WITHIN: Final = dt.timedelta(minutes=5)


class IntakeTransaction:
    """Everything that ingest does to the store, within one database transaction."""

    def __init__(self, connection: Connection, destinations: Sequence[str]) -> None:
        self._db = connection
        self._destinations = destinations

    # --- envelopes ---

    def digests(self, header: EnvelopeHeader, sequence: int) -> dict[bytes, bytes]:
        """Return digest and previous digest of every envelope known under a sequence of this outbox."""
        table = schema.envelope
        query = select(table.c.digest, table.c.previous).where(
            table.c.gateway == header.gateway,
            table.c.outbox_id == header.outbox_id,
            table.c.sequence == sequence,
        )
        return {row.digest: row.previous for row in self._db.execute(query)}

    def receipt_again(self, digest: bytes) -> None:
        """Let a known envelope be receipted once more."""
        table = schema.envelope
        self._db.execute(update(table).where(table.c.digest == digest).values(receipt_due=True))

    def add_envelope(  # noqa: PLR0913 - an envelope's row
        self,
        header: EnvelopeHeader,
        digest: bytes,
        data: bytes,
        verdict: Verdict,
        now: dt.datetime,
        *,
        reason: str | None = None,
    ) -> None:
        """Keep an envelope with its verdict; its receipt is due."""
        self._db.execute(
            schema.envelope.insert().values(
                digest=digest,
                gateway=header.gateway,
                outbox_id=header.outbox_id,
                sequence=header.sequence,
                previous=header.previous,
                data=data,
                verdict=verdict.value,
                reason=reason,
                received_at=now,
                receipt_due=True,
            )
        )

    def refuse(self, message: InboxMessage, reason: str) -> None:
        """Keep what no enrolled gateway signed, as evidence: the newest of it, for anybody could send it."""
        table = schema.refused
        newest = self._db.scalar(select(func.max(table.c.id))) or 0
        self._db.execute(table.delete().where(table.c.id <= newest - REFUSED_KEPT))
        self._db.execute(
            schema.refused.insert().values(
                topic=message.topic, data=message.data, reason=reason, received_at=message.received_at
            )
        )

    def take(self, message: InboxMessage) -> bool:
        """Take a message out of the inbox; False if another worker has done so. Undone if this fails."""
        table = schema.inbox
        return self._db.execute(table.delete().where(table.c.id == message.id)).rowcount == 1

    # --- items ---

    def add_measurement(self, m: Measurement, envelope: bytes, *, forked: bool) -> bool:
        """Keep a measurement; return whether what is said of it now is new.

        Another content under a known id is a revision. Which one holds does not depend on the order of
        arrival: it is what the gateway read last. A content that was known is nothing new.
        """
        table, versions = schema.measurement, schema.measurement_version
        said, body = content_hash(m), rows.dump(m)
        known = self._db.execute(select(table).where(table.c.id == m.measurement_id)).one_or_none()
        if known is not None and self._has_version(m.measurement_id, said):
            return False
        columns = {
            "content_hash": said,
            "body": body,
            "envelope": envelope,
            "gateway": m.provenance.gateway,
            "boot_id": m.time.boot_id,
            "received_at": m.time.received_at,
        }
        newest = known is None or (m.time.received_at, said) > (known.received_at, known.content_hash)
        if known is None:
            first = {"quantity": m.quantity.value, "device": m.device.device_id, "forked": forked}
            values = {"id": m.measurement_id, **columns, **first, "repetition_of": self._repetition(m)}
            self._db.execute(table.insert().values(**values))
        else:
            counted = {"revision": table.c.revision + 1, **(columns if newest else {})}
            self._db.execute(update(table).where(table.c.id == m.measurement_id).values(**counted))
        version = {"id": m.measurement_id, "content_hash": said, "body": body, "envelope": envelope}
        self._db.execute(versions.insert().values(**version))
        return newest

    def _has_version(self, measurement: UUID, said: bytes) -> bool:
        table = schema.measurement_version
        query = select(table.c.id).where(table.c.id == measurement, table.c.content_hash == said)
        return self._db.execute(query).first() is not None

    def _repetition(self, m: Measurement) -> UUID | None:
        """Return an earlier reading with the same bytes, shortly before, from a device without a clock."""
        if m.time.stated is not None or m.record is not None:
            return None
        table = schema.measurement
        query = (
            select(table)
            .where(
                table.c.device == m.device.device_id,
                table.c.received_at <= m.time.received_at,
                table.c.received_at >= m.time.received_at - REPETITION_WITHIN,
                table.c.repetition_of.is_(None),
            )
            .order_by(table.c.received_at, table.c.id)
        )
        for row in self._db.execute(query):
            if rows.load_measurement(row.body).provenance.raw == m.provenance.raw:
                found: UUID = row.id
                return found
        return None

    def add_statement(self, statement: Assignment | Redating, envelope: bytes) -> None:
        """Append a statement; one that is known is left as it is."""
        values = {
            "id": statement.statement_id,
            "kind": type(statement).__name__.lower(),
            "measurement": statement.measurement_id,
            "boot_id": statement.boot_id if isinstance(statement, Redating) else None,
            "body": rows.dump(statement),
            "envelope": envelope,
        }
        known = select(schema.statement.c.id).where(schema.statement.c.id == statement.statement_id)
        if self._db.execute(known).first() is None:
            self._db.execute(schema.statement.insert().values(**values))

    def add_item(self, kind: str, body: bytes, gateway: str, envelope: bytes) -> None:
        """Keep anything else."""
        self._db.execute(
            schema.item.insert().values(kind=kind, body=body, gateway=gateway, envelope=envelope)
        )

    def of_boots(self, gateway: str, boots: Iterable[UUID]) -> set[UUID]:
        """Return the measurements of some boots of a gateway."""
        table = schema.measurement
        query = select(table.c.id).where(table.c.gateway == gateway, table.c.boot_id.in_(set(boots)))
        return set(self._db.execute(query).scalars())

    def refold(self, ids: Iterable[UUID], *, revised: set[UUID], now: dt.datetime) -> set[str]:
        """Fold again, and want deliveries of what changed; return the subjects that must be judged again."""
        table = schema.measurement
        found = self._db.execute(select(table).where(table.c.id.in_(set(ids)))).all()
        subjects: set[str] = set()
        for row, folded in zip(found, rows.readings(self._db, found), strict=True):
            at = None if folded.measured is None else folded.measured.utc
            home = f"home:{row.gateway}"
            subjects |= {row.patient or home, folded.patient or home}
            moved = (row.patient, row.measured_at) != (folded.patient, at)
            if not moved and row.id not in revised:
                continue
            self._db.execute(
                update(table).where(table.c.id == row.id).values(patient=folded.patient, measured_at=at)
            )
            self._db.execute(schema.change.insert().values(measurement=row.id, previous_at=row.measured_at))
            if folded.patient is not None:
                self.want("reading", row.id, now)
        return subjects

    # --- judging ---

    def readings_of(self, subject: str, since: dt.datetime) -> list[Reading]:
        """Return a subject's readings since a moment, and those whose time nobody knows."""
        table = schema.measurement
        if subject.startswith("home:"):
            whose = and_(table.c.gateway == subject.removeprefix("home:"), table.c.patient.is_(None))
        else:
            whose = table.c.patient == subject
        recent = (table.c.measured_at >= since) | (
            table.c.measured_at.is_(None) & (table.c.received_at >= since)
        )
        return rows.readings(self._db, self._db.execute(select(table).where(whose, recent)).all())

    def settings_of(self, subject: str) -> Settings:
        """Return a patient's own thresholds."""
        return rows.settings(self._db, subject)

    def alerts_of(self, subject: str, since: dt.datetime) -> list[Alert]:
        """Return a subject's alerts whose findings began since a moment."""
        table = schema.alert
        query = select(table).where(table.c.subject == subject, table.c.since >= since)
        return [rows.alert(row) for row in self._db.execute(query)]

    def save_alert(self, alert: Alert, gateway: str, what: str, now: dt.datetime) -> None:
        """Write an alert's new revision, its history, and the deliveries it wants."""
        values: dict[str, Any] = {
            **rows.finding_columns(alert.finding),
            "state": alert.state.value,
            "revision": alert.revision,
            "raised_at": alert.raised_at,
            "due_at": alert.due_at,
        }
        table = schema.alert
        if alert.revision == 1:
            self._db.execute(table.insert().values(id=alert.alert_id, gateway=gateway, **values))
        else:
            self._db.execute(update(table).where(table.c.id == alert.alert_id).values(**values))
        self._db.execute(schema.alert_history.insert().values(alert=alert.alert_id, at=now, what=what))
        if not alert.finding.subject.startswith("home:"):
            self.want("alert", alert.alert_id, now)

    def gateway_of(self, finding: Finding) -> str:
        """Return the home that a finding came from."""
        query = select(schema.measurement.c.gateway).where(schema.measurement.c.id == finding.evidence[0])
        name: str = self._db.execute(query).scalar_one()
        return name

    def want(self, kind: str, subject: UUID, now: dt.datetime) -> None:
        """Want one more revision delivered, to every destination."""
        want_delivery(self._db, kind, subject, self._destinations, now)

    def set_timer(self, subject: str, due_at: dt.datetime | None) -> None:
        """Judge a subject again at a moment; None: no need to."""
        table = schema.timer
        self._db.execute(table.delete().where(table.c.subject == subject))
        if due_at is not None:
            self._db.execute(table.insert().values(subject=subject, due_at=due_at))


def want_delivery(
    connection: Connection, kind: str, subject: UUID, destinations: Sequence[str], now: dt.datetime
) -> None:
    """Add or renew a delivery row for each destination: one more revision is wanted, at once."""
    table = schema.delivery
    for destination in destinations:
        key = {"kind": kind, "subject": subject, "destination": destination}
        known = and_(*(table.c[name] == value for name, value in key.items()))
        again = {"wanted": table.c.wanted + 1, "attempts": 0, "next_attempt_at": now, "dead": False}
        changed = connection.execute(update(table).where(known).values(**again))
        if changed.rowcount == 0:
            connection.execute(
                table.insert().values(**key, wanted=1, delivered=0, next_attempt_at=now, created_at=now)
            )


class Intake:
    """The inbox, and the transactions of ingest."""

    def __init__(self, engine: Engine, destinations: Sequence[str]) -> None:
        self._engine = engine
        self._destinations = tuple(destinations)

    def accept(self, topic: str, data: bytes, now: dt.datetime) -> None:
        """Commit one message to the inbox. Durable when this returns: then the broker may be told."""
        self.accept_all([(topic, data)], now)

    def accept_all(self, messages: Sequence[tuple[str, bytes]], now: dt.datetime) -> None:
        """Commit messages (topic, bytes) to the inbox, all or none; durable when this returns."""
        found = [{"topic": topic, "data": data, "received_at": now} for topic, data in messages]
        with self._engine.begin() as connection:
            connection.execute(schema.inbox.insert(), found)

    def waiting(self, limit: int) -> list[InboxMessage]:
        """Return the oldest messages of the inbox."""
        table = schema.inbox
        with reading_only(self._engine) as connection:
            query = select(table).order_by(table.c.id).limit(limit)
            return [
                InboxMessage(row.id, row.topic, row.data, row.received_at)
                for row in connection.execute(query)
            ]

    @contextmanager
    def transaction(self) -> Iterator[IntakeTransaction]:
        """Yield one transaction; it commits when the block ends, and leaves nothing if the block raises."""
        with self._engine.begin() as connection:
            yield IntakeTransaction(connection, self._destinations)

    def timers_due(self, now: dt.datetime) -> list[str]:
        """Return the subjects whose timer has run out."""
        table = schema.timer
        with reading_only(self._engine) as connection:
            return list(connection.execute(select(table.c.subject).where(table.c.due_at <= now)).scalars())
