"""Texts of consents, within whatever transaction asks: kept by their hash once a consent names them.

Only rows are added, never changed or deleted: what a patient agreed to is there as long as the record is.
"""

import datetime as dt
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, Table, select

from cloud_bridge.access.texts import Text, Wording, digest_of, wordings
from cloud_bridge.store import access_schema
from wire_format.errors import Rejected


def keep(connection: Connection, texts: Iterable[Text], now: dt.datetime) -> None:
    """Keep texts by the hash of their bytes; those that are there stay as they are."""
    for one in texts:
        digest = bytes.fromhex(one.wording.digest)
        _add(connection, access_schema.consent_text, digest=digest, content=one.content, kept_at=now)


def name(
    connection: Connection, version: str, texts: Collection[Text], now: dt.datetime
) -> tuple[Wording, ...]:
    """Keep the site's texts of a version as those that consents name; return what a consent keeps of them.

    Raises `Rejected` if consents named the version when its text was another one.
    """
    keep(connection, texts, now)
    table = access_schema.consent_version
    for one in texts:
        digest = bytes.fromhex(one.wording.digest)
        _add(connection, table, version=version, language=one.language, digest=digest, named_at=now)
    other = changed(connection, version, texts)
    if other:
        raise Rejected(
            f"The text of the version {version!r} ({', '.join(other)}) is not the one that patients agreed "
            "to under this name, and that is never changed: nothing was recorded. Put the old text back, and "
            "write the new one as a new version."
        )
    return wordings(texts)


def changed(connection: Connection, version: str, texts: Iterable[Text]) -> list[str]:
    """Return the languages in which a version is not what it was when a consent named it."""
    table = access_schema.consent_version
    rows = connection.execute(select(table.c.language, table.c.digest).where(table.c.version == version))
    named = {language: digest.hex() for language, digest in rows}
    return [
        one.language for one in texts if named.get(one.language, one.wording.digest) != one.wording.digest
    ]


def contents(connection: Connection, digests: Iterable[str]) -> dict[str, bytes]:
    """Return the bytes of what is kept by hash; without what is not kept, or not as it was."""
    table = access_schema.consent_text
    asked = {bytes.fromhex(one) for one in digests}
    rows = connection.execute(select(table.c.digest, table.c.content).where(table.c.digest.in_(asked)))
    return {digest.hex(): content for digest, content in rows if digest_of(content) == digest.hex()}


def _add(connection: Connection, table: Table, **values: Any) -> None:  # noqa: ANN401 - columns
    """Add a row unless there is one of its key: one transaction writes at a time, so nobody else adds it."""
    keys = list(table.primary_key.columns)
    there = select(keys[0]).where(*(column == values[column.name] for column in keys))
    if connection.execute(there).first() is None:
        connection.execute(table.insert().values(**values))
