"""Envelopes that homes sealed to an organization, as they are: the hospital passes on what it need not open.

What an envelope tells of is known here, so consent is looked at again when it is passed on, by the fold of
that moment: a reading that turned out to be somebody else's needs that person's consent.
"""

import datetime as dt
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, Select, select

from cloud_bridge.access.consent import DATA_OF, ORGANIZATION, covers
from cloud_bridge.access.model import DataType
from cloud_bridge.store import access_schema, schema
from cloud_bridge.store.consent_holds import Missing, note
from cloud_bridge.store.consents import consents_of
from cloud_bridge.store.engine import reading
from wire_format.envelope import recipients_of
from wire_format.keys import GatewayPublic, SealKey, load_keys
from wire_format.nomenclature import Quantity
from wire_format.receipt import Verdict

EXPORT = "export"
"""The destination that the record names for what was passed on as files."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """One envelope to be passed on: its hash, its bytes, who signed it, and of whom and of what it tells."""

    digest: bytes
    data: bytes
    gateway: str
    of: frozenset[tuple[str, DataType]]


class SqlForwarding:
    """What organizations may be given."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def envelopes(
        self, name: str, key: SealKey, now: dt.datetime, known: Container[str] = ()
    ) -> Iterator[Forwarded]:
        """Yield stored envelopes sealed to a key, whose readings are all consented to now.

        `known` are hashes, in hex, of those that are left out. Looked at are envelopes that brought something
        of somebody who consents to the organization at all: the others need not be read.
        """
        to = f"{ORGANIZATION}{name}"
        table, query = schema.envelope, _candidates(to)
        with reading(self._engine) as connection:
            for digest in connection.execute(query).scalars().all():
                if digest.hex() in known:
                    continue
                row = connection.execute(select(table).where(table.c.digest == digest)).one()
                of = _told_of(connection, digest, to, now) if key.key_id in recipients_of(row.data) else None
                if of:
                    yield Forwarded(digest, row.data, row.gateway, of)

    def gateway(self, name: str) -> GatewayPublic:
        """Return the public keys of a home, by which who is given its envelopes verifies them."""
        table = schema.gateway
        with reading(self._engine) as connection:
            keys = connection.execute(select(table.c["keys"]).where(table.c.name == name)).scalar_one()
        return load_keys(keys, GatewayPublic)

    def passed_on(self, name: str, given: Counter[tuple[str, DataType]], now: dt.datetime) -> None:
        """Put on record what was passed on: one entry for each patient and kind of data."""
        to = f"{ORGANIZATION}{name}"
        with self._engine.begin() as connection:
            for (patient, data), count in sorted(given.items()):
                said = f"{count} envelopes passed on to {to}"
                note(connection, Missing(EXPORT, to, patient, data.value), said, now, allowed=True)


def _candidates(to: str) -> Select[bytes]:
    """Return hashes of envelopes that brought a reading of anybody who has not withdrawn from somebody."""
    table, carried, measurement = schema.envelope, schema.carried, schema.measurement
    consent = access_schema.consent
    willing = select(consent.c.patient).where(consent.c.to == to, consent.c.withdrawn_at.is_(None))
    brought = (
        select(carried.c.envelope)
        .join(measurement, measurement.c.id == carried.c.measurement)
        .where(measurement.c.patient.in_(willing))
    )
    return (
        select(table.c.digest)
        .where(table.c.verdict == Verdict.STORED.value, table.c.digest.in_(brought))
        .order_by(table.c.received_at, table.c.digest)
    )


def _told_of(
    connection: Connection, digest: bytes, to: str, now: dt.datetime
) -> frozenset[tuple[str, DataType]] | None:
    """Return of whom and of what an envelope tells, if all of it is consented to; None otherwise."""
    table, carried = schema.measurement, schema.carried
    query = (
        select(table.c.patient, table.c.quantity)
        .join(carried, carried.c.measurement == table.c.id)
        .where(carried.c.envelope == digest)
        .distinct()
    )
    found = set()
    for patient, quantity in connection.execute(query):
        data = DATA_OF.get(Quantity(quantity))
        if patient is None or data is None or not covers(consents_of(connection, patient), to, data, now):
            return None
        found.add((patient, data))
    return frozenset(found)
