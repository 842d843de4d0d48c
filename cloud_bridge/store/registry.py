"""The registry in SQL: gateways, patients, and which pseudonym of which home is whose."""

import datetime as dt
import json

from sqlalchemy import Connection, Engine, select, update

from cloud_bridge.connectors.base import CareContext
from cloud_bridge.store import rows, schema
from cloud_bridge.store.base import EnrolledGateway
from cloud_bridge.store.engine import reading
from cloud_bridge.store.intake import look_again
from wire_format.errors import Rejected
from wire_format.keys import GatewayPublic, dump_keys, load_keys


class SqlRegistry:
    """See `Registry`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def enrol_gateway(self, enrolled: EnrolledGateway, now: dt.datetime) -> None:
        """Add a gateway, or renew its keys; its downlink sequence goes on."""
        values = {
            "site": enrolled.site,
            "keys": dump_keys(enrolled.keys),
            "system_id": enrolled.system_id,
            "enrolled_at": now,
        }
        table = schema.gateway
        with self._engine.begin() as connection:
            renewed = connection.execute(update(table).where(table.c.name == enrolled.name).values(**values))
            if renewed.rowcount == 0:
                connection.execute(table.insert().values(name=enrolled.name, downlink_sequence=0, **values))

    def enrol_person(self, gateway: str, pseudonym: str, patient: str, care: CareContext) -> None:
        """Say whose pseudonym it is. What came of it before is looked at again.

        Raises `Rejected` if it is another patient's already, or the gateway's home is not enrolled.
        """
        table, home = schema.person, schema.gateway
        with self._engine.begin() as connection:
            if connection.execute(select(home.c.name).where(home.c.name == gateway)).first() is None:
                raise Rejected(f"Nobody knows the gateway {gateway}: enrol the gateway before its people.")
            _save_patient(connection, patient, care)
            known = connection.execute(
                select(table.c.patient).where(table.c.gateway == gateway, table.c.pseudonym == pseudonym)
            ).scalar_one_or_none()
            if known is None:
                connection.execute(
                    table.insert().values(gateway=gateway, pseudonym=pseudonym, patient=patient)
                )
                look_again(connection, gateway)
            elif known != patient:
                raise Rejected(
                    f"The pseudonym {pseudonym} of the gateway {gateway} is another patient's: "
                    "give this patient a pseudonym of their own."
                )

    def gateway(self, name: str) -> EnrolledGateway | None:
        """Return a gateway, None if it is not enrolled."""
        with reading(self._engine) as connection:
            row = connection.execute(
                select(schema.gateway).where(schema.gateway.c.name == name)
            ).one_or_none()
        if row is None:
            return None
        return EnrolledGateway(row.name, row.site, load_keys(row.keys, GatewayPublic), row.system_id)


def _save_patient(connection: Connection, patient: str, care: CareContext) -> None:
    table, values = schema.patient, rows.care_columns(care)
    renewed = connection.execute(update(table).where(table.c.id == patient).values(**values))
    if renewed.rowcount == 0:
        connection.execute(table.insert().values(id=patient, settings=json.dumps({}), **values))
