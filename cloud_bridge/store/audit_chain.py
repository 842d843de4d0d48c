"""Appending to the chained record, within the transaction of whoever does what belongs on record."""

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, select

from cloud_bridge.access.audit import BEGINNING, Entry
from cloud_bridge.store import access_schema


def append(connection: Connection, made: Callable[[int, bytes], Entry]) -> Entry:
    """Append the entry that `made` makes of its number and of the hash before it."""
    table = access_schema.audit
    query = select(table).order_by(table.c.number.desc()).limit(1).with_for_update()
    last = connection.execute(query).one_or_none()
    one = made(1, BEGINNING) if last is None else made(last.number + 1, last.digest)
    connection.execute(table.insert().values(**_columns(one)))
    return one


def _columns(one: Entry) -> dict[str, Any]:
    return {
        "number": one.number,
        "at": one.at,
        "account": one.account,
        "role": one.role,
        "action": one.action.value,
        "patient": one.patient,
        "data": None if one.data is None else one.data.value,
        "allowed": one.allowed,
        "policies": json.dumps(one.policies),
        "reason": one.reason,
        "before": one.before,
        "digest": one.digest,
    }
