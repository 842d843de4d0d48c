"""The transaction in which one envelope becomes stored readings, alerts and deliveries, or nothing at all."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, Select, and_, func, select, update

from cloud_bridge.duty import ALWAYS, Duty
from cloud_bridge.rules.base import HOME
from cloud_bridge.store import rows, schema
from cloud_bridge.store.base import InboxMessage
from cloud_bridge.store.engine import reading as reading_only
from cloud_bridge.store.judging import AT_ONCE, DUE, Judging, set_timer
from cloud_bridge.store.life import Life
from cloud_bridge.store.reminders import REMIND, remind
from cloud_bridge.store.repetition import mark_repetitions
from wire_format.envelope import EnvelopeHeader
from wire_format.identity import content_hash
from wire_format.measurement import Measurement
from wire_format.receipt import Verdict
from wire_format.statements import Assignment, Redating

REFUSED_KEPT: Final = 10_000
_LOOK_AGAIN: Final = "enrolled:"


class IntakeTransaction(Judging):
    """Everything that ingest does to the store, within one database transaction."""

    def __init__(
        self, connection: Connection, destinations: Sequence[str], zone: str = "UTC", duty: Duty = ALWAYS
    ) -> None:
        super().__init__(connection, destinations, zone, duty)
        self._new: set[UUID] = set()  # measurements that nobody knew before

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
        arrival: it is what the gateway first read last. A content that was known is nothing new; of its
        readings the first one is kept.
        """
        table = schema.measurement
        version = {
            "content_hash": content_hash(m),
            "body": rows.dump(m),
            "envelope": envelope,
            "received_at": m.time.received_at,
            "forked": forked,
        }
        mine = table.c.id == m.measurement_id
        known = self._db.execute(select(table).where(mine)).one_or_none()
        if known is None:
            self._new.add(m.measurement_id)
            first = {"quantity": m.quantity.value, "device": m.device.device_id, "revision": 1}
            self._db.execute(table.insert().values(id=m.measurement_id, **first, **_columns(version)))
        self._carried(envelope, m.measurement_id)
        is_other = self._keep_version(m.measurement_id, version)
        if known is None:
            return True
        holds = self._last_version(m.measurement_id)
        revision = known.revision + (1 if is_other else 0)
        self._db.execute(update(table).where(mine).values(**_columns(holds), revision=revision))
        return bool(holds["content_hash"] != known.content_hash)

    def _carried(self, envelope: bytes, measurement: UUID) -> None:
        table = schema.carried
        mine = and_(table.c.envelope == envelope, table.c.measurement == measurement)
        if self._db.execute(select(table.c.envelope).where(mine)).first() is None:
            self._db.execute(table.insert().values(envelope=envelope, measurement=measurement))

    def _keep_version(self, measurement: UUID, version: dict[str, Any]) -> bool:
        """Keep a content as it was read first, marked only if every envelope with it is; False if known."""
        versions = schema.measurement_version
        mine = and_(versions.c.id == measurement, versions.c.content_hash == version["content_hash"])
        known = self._db.execute(select(versions).where(mine)).mappings().one_or_none()
        if known is None:
            self._db.execute(versions.insert().values(id=measurement, **version))
            return True
        held = {name: known[name] for name in version}
        kept = min(held, version, key=lambda v: (v["received_at"], v["body"], v["envelope"]))
        still_forked = known["forked"] and version["forked"]
        self._db.execute(update(versions).where(mine).values(**{**kept, "forked": still_forked}))
        return False

    def _last_version(self, measurement: UUID) -> dict[str, Any]:
        versions = schema.measurement_version
        query = (
            select(versions)
            .where(versions.c.id == measurement)
            .order_by(versions.c.received_at.desc(), versions.c.content_hash.desc())
            .limit(1)
        )
        return {k: v for k, v in self._db.execute(query).mappings().one().items() if k != "id"}

    def mark_repetitions(self, m: Measurement) -> set[UUID]:
        """Mark possible repetitions among a reading and its neighbours; return whose mark changed."""
        return mark_repetitions(self._db, m)

    def add_statement(self, statement: Assignment | Redating, gateway: str, envelope: bytes) -> None:
        """Append what a gateway stated; a statement that is known is left as it is."""
        values = {
            "id": statement.statement_id,
            "kind": type(statement).__name__.lower(),
            "gateway": gateway,
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
            home = f"{HOME}{row.gateway}"
            subjects.add(folded.patient or home)
            if row.id not in self._new:
                subjects.add(row.patient or home)  # whose it was before
            moved = (row.patient, row.measured_at) != (folded.patient, at)
            if not moved and row.id not in revised:
                continue
            values: dict[str, Any] = {"patient": folded.patient, "measured_at": at}
            if moved and row.patient is not None and row.id not in revised:
                values["revision"] = row.revision + 1  # it was filed otherwise before
            self._db.execute(update(table).where(table.c.id == row.id).values(**values))
            self._db.execute(schema.change.insert().values(measurement=row.id, previous_at=row.measured_at))
            if {row.patient, folded.patient} != {None}:
                self.want("reading", row.id, now)
        return subjects

    def due_subjects(self, due: str, now: dt.datetime) -> set[str]:
        """Return the subjects to judge for a timer: its own, or those whose readings a home's people are.

        An alert's own timer judges nobody: if it was not seen in time, the next role is asked.
        """
        if due.startswith(DUE):
            Life(self._db, self._destinations, self._duty).look_at(UUID(due.removeprefix(DUE)), now)
            return set()
        if due.startswith(REMIND):
            remind(self._db, due, self._destinations, (self._zone, self._duty), now)
            return set()
        if due.startswith(_LOOK_AGAIN):
            return self.after_enrolment(due.removeprefix(_LOOK_AGAIN), now)
        return {due}

    def after_enrolment(self, gateway: str, now: dt.datetime) -> set[str]:
        """Fold again what was nobody's in a home that got people since; return the subjects to judge."""
        table = schema.timer
        asked = table.delete().where(table.c.subject == f"{_LOOK_AGAIN}{gateway}")
        if self._db.execute(asked).rowcount == 0:
            return set()
        unowned = self._db.execute(_unowned(gateway)).scalars().all()
        return self.refold(unowned, revised=set(), now=now)


def _columns(version: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the measurement's row says of the content that holds."""
    m = rows.load_measurement(version["body"])
    return {**version, "gateway": m.provenance.gateway, "boot_id": m.time.boot_id}


def _unowned(gateway: str) -> Select[UUID]:
    table = schema.measurement
    return select(table.c.id).where(table.c.gateway == gateway, table.c.patient.is_(None))


def look_again(connection: Connection, gateway: str) -> None:
    """Have the readings of a home that are nobody's folded and judged again at once: it got its people."""
    if connection.execute(_unowned(gateway).limit(1)).first() is None:
        return
    set_timer(connection, f"{_LOOK_AGAIN}{gateway}", AT_ONCE)


class Intake:
    """The inbox, and the transactions of ingest."""

    def __init__(
        self, engine: Engine, destinations: Sequence[str], zone: str = "UTC", duty: Duty = ALWAYS
    ) -> None:
        self._engine = engine
        self._destinations = tuple(destinations)
        self._zone = zone
        self._duty = duty

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
            yield IntakeTransaction(connection, self._destinations, self._zone, self._duty)

    def timers_due(self, now: dt.datetime) -> list[str]:
        """Return the subjects whose timer has run out."""
        table = schema.timer
        with reading_only(self._engine) as connection:
            return list(connection.execute(select(table.c.subject).where(table.c.due_at <= now)).scalars())
