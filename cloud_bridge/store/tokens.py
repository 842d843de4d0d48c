"""Tokens of programs in SQL: made, found by their hash, revoked; that they were is on the chained record."""

import datetime as dt
from typing import Any, Final

from sqlalchemy import Connection, Engine, or_, select, update

from cloud_bridge.access.audit import Entry
from cloud_bridge.access.model import Action
from cloud_bridge.access.tokens import Token, digest
from cloud_bridge.store import access_schema
from cloud_bridge.store.audit_chain import append
from cloud_bridge.store.engine import reading
from wire_format.errors import Rejected

USED_EXACT_TO: Final = dt.timedelta(hours=1)
"""Not each request is worth a write."""
_COMMAND_LINE: Final = ("command-line",)


class SqlTokens:
    """What is kept of tokens. Every method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, token: Token, text: str) -> None:
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
            role = _role(connection, token.account)
            connection.execute(access_schema.api_token.insert().values(**values))
            _note(connection, token.account, role, said, token.created_at)

    def revoke(self, token_id: str, now: dt.datetime) -> None:
        """Let a token open nothing from now on; raises `Rejected` if there is none, or it is revoked."""
        table = access_schema.api_token
        mine = (table.c.id == token_id) & table.c.revoked_at.is_(None)
        with self._engine.begin() as connection:
            row = connection.execute(select(table).where(mine)).one_or_none()
            if row is None:
                raise Rejected(f"There is no token {token_id}: `cloud-bridge account tokens` lists them.")
            connection.execute(update(table).where(mine).values(revoked_at=now))
            _note(connection, row.account, _role(connection, row.account), f"token {token_id} revoked", now)

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


def _role(connection: Connection, account: str) -> str:
    table = access_schema.account
    role: str | None = connection.execute(
        select(table.c.role).where(table.c.name == account)
    ).scalar_one_or_none()
    if role is None:
        raise Rejected(f"There is no account {account}: `cloud-bridge account list` shows them.")
    return role


def _note(connection: Connection, account: str, role: str, said: str, at: dt.datetime) -> None:
    def made(number: int, before: bytes) -> Entry:
        return Entry(
            number,
            at,
            account,
            role,
            Action.MANAGE_ACCOUNTS,
            None,
            None,
            allowed=True,
            policies=_COMMAND_LINE,
            reason=said,
            before=before,
        )

    append(connection, made)


def _token(row: Any) -> Token:  # noqa: ANN401 - a row
    return Token(row.id, row.account, row.created_at, row.expires_at, row.stamp, row.revoked_at, row.used_at)
