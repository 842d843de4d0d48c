"""Accounts with their credentials in SQL. What is done to them is on the chained record, with who did it."""

import datetime as dt
import hashlib
import json
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import IntegrityError

from cloud_bridge.access.audit import managed
from cloud_bridge.access.model import Account, Role
from cloud_bridge.access.oidc import Identity
from cloud_bridge.access.passwords import Credentials, sign_in
from cloud_bridge.store import access_schema, bindings
from cloud_bridge.store.audit_chain import append
from cloud_bridge.store.engine import reading
from wire_format.errors import Rejected

SOMEBODY: Final = "command line"
"""Who did it, where a command does not know who typed it."""


class SqlAccounts:
    """What is kept of accounts. Every method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add_account(
        self, account: Account, credentials: Credentials, now: dt.datetime, by: str = SOMEBODY
    ) -> None:
        """Add an account; raises `Rejected` if the name is taken."""
        values = {**_account_columns(account), **asdict(credentials), "created_at": now}
        try:
            with self._engine.begin() as connection:
                connection.execute(access_schema.account.insert().values(name=account.name, **values))
                said = f"added as {account.role} of {account.organization}"
                note(connection, account.name, f"{said}{_for(account)}", by, now)
        except IntegrityError as error:
            raise Rejected(f"There is an account {account.name} already: choose another name.") from error

    def account(self, name: str) -> Account | None:
        """Return an account; None if there is none."""
        row = self._row(name)
        return None if row is None else _account(row)

    def accounts(self) -> list[Account]:
        """Return every account by name."""
        table = access_schema.account
        with reading(self._engine) as connection:
            return [_account(row) for row in connection.execute(select(table).order_by(table.c.name))]

    def set_active(self, name: str, *, active: bool, now: dt.datetime, by: str = SOMEBODY) -> None:
        """Switch an account on or off; raises `Rejected` if there is none."""
        self._change(name, {"active": active}, "switched on" if active else "switched off", by, now)

    def set_credentials(
        self, name: str, credentials: Credentials, now: dt.datetime, by: str = SOMEBODY
    ) -> None:
        """Give an account a new password and a new second factor; raises `Rejected` if there is none."""
        self._change(name, asdict(credentials), "new password and second factor", by, now)

    def sign_in(self, name: str, password: str, code: str, now: dt.datetime) -> Account | None:
        """Return whose account it is, if password and code are right and it is active; None otherwise.

        The attempt is counted in the same transaction: two at once do not make two guesses one.
        """
        table = access_schema.account
        with self._engine.begin() as connection:
            query = select(table).where(table.c.name == name).with_for_update()
            row = connection.execute(query).one_or_none()
            inside, after = sign_in(None if row is None else _credentials(row), password, code, now)
            if after is not None:
                connection.execute(update(table).where(table.c.name == name).values(**asdict(after)))
        return _account(row) if inside and row is not None and row.active else None

    def stamp(self, name: str) -> str:
        """Return what changes with an account's credentials and its bindings; empty if there is none."""
        row = self._row(name)
        if row is None:
            return ""
        with reading(self._engine) as connection:
            known = [(one.issuer, one.subject) for one in bindings.bound(connection, name)]
        return hashlib.sha256(json.dumps([row.password_hash, known]).encode()).hexdigest()

    def vouched(self, who: Identity, now: dt.datetime) -> Account:
        """Return whose account it is that a provider vouches for. Raises `NotSignedIn`; see `bindings`."""
        with self._engine.begin() as connection:
            return _account(bindings.account_of(connection, who, now))

    def bind(self, name: str, who: Identity, by: str, now: dt.datetime) -> None:
        """Bind a provider's subject to an account; raises `Rejected` if either is bound, or there is none."""
        with self._engine.begin() as connection:
            bindings.bind(connection, who, name, by, now)
            note(connection, name, f"bound to a subject of {who.issuer}", by, now)

    def unbind(self, name: str, now: dt.datetime, by: str = SOMEBODY) -> int:
        """Forget whom an account is bound to, and end what was signed in; return how many that were."""
        with self._engine.begin() as connection:
            count = bindings.unbind(connection, name)
            if count:
                note(connection, name, f"unbound from {count} of the provider's subjects", by, now)
        return count

    def bound(self) -> dict[str, list[dict[str, str]]]:
        """Return by account whom it is bound to, by what and when."""
        found: dict[str, list[dict[str, str]]] = {}
        with reading(self._engine) as connection:
            for one in bindings.bound(connection):
                said = {"issuer": one.issuer, "subject": one.subject, "by": one.bound_by}
                found.setdefault(one.account, []).append({**said, "at": one.bound_at.isoformat()})
        return found

    def _row(self, name: str) -> Any:  # noqa: ANN401 - a row
        table = access_schema.account
        with reading(self._engine) as connection:
            return connection.execute(select(table).where(table.c.name == name)).one_or_none()

    def _change(self, name: str, values: dict[str, Any], said: str, by: str, now: dt.datetime) -> None:
        table = access_schema.account
        with self._engine.begin() as connection:
            connection.execute(update(table).where(table.c.name == name).values(**values))
            note(connection, name, said, by, now)


def note(connection: Connection, name: str, said: str, by: str, now: dt.datetime) -> None:
    """Put on record what was done to an account, or to a token of it; raises `Rejected` if there is none."""
    table = access_schema.account
    role = connection.execute(select(table.c.role).where(table.c.name == name)).scalar_one_or_none()
    if role is None:
        raise Rejected(f"There is no account {name}: `cloud-bridge account list` shows them.")
    append(connection, lambda number, before: managed(number, before, now, (name, role), f"{said}, by {by}"))


def _for(account: Account) -> str:
    """Return how many people an account speaks for, in words; who they are is no matter of this record."""
    return f", speaks for {len(account.patients)}" if account.patients else ""


def _account_columns(account: Account) -> dict[str, Any]:
    return {
        "role": account.role.value,
        "organization": account.organization,
        "patients": json.dumps(sorted(account.patients)),
        "active": account.active,
    }


def _account(row: Any) -> Account:  # noqa: ANN401 - a row
    patients = frozenset(json.loads(row.patients))
    return Account(row.name, Role(row.role), row.organization, row.active, patients)


def _credentials(row: Any) -> Credentials:  # noqa: ANN401 - a row
    return Credentials(row.password_hash, row.secret, row.last_step, row.failures, row.locked_until)
