"""Organizations with a key, and what each home was told of whom it seals to, in SQL."""

import datetime as dt
from typing import Any

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import IntegrityError

from cloud_bridge.sharing import LASTS, is_due, shares
from cloud_bridge.store import access_schema, schema
from cloud_bridge.store.consents import consents_of
from cloud_bridge.store.engine import reading
from cloud_bridge.store.outgoing import Sealer, queue_message
from wire_format.base import plain
from wire_format.canonical import decode, encode
from wire_format.downlink import Recipients
from wire_format.errors import Misconfigured, Rejected
from wire_format.keys import Kem, SealKey
from wire_format.status import Presence


class SqlSharing:
    """See `cloud_bridge.sharing`."""

    def __init__(self, engine: Engine, sealer: Sealer) -> None:
        self._engine, self._sealer = engine, sealer

    def add_organization(self, name: str, key: SealKey, hospital: Kem, now: dt.datetime) -> None:
        """Register an organization's key. Raises `Rejected` if it has one, `Misconfigured` for its kind."""
        if key.kem is not hospital:
            raise Misconfigured(
                f"The key of {name} is {key.kem}, the hospital's is {hospital}: an envelope is as strong as "
                "its weakest recipient. Ask for a key of the same kind."
            )
        row = {"name": name, "kem": key.kem.value, "key": key.raw, "added_at": now}
        try:
            with self._engine.begin() as connection:
                connection.execute(access_schema.organization.insert().values(**row))
        except IntegrityError as error:
            raise Rejected(f"The organization {name} has a key already: remove it first.") from error

    def remove_organization(self, name: str) -> None:
        """Forget an organization's key: homes are told to seal to it no more. Raises `Rejected`."""
        table = access_schema.organization
        with self._engine.begin() as connection:
            if connection.execute(table.delete().where(table.c.name == name)).rowcount == 0:
                raise Rejected(f"There is no organization {name}: `cloud-bridge organization list`.")

    def organizations(self) -> dict[str, SealKey]:
        """Return the keys by name."""
        with reading(self._engine) as connection:
            return _organizations(connection)

    def tell_homes(self, now: dt.datetime) -> int:
        """Queue what homes are to be told now; return to how many. Each home is one transaction."""
        told, gateway = schema.gateway_recipients, schema.gateway
        with reading(self._engine) as connection:
            if not _organizations(connection) and connection.execute(select(told).limit(1)).first() is None:
                return 0
            names = list(connection.execute(select(gateway.c.name).order_by(gateway.c.name)).scalars())
            due = [name for name in names if _wanted(connection, name, now) is not None]
        return sum(self._tell(name, now) for name in due)

    def _tell(self, gateway: str, now: dt.datetime) -> bool:
        table = schema.gateway_recipients
        with self._engine.begin() as connection:
            message = _wanted(connection, gateway, now)
            if message is None:
                return False
            queue_message(connection, gateway, message, self._sealer, now, LASTS)
            row = {"body": encode(plain(message)), "told_at": now}
            mine = table.c.gateway == gateway
            if connection.execute(table.update().where(mine).values(**row)).rowcount == 0:
                connection.execute(table.insert().values(gateway=gateway, **row))
        return True


def _wanted(connection: Connection, gateway: str, now: dt.datetime) -> Recipients | None:
    """Return what a home is to be told now; None if it knows."""
    person, told, status = schema.person, schema.gateway_recipients, schema.gateway_status
    people = connection.execute(select(person).where(person.c.gateway == gateway)).all()
    given = [(one.pseudonym, consents_of(connection, one.patient)) for one in people]
    wanted = shares(given, _organizations(connection), now)
    last: Any = connection.execute(select(told).where(told.c.gateway == gateway)).one_or_none()
    online = status.c.presence == Presence.ONLINE.value
    came = connection.execute(select(status.c.known_at).where(status.c.gateway == gateway, online)).scalar()
    before = None if last is None else Recipients.model_validate(decode(last.body))
    if not is_due(wanted, before, None if last is None else last.told_at, came, now):
        return None
    return Recipients(shares=wanted, until=now + LASTS)


def _organizations(connection: Connection) -> dict[str, SealKey]:
    table = access_schema.organization
    rows = connection.execute(select(table).order_by(table.c.name))
    return {row.name: SealKey(Kem(row.kem), row.key) for row in rows}
