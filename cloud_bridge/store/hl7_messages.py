"""HL7 v2 messages as they came: committed before they are answered, and answered alike when sent again.

A message is told apart by who sent it under which control id. What was taken (AA) is not taken again; what
was refused is looked at anew, because what was wrong may have been mended here.
"""

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine, delete, select, update

from cloud_bridge.discharge.plan import DischargePlan
from cloud_bridge.discharge.terms import Defaults
from cloud_bridge.store import discharge_schema
from cloud_bridge.store.discharges import Became, SqlDischarges, TakenPlan, take

BATCH: Final = 200
"""Messages that are deleted in one transaction: none of them is held up for long."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message whose bytes are kept. `answer` is what it was taken with before.

    `other`: it says another thing than the message of the same control id that is kept.
    """

    message_id: int
    answer: str | None
    other: bool = False


class SqlHl7Messages:
    """Keeps messages, and takes the plans of them."""

    def __init__(self, engine: Engine, discharges: SqlDischarges) -> None:
        self._engine = engine
        self._discharges = discharges

    def receive(self, sender: str, control_id: str, data: bytes, now: dt.datetime) -> Received:
        """Commit a message's bytes, once. Durable when this returns."""
        table = discharge_schema.hl7_message
        digest = hashlib.sha256(data).digest()
        known = select(table).where(table.c.sender == sender, table.c.control_id == control_id)
        with self._engine.begin() as connection:
            row = connection.execute(known.with_for_update()).one_or_none()
            if row is not None:
                return Received(row.id, row.answer, other=row.digest != digest)
            values = {"sender": sender, "control_id": control_id, "digest": digest, "data": data}
            made = connection.execute(table.insert().values(**values, received_at=now))
            key = made.inserted_primary_key
            return Received(0 if key is None else key[0], None)

    def take(
        self, received: Received, plan: DischargePlan, defaults: Defaults, source: str, now: dt.datetime
    ) -> TakenPlan:
        """Take the plan of a message, and note that it was, in one transaction. Raises `PlanRefusedError`."""
        table = discharge_schema.hl7_message
        with self._engine.begin() as connection:
            done = take(self._discharges.taking(connection, defaults, source, now), plan)
            values: dict[str, object] = {"answer": done.became.value}
            if done.became is Became.NOT_OURS:
                values["data"] = (
                    b""  # whoever is in no programme is none of our patients: only the hash stays
                )
            mine = table.c.id == received.message_id
            connection.execute(update(table).where(mine).values(**values))
        return done

    def forget(self, before: dt.datetime) -> int:
        """Delete the oldest messages that came before a moment, `BATCH` at most; return how many.

        One that comes again after that is looked at anew: a plan that was taken is taken once all the same.
        """
        table = discharge_schema.hl7_message
        oldest = select(table.c.id, table.c.received_at).order_by(table.c.id).limit(BATCH)
        with self._engine.begin() as connection:
            found = [row.id for row in connection.execute(oldest) if row.received_at <= before]
            if found:
                connection.execute(delete(table).where(table.c.id.in_(found)))
        return len(found)
