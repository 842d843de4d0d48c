"""Why nothing comes from a patient, or a gateway: what their homes said since, in SQL."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from cloud_bridge.rules.base import GATEWAY, Finding
from cloud_bridge.silence_cause import Cause, cause, gateway_cause, is_silence, is_silent_gateway
from cloud_bridge.store import rows, schema
from cloud_bridge.store.presence import connection_of
from wire_format.codec import ITEM_TYPES, decode_items
from wire_format.statements import DeviceEvent, GatewayEvent

SETTLES: Final = dt.timedelta(hours=1)
"""What comes together with the last reading, or right after it, is no sign that the home is heard since."""
_EVENTS: Final = tuple(n for n, model in ITEM_TYPES.items() if model in (DeviceEvent, GatewayEvent))


@dataclass(frozen=True, slots=True)
class Silences:
    """Why nothing comes, as it is known at this moment; times are of the site's zone."""

    zone: str = "UTC"
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)

    def cause_of(self, connection: Connection, finding: Finding) -> Cause | None:
        """Return why nothing comes; None of what is no silence that goes on."""
        now = self.clock()
        if is_silent_gateway(finding):
            gateway = finding.subject.removeprefix(GATEWAY)
            found = gateway_cause(finding.since, connection_of(connection, [gateway], now))
        elif is_silence(finding):
            found = _of_patient(connection, finding, now)
        else:
            return None
        since = None if found.since is None else found.since.astimezone(ZoneInfo(self.zone))
        return replace(found, since=since)


def _of_patient(connection: Connection, finding: Finding, now: dt.datetime) -> Cause:
    since, devices = _last(connection, finding)
    person, envelope, item = schema.person, schema.envelope, schema.item
    homes = (
        connection.execute(select(person.c.gateway).where(person.c.patient == finding.subject).distinct())
        .scalars()
        .all()
    )
    later = (envelope.c.gateway.in_(homes), envelope.c.received_at > since)
    heard = connection.execute(select(envelope.c.digest).where(*later).limit(1)).first() is not None
    query = (
        select(item.c.body)
        .join(envelope, envelope.c.digest == item.c.envelope)
        .where(*later, item.c.kind.in_(_EVENTS))
        .order_by(envelope.c.received_at, item.c.id)
    )
    said = [one for body in connection.execute(query).scalars() for one in decode_items(body)]
    events = [one for one in said if isinstance(one, DeviceEvent | GatewayEvent)]
    line = connection_of(connection, homes, now)
    return cause(heard=heard, events=events, devices=devices, connection=line)


def _last(connection: Connection, finding: Finding) -> tuple[dt.datetime, frozenset[str]]:
    """Return since when nothing came, and what measured before; without a reading, since it is expected."""
    table, envelope = schema.measurement, schema.envelope
    query = (
        select(table.c.body, envelope.c.received_at)
        .join(envelope, envelope.c.digest == table.c.envelope)
        .where(table.c.id.in_(finding.evidence))
    )
    found = connection.execute(query).all()
    since = max((row.received_at for row in found), default=finding.since)
    devices = frozenset(str(rows.load_measurement(row.body).device.device_id) for row in found)
    return max(since, finding.since) + SETTLES, devices
