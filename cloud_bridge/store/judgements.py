"""What findings stood on, in SQL: each revision with the contents, statements and settings of its day."""

import json
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, select

from cloud_bridge.fold import fold
from cloud_bridge.replay import Judged
from cloud_bridge.rules.base import Reading
from cloud_bridge.store import rows, schema
from cloud_bridge.store.engine import reading as reading_only
from wire_format.codec import decode_items
from wire_format.errors import Rejected
from wire_format.statements import Assignment, Redating


class Judgements:
    """Reads the judgements of alerts. They are written where alerts are, in the same transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of_alert(self, alert: UUID) -> list[Judged]:
        """Return what was judged of an alert, by revision; `Rejected` if there is no such alert."""
        table, sets = schema.judgement, schema.rule_set
        query = (
            select(table, sets.c.body)
            .join(sets, sets.c.digest == table.c.rule_set)
            .where(table.c.alert == alert)
            .order_by(table.c.revision)
        )
        with reading_only(self._engine) as connection:
            if (
                connection.execute(select(schema.alert.c.id).where(schema.alert.c.id == alert)).first()
                is None
            ):
                raise Rejected(f"There is no alert {alert}.")
            return [_judged(connection, row) for row in connection.execute(query).all()]


def _judged(connection: Connection, row: Row[Any]) -> Judged:
    finding = rows.load_finding(row.finding)
    contents = [(UUID(i), bytes.fromhex(digest)) for i, digest in json.loads(row.contents)]
    readings = _readings(connection, contents, finding.statements)
    settings = rows.load_settings(row.settings)
    return Judged(row.revision, row.judged_at, row.body, settings, readings, finding)


def _readings(
    connection: Connection, contents: Sequence[tuple[UUID, bytes]], statements: Collection[UUID]
) -> list[Reading]:
    said = [
        item
        for body in connection.execute(
            select(schema.statement.c.body).where(schema.statement.c.id.in_(statements))
        ).scalars()
        for item in decode_items(body)
    ]
    assignments = [item for item in said if isinstance(item, Assignment)]
    redatings = [item for item in said if isinstance(item, Redating)]
    found = []
    for identity, digest in contents:
        table = schema.measurement_version
        mine = (table.c.id == identity) & (table.c.content_hash == digest)
        m = rows.load_measurement(connection.execute(select(table.c.body).where(mine)).scalar_one())
        known = rows.people(connection, {m.provenance.gateway})
        owner = {pseudonym: patient for (_, pseudonym), patient in known.items()}
        found.append(fold(m, assignments, redatings, owner.get))
    return found
