"""Possible repetitions: equal bytes shortly after each other, from a device that has no clock to tell."""

import datetime as dt
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Row, select, update

from cloud_bridge.store import rows, schema
from wire_format.measurement import Measurement

REPETITION_WITHIN: Final = dt.timedelta(minutes=5)


def mark_repetitions(connection: Connection, m: Measurement) -> set[UUID]:
    """Mark a stored reading, and those shortly after it, by what is known now; return whose mark changed.

    A reading repeats the earliest one of the same bytes that came within five minutes before it. That is a
    matter of what is stored, not of which came first: an earlier one that comes late marks the later one.
    """
    if not _clockless(m):
        return set()
    near = _same_bytes(connection, m)
    changed: set[UUID] = set()
    for index, row in enumerate(near):
        if row.received_at < m.time.received_at:
            continue
        before = [r.id for r in near[:index] if row.received_at - r.received_at <= REPETITION_WITHIN]
        repeated = before[0] if before else None
        if row.repetition_of != repeated:
            _mark(connection, row, repeated)
            changed.add(row.id)
    return changed


def _clockless(m: Measurement) -> bool:
    return m.time.stated is None and m.record is None


def _same_bytes(connection: Connection, m: Measurement) -> list[Row[tuple[object, ...]]]:
    table = schema.measurement
    at = m.time.received_at
    query = (
        select(table)
        .where(
            table.c.device == m.device.device_id,
            table.c.received_at.between(at - REPETITION_WITHIN, at + REPETITION_WITHIN),
        )
        .order_by(table.c.received_at, table.c.id)
    )
    found = [(row, rows.load_measurement(row.body)) for row in connection.execute(query)]
    return [row for row, one in found if _clockless(one) and one.provenance.raw == m.provenance.raw]


def _mark(connection: Connection, row: Row[tuple[object, ...]], repeated: UUID | None) -> None:
    table = schema.measurement
    filed = 0 if row.patient is None else 1  # what was filed without the mark is filed again
    connection.execute(
        update(table)
        .where(table.c.id == row.id)
        .values(repetition_of=repeated, revision=table.c.revision + filed)
    )
