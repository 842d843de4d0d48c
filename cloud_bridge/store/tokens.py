"""Tokens of programs in SQL: made, found by their hash, revoked; that they were is on the chained record."""

import datetime as dt
from typing import Any, Final

from sqlalchemy import Engine, or_, select, update

from cloud_bridge.access.tokens import Token, digest
from cloud_bridge.store import access_schema
from cloud_bridge.store.accounts import SOMEBODY, note
from cloud_bridge.store.engine import reading
from wire_format.errors import Rejected

USED_EXACT_TO: Final = dt.timedelta(hours=1)
"""Not each request is worth a write."""


class SqlTokens:
    """What is kept of tokens. Every method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, token: Token, text: str, by: str = SOMEBODY) -> None:
        """Keep a new token; raises `Rejected` if there is no such account."""
        values = {
            "id": token.token_id,
            "account": token.account,
            "digest": digest(text),
            "stamp": token.stamp,
            "created_at": token.created_at,
            "expires_at": token.expires_at,
        }
        said = f"token {token.token_id} made, until {token.expires_at:%Y-%m-%d %H:%M} UTC"
        with self._engine.begin() as connection:
            note(connection, token.account, said, by, token.created_at)
            connection.execute(access_schema.api_token.insert().values(**values))

    def revoke(self, token_id: str, now: dt.datetime, by: str = SOMEBODY) -> None:
        """Let a token open nothing from now on; raises `Rejected` if there is none, or it is revoked."""
        table = access_schema.api_token
        mine = (table.c.id == token_id) & table.c.revoked_at.is_(None)
        with self._engine.begin() as connection:
            row = connection.execute(select(table).where(mine)).one_or_none()
            if row is None:
                raise Rejected(f"There is no token {token_id}: `cloud-bridge account tokens` lists them.")
            connection.execute(update(table).where(mine).values(revoked_at=now))
            note(connection, row.account, f"token {token_id} revoked", by, now)

    def tokens(self, account: str | None = None) -> list[Token]:
        """Return the tokens of an account, or all, the newest first."""
        table = access_schema.api_token
        query = select(table).order_by(table.c.created_at.desc(), table.c.id)
        if account is not None:
            query = query.where(table.c.account == account)
        with reading(self._engine) as connection:
            return [_token(row) for row in connection.execute(query)]

    def find(self, text: str) -> Token | None:
        """Return what is kept of a token, whether or not it still holds; None if it is none of ours."""
        table = access_schema.api_token
        with reading(self._engine) as connection:
            row = connection.execute(select(table).where(table.c.digest == digest(text))).one_or_none()
        return None if row is None else _token(row)

    def used(self, token: Token, now: dt.datetime) -> None:
        """Keep that it was used, to the hour."""
        if token.used_at is not None and now - token.used_at < USED_EXACT_TO:
            return
        table = access_schema.api_token
        stale = or_(table.c.used_at.is_(None), table.c.used_at <= now - USED_EXACT_TO)
        with self._engine.begin() as connection:
            connection.execute(update(table).where(table.c.id == token.token_id, stale).values(used_at=now))


def _token(row: Any) -> Token:  # noqa: ANN401 - a row
    return Token(row.id, row.account, row.created_at, row.expires_at, row.stamp, row.revoked_at, row.used_at)
