"""Connections of gateways in SQL: since when one is gone, or when it last said that it is there.

Nobody signs a status, so it only chooses words. An envelope that arrives later is signed, and weighs more.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import Connection as Sql
from sqlalchemy import Engine, func, select

from cloud_bridge.silence_cause import UNKNOWN, Connection
from cloud_bridge.store import schema
from cloud_bridge.store.base import HomeHears, Told
from wire_format.status import Presence

FRESH: Final = dt.timedelta(minutes=5)
"""A gateway's own time and ours may differ by this much; what is older was kept somewhere on the way."""
THERE_FOR: Final = dt.timedelta(minutes=45)
"""Three times as long as a gateway takes to say again that it is there."""
ON_ITS_WAY: Final = dt.timedelta(minutes=5)
"""What was sent before a connection was lost may arrive this much later."""


class SqlPresence:
    """What was last said of each enrolled gateway."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def note(self, told: Sequence[Told], now: dt.datetime) -> None:
        """Keep what was said; of gateways that are not enrolled nothing is kept."""
        names = [one.gateway for one in told]
        with self._engine.begin() as connection:
            known = set(
                connection.execute(
                    select(schema.gateway.c.name).where(schema.gateway.c.name.in_(names))
                ).scalars()
            )
            for one in told:
                if one.gateway in known:
                    _keep(connection, one, now)


def _keep(connection: Sql, one: Told, now: dt.datetime) -> None:
    """Keep one; the same word again, as the broker repeats what it kept, does not make it newer."""
    table = schema.gateway_status
    mine = table.c.gateway == one.gateway
    row = connection.execute(select(table).where(mine).with_for_update()).one_or_none()
    said = one.status
    online = said.presence is Presence.ONLINE
    same = row is not None and row.presence == said.presence.value and (online or row.stated == said.since)
    live = online and not one.kept and abs(now - said.since) <= FRESH
    values = {
        "presence": said.presence.value,
        "stated": said.since,
        "known_at": row.known_at if same and row is not None else now,
        "there_at": now if live else None if row is None else row.there_at,
    }
    if row is None:
        connection.execute(table.insert().values(gateway=one.gateway, **values))
    else:
        connection.execute(table.update().where(mine).values(**values))


def connection_of(connection: Sql, gateways: Iterable[str], now: dt.datetime) -> Connection:
    """Return what is known of some gateways together: gone if all are, there if one is."""
    found = [_one(connection, gateway, now) for gateway in gateways]
    gone = [one.gone_since for one in found if one.gone_since is not None]
    if found and len(gone) == len(found):
        return Connection(gone_since=max(gone))
    return Connection(there=any(one.there for one in found))


def home_hears(connection: Sql, gateway: str, now: dt.datetime) -> HomeHears:
    """Return whether a home has heard what was queued for it; `gateway` is "" where none is there yet."""
    if not gateway:
        return HomeHears.NOBODY
    table = schema.downlink
    here = table.c.gateway == gateway
    query = select(table.c.id).where(here, ~table.c.published, table.c.expires_at > now).limit(1)
    waits = connection.execute(query).first() is not None
    there = connection_of(connection, [gateway], now).there
    return HomeHears.TOLD if there and not waits else HomeHears.WAITS


def _one(connection: Sql, gateway: str, now: dt.datetime) -> Connection:
    table, envelope = schema.gateway_status, schema.envelope
    row = connection.execute(select(table).where(table.c.gateway == gateway)).one_or_none()
    if row is None:
        return UNKNOWN
    if row.presence == Presence.ONLINE.value:
        return Connection(there=row.there_at is not None and now - row.there_at <= THERE_FOR)
    query = select(func.max(envelope.c.received_at)).where(envelope.c.gateway == gateway)
    signed = connection.execute(query).scalar_one()
    if signed is not None and signed > row.known_at + ON_ITS_WAY:
        return UNKNOWN
    return Connection(gone_since=row.known_at)
