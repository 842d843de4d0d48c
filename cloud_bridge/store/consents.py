"""Rows of consents, within whatever transaction asks: as the model has them, and as others stated them."""

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, and_, or_, select, update

from cloud_bridge.access.consent import Consent
from cloud_bridge.access.model import DataType, Subject
from cloud_bridge.access.texts import Text, Wording
from cloud_bridge.store import access_schema, consent_texts, schema
from wire_format.errors import Rejected

AT_A_TIME: Final = 500


def consents_of(connection: Connection, patient: str) -> list[Consent]:
    """Return every consent that a patient ever gave, oldest first."""
    table = access_schema.consent
    query = select(table).where(table.c.patient == patient).order_by(table.c.given_at, table.c.id)
    return [_consent(row) for row in connection.execute(query)]


def subjects_of(connection: Connection, patients: Collection[str], now: dt.datetime) -> dict[str, Subject]:
    """Return what decisions about some patients stand on at a moment; see `Consent.holds`."""
    table, consent, asked = schema.patient, access_schema.consent, list(patients)
    team: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
    holds: dict[str, set[str]] = defaultdict(set)
    whose = (table.c.id, table.c.nurse_value, table.c.physician_value, table.c.organization_value)
    until = (consent.c.valid_until, consent.c.withdrawn_at)
    valid = and_(consent.c.valid_from <= now, *(or_(one.is_(None), one > now) for one in until))
    for start in range(0, len(asked), AT_A_TIME):
        some = asked[start : start + AT_A_TIME]
        known = connection.execute(select(*whose).where(table.c.id.in_(some))).all()
        for patient, nurse, physician, organization in known:
            team[patient] = frozenset({nurse, physician}), frozenset({organization})
        query = select(consent.c.patient, consent.c.to, consent.c.data)
        given = connection.execute(query.where(consent.c.patient.in_(some), valid)).all()
        for patient, to, data in given:
            holds[patient].add(f"{to}:{data}")
    return {
        one: Subject(one, *team[one], frozenset(holds[one])) if one in team else Subject(one) for one in asked
    }


def insert(connection: Connection, one: Consent, texts: Collection[Text], now: dt.datetime) -> None:
    """Add a consent, and keep the texts that it names."""
    consent_texts.keep(connection, texts, now)
    connection.execute(access_schema.consent.insert().values(**_columns(one)))


def take(
    connection: Connection, one: Consent, texts: Sequence[Text], *, void: bool, now: dt.datetime
) -> tuple[str, bool]:
    """Keep a consent as it was stated elsewhere, with those of its texts that are not kept yet.

    Return what that was (given, withdrawn, or known), and whether a consent is kept now without a text.
    A consent is never overwritten: only its withdrawal is added, and stays. A text that comes later is not
    added: nobody could say any more that it is what was agreed to. `void` says that there is no consent.
    Raises `Rejected` if one of its id says something else.
    """
    table = access_schema.consent
    row = connection.execute(select(table).where(table.c.id == one.consent_id)).one_or_none()
    if row is None:
        if void:
            return "known", False
        insert(connection, one, texts, now)
        return "given" if one.withdrawn_at is None else "withdrawn", not one.texts
    kept = _consent(row)
    other = kept.texts and one.texts and kept.texts != one.texts
    if other or _said(kept) != _said(one):
        raise Rejected(
            f"The consent {one.consent_id} is kept here with other words, and a consent is never changed: "
            "withdraw it, and state the new one under an identifier of its own."
        )
    if kept.withdrawn_at is not None or one.withdrawn_at is None:
        return "known", not kept.texts
    ended = {"withdrawn_at": min(one.withdrawn_at, now), "withdrawn_by": one.withdrawn_by}
    connection.execute(update(table).where(table.c.id == one.consent_id).values(**ended))
    return "withdrawn", not kept.texts


def _said(one: Consent) -> tuple[object, ...]:
    return (one.patient, one.to, one.data, one.text_version, one.valid_from, one.valid_until, one.given_at)


def _columns(one: Consent) -> dict[str, Any]:
    return {
        "id": one.consent_id,
        "patient": one.patient,
        "to": one.to,
        "data": one.data.value,
        "text_version": one.text_version,
        "valid_from": one.valid_from,
        "valid_until": one.valid_until,
        "given_by": one.given_by,
        "given_at": one.given_at,
        "withdrawn_by": one.withdrawn_by,
        "withdrawn_at": one.withdrawn_at,
        "texts": json.dumps([asdict(text) for text in one.texts]) if one.texts else None,
    }


def _consent(row: Any) -> Consent:  # noqa: ANN401 - a row
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
        tuple(Wording(**one) for one in json.loads(row.texts or "[]")),
    )
