"""A time-series database beside the record: InfluxDB 2, off by default, and never in anybody's way.

It follows the table of changes and can be lost and rebuilt: with its cursor at 0 it writes everything again.
No unique id is a tag (each would be a series of its own): the id is a field, and an offset below a
millisecond that is derived from it keeps readings of one moment apart. A reading that was re-dated, or turned
out to be somebody else's, is deleted at its exact old nanosecond and written anew. Unassigned readings and
those without a time are not written.
The write path was tested against VictoriaMetrics' /api/v2/write, and against nothing else.
"""

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from influxdb_client import Point, WritePrecision  # type: ignore[attr-defined]  # it re-exports without saying so
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from sqlalchemy import Engine, select, update

from cloud_bridge.rules.base import Reading
from cloud_bridge.store import rows, schema
from cloud_bridge.store.engine import reading
from service_kit.log import Log

NAME: Final = "influx"
BATCH: Final = 500
IDLE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 300.0
_NS_PER_MS: Final = 1_000_000
_END_OF_TIME: Final = dt.datetime(2262, 1, 1, tzinfo=dt.UTC)
"""64 bits of nanoseconds reach no further: one point beyond would have its whole batch refused for ever."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the table of changes: where it stands, the reading as it is now, when it was before."""

    position: int
    reading: Reading
    quantity: str
    patient: str | None
    measured_at: dt.datetime | None
    previous_at: dt.datetime | None


class InfluxSink:
    """Follows the record. Any failure only makes it late."""

    def __init__(  # noqa: PLR0913 - a server has these settings
        self, engine: Engine, *, url: str, organization: str, bucket: str, token: str, log: Log
    ) -> None:
        self._engine = engine
        self._client = InfluxDBClient(url=url, token=token, org=organization, timeout=10_000)
        self._write = self._client.write_api(write_options=SYNCHRONOUS)
        self._bucket = bucket
        self._log = log

    async def run(self) -> None:
        """Follow, for ever."""
        pause, said = IDLE_S, False
        try:
            while True:
                try:
                    written = await asyncio.to_thread(self.step)
                except Exception as error:  # noqa: BLE001 - its client raises of many kinds; none may end the bridge
                    if not said:
                        self._log.warning("sink_failing", kind=NAME, error=type(error).__name__)
                    said, pause, written = True, min(pause * 2, LONGEST_PAUSE_S), 0
                else:
                    said, pause = False, IDLE_S
                if not written:
                    await asyncio.sleep(pause)
        finally:
            self.close()

    def step(self) -> int:
        """Write the next batch; the cursor moves only after the server took it. Return how many changes."""
        changes = self._changes()
        if not changes:
            return 0
        for change in changes:
            self._delete_old(change)
        points = [point for change in changes if (point := _point(change)) is not None]
        if points:
            self._write.write(bucket=self._bucket, record=points)
        self._advance(changes[-1].position)
        return len(changes)

    def close(self) -> None:
        """Hang up."""
        self._write.close()  # type: ignore[no-untyped-call]  # the client has no type here
        self._client.close()  # type: ignore[no-untyped-call]  # as above

    def _changes(self) -> Sequence[Change]:
        change, measurement = schema.change, schema.measurement
        query = (
            select(change.c.id.label("position"), change.c.previous_at, measurement)
            .join(measurement, measurement.c.id == change.c.measurement)
            .where(change.c.id > self._position())
            .order_by(change.c.id)
            .limit(BATCH)
        )
        with reading(self._engine) as connection:
            found = connection.execute(query).all()
            folded = rows.readings(connection, found)
        return [
            Change(row.position, one, row.quantity, row.patient, row.measured_at, row.previous_at)
            for row, one in zip(found, folded, strict=True)
        ]

    def _position(self) -> int:
        table = schema.sink_cursor
        with reading(self._engine) as connection:
            return connection.scalar(select(table.c.position).where(table.c.sink == NAME)) or 0

    def _advance(self, position: int) -> None:
        table = schema.sink_cursor
        with self._engine.begin() as connection:
            moved = connection.execute(update(table).where(table.c.sink == NAME).values(position=position))
            if moved.rowcount == 0:
                connection.execute(table.insert().values(sink=NAME, position=position))

    def _delete_old(self, change: Change) -> None:
        """Delete the point of before, also at the same moment: it may stand under another patient's tag."""
        if change.previous_at is None:
            return
        at = nanoseconds(change.previous_at, change.reading.id)
        begin, end = _text(at), _text(at + 1)
        predicate = f'_measurement="{change.quantity}"'
        self._client.delete_api().delete(begin, end, predicate, bucket=self._bucket)


def nanoseconds(at: dt.datetime, measurement: UUID) -> int:
    """Return a moment in ns since 1970, with the offset that tells its reading from others of that moment."""
    whole = round(at.timestamp() * 1000) * _NS_PER_MS
    return whole + measurement.int % _NS_PER_MS


def _text(at: int) -> str:
    seconds, rest = divmod(at, 10**9)
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _point(change: Change) -> Any:  # noqa: ANN401 - the client's own type is untyped
    """Return a point, None for a reading that is nobody's or has no time."""
    m = change.reading.measurement
    if change.patient is None or change.measured_at is None or change.measured_at >= _END_OF_TIME:
        return None
    untyped: Any = Point
    point = untyped(change.quantity).tag("patient", change.patient).tag("gateway", m.provenance.gateway)
    point.time(nanoseconds(change.measured_at, m.measurement_id), WritePrecision.NS)
    point.field("measurement_id", str(m.measurement_id))
    for component in m.components:
        if component.value is not None:
            # The engine has floats only; the exact digits and the unit stand beside.
            point.field(component.term.value, float(component.value))
            point.field(f"{component.term.value}_exact", f"{component.value} {component.unit.value}")
    return point
