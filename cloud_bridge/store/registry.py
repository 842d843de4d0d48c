"""The registry in SQL: gateways, patients, and which pseudonym of which home is whose."""

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import Connection, Engine, select, update

from cloud_bridge.connectors.base import CareContext, Identifier
from cloud_bridge.rules.base import Setting
from cloud_bridge.store import rows, schema
from cloud_bridge.store.base import EnrolledGateway, Stated
from cloud_bridge.store.engine import reading
from cloud_bridge.store.intake import look_again
from cloud_bridge.store.judging import AT_ONCE, set_timer
from wire_format.errors import Rejected
from wire_format.identity import derived_id
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

    def enrol_person(
        self, gateway: str, pseudonym: str, patient: str, care: CareContext, zone: str | None = None
    ) -> None:
        """Say whose pseudonym it is. What came of it before is looked at again.

        Raises `Rejected` if it is another patient's already, or the gateway's home is not enrolled.
        """
        table, home = schema.person, schema.gateway
        with self._engine.begin() as connection:
            if connection.execute(select(home.c.name).where(home.c.name == gateway)).first() is None:
                raise Rejected(f"Nobody knows the gateway {gateway}: enrol the gateway before its people.")
            save_patient(connection, patient, care, zone)
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

    def join(self, patient: str, programmes: Sequence[str], stated: Stated) -> None:
        """Say in which programmes a patient is; others end. The patient is judged again at once."""
        with self._engine.begin() as connection:
            _must_exist(connection, patient)
            now_in = [m.programme for m in rows.memberships(connection, patient)]
            if now_in == list(programmes):
                return
            places = {name: (place, True) for place, name in enumerate(programmes)}
            for name, (place, active) in (dict.fromkeys(now_in, (0, False)) | places).items():
                if active and name in now_in and now_in.index(name) == place:
                    continue  # since when it is so stays as it was said
                state_membership(connection, patient, name, stated, place=place, active=active)
            set_timer(connection, patient, AT_ONCE)

    def agree(self, patient: str, rule: str, parameter: str, value: str, stated: Stated) -> bool:
        """Say a patient's own value of a parameter; judged again at once. False if that was so already."""
        with self._engine.begin() as connection:
            _must_exist(connection, patient)
            return state_value(connection, patient, (rule, parameter, value), stated)

    def own_parameters(self) -> list[Setting]:
        """Return every patient's own values that hold."""
        with reading(self._engine) as connection:
            patients = connection.execute(select(schema.setting.c.patient).distinct()).scalars().all()
            own = [rows.settings(connection, patient, "UTC") for patient in patients]
        return [one for s in own for rule in {x.rule for x in s.own} for one in s.of_rule(rule).values()]

    def gateway(self, name: str) -> EnrolledGateway | None:
        """Return a gateway, None if it is not enrolled."""
        with reading(self._engine) as connection:
            row = connection.execute(
                select(schema.gateway).where(schema.gateway.c.name == name)
            ).one_or_none()
        if row is None:
            return None
        return EnrolledGateway(row.name, row.site, load_keys(row.keys, GatewayPublic), row.system_id)


def state_membership(  # noqa: PLR0913 - what a statement says
    connection: Connection, patient: str, programme: str, stated: Stated, *, place: int, active: bool
) -> None:
    """Say that a patient is in a programme, or no longer."""
    row = {"patient": patient, "programme": programme, "place": place, "active": active}
    identity = derived_id("membership", *row.values(), stated.at)
    connection.execute(schema.membership.insert().values(id=identity, **row, **_said(stated)))


def state_value(connection: Connection, patient: str, own: tuple[str, str, str], stated: Stated) -> bool:
    """Say a patient's own value (rule, parameter, JSON); judged again at once. False if it was so."""
    rule, parameter, value = own
    known = rows.settings(connection, patient, "UTC").of_rule(rule).get(parameter)
    if known is not None and (known.value, known.author, known.reason) == (
        value,
        stated.author,
        stated.reason,
    ):
        return False
    row = {"patient": patient, "rule": rule, "parameter": parameter, "value": value}
    identity = derived_id("setting", *row.values(), stated.author, stated.reason, stated.at)
    connection.execute(schema.setting.insert().values(id=identity, **row, **_said(stated)))
    set_timer(connection, patient, AT_ONCE)
    return True


def save_patient(connection: Connection, patient: str, care: CareContext, zone: str | None) -> None:
    """Add or renew a patient. Raises `Rejected` if their number is another one's: they would be two."""
    table, values = schema.patient, {**rows.care_columns(care), "zone": zone}
    renewed = connection.execute(update(table).where(table.c.id == patient).values(**values))
    if renewed.rowcount == 0:
        other = patient_known_as(connection, care.patient)
        if other is not None:
            raise Rejected(
                f"The patient's identifier is known here already, as {other}'s: write patient = \"{other}\"."
            )
        connection.execute(table.insert().values(id=patient, **values))


def patient_known_as(connection: Connection, who: Identifier) -> str | None:
    """Return whose identifier it is; None if it is nobody's."""
    table = schema.patient
    query = select(table.c.id).where(table.c.system == who.system, table.c.value == who.value)
    return connection.execute(query.order_by(table.c.id).limit(1)).scalar_one_or_none()


def _said(stated: Stated) -> dict[str, object]:
    return {
        "author": stated.author,
        "reason": stated.reason,
        "stated_at": stated.at,
        "origin": stated.origin,
    }


def _must_exist(connection: Connection, patient: str) -> None:
    query = select(schema.patient.c.id).where(schema.patient.c.id == patient)
    if connection.execute(query).first() is None:
        raise Rejected(f"Nobody knows the patient {patient}: enrol the patient first.")
