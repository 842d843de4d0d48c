"""Rows of consents as the model has them, within whatever transaction asks."""

from typing import Any

from sqlalchemy import Connection, select

from cloud_bridge.access.consent import Consent
from cloud_bridge.access.model import DataType
from cloud_bridge.store import access_schema


def consents_of(connection: Connection, patient: str) -> list[Consent]:
    """Return every consent that a patient ever gave, oldest first."""
    table = access_schema.consent
    query = select(table).where(table.c.patient == patient).order_by(table.c.given_at, table.c.id)
    return [consent_of(row) for row in connection.execute(query)]


def consent_of(row: Any) -> Consent:  # noqa: ANN401 - a row
    """Return a row of the consent table."""
    return Consent(
        row.id,
        row.patient,
        row.to,
        DataType(row.data),
        row.text_version,
        row.valid_from,
        row.valid_until,
        row.given_by,
        row.given_at,
        row.withdrawn_by,
        row.withdrawn_at,
    )
