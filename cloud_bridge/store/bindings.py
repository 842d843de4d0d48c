"""Which of a provider's subjects is which account: each subject one account, each account one subject."""

import datetime as dt
from typing import Any, Final

from sqlalchemy import Connection, delete, select
from sqlalchemy.exc import IntegrityError

from cloud_bridge.access.oidc import Identity, NotSignedIn, Why
from cloud_bridge.store import access_schema
from wire_format.errors import Rejected

FIRST_SIGN_IN: Final = "first sign-in"
_account, _bound = access_schema.account, access_schema.account_subject


def account_of(connection: Connection, who: Identity, now: dt.datetime) -> Any:  # noqa: ANN401 - a row
    """Return the row of the account that somebody is; bind it if this is its first sign-in.

    A subject that is bound is that account whatever its name claim says now. One that is not finds, by that
    claim, only an active account to which nobody of this provider is bound. Raises `NotSignedIn`.
    """
    mine = (_bound.c.issuer == who.issuer) & (_bound.c.subject == who.subject)
    name = connection.execute(select(_bound.c.account).where(mine)).scalar_one_or_none()
    row = _row(connection, name or who.name)
    if row is not None and not row.active:
        off = "The account is switched off: `cloud-bridge account enable`."
        raise NotSignedIn(Why.INACTIVE, off, account=row.name)
    if row is None or (name is None and _taken(connection, who.issuer, row.name)):
        raise NotSignedIn(
            Why.UNKNOWN, "No account is bound to this subject: `cloud-bridge account bind`.", who.subject
        )
    if name is None:
        _insert(connection, who, row.name, FIRST_SIGN_IN, now)
    return row


def bind(connection: Connection, who: Identity, name: str, by: str, now: dt.datetime) -> None:
    """Bind a subject to an account; raises `Rejected` if there is no account, or one of them is bound."""
    if _row(connection, name) is None:
        raise Rejected(f"There is no account {name}: `cloud-bridge account list` shows them.")
    try:
        _insert(connection, who, name, by, now)
    except IntegrityError as error:
        raise Rejected(
            f"The account {name}, or this subject, is bound already: `cloud-bridge account unbind` first."
        ) from error


def unbind(connection: Connection, name: str) -> int:
    """Forget whom an account is bound to; return how many subjects that were."""
    return connection.execute(delete(_bound).where(_bound.c.account == name)).rowcount


def bound(connection: Connection, name: str | None = None) -> list[Any]:
    """Return what is bound, of one account or of all, in a fixed order."""
    query = select(_bound).order_by(_bound.c.account, _bound.c.issuer)
    return list(connection.execute(query if name is None else query.where(_bound.c.account == name)))


def _row(connection: Connection, name: str | None) -> Any:  # noqa: ANN401 - a row
    return connection.execute(select(_account).where(_account.c.name == name).with_for_update()).one_or_none()


def _taken(connection: Connection, issuer: str, name: str) -> bool:
    query = select(_bound.c.subject).where(_bound.c.issuer == issuer, _bound.c.account == name)
    return connection.execute(query).first() is not None


def _insert(connection: Connection, who: Identity, name: str, by: str, now: dt.datetime) -> None:
    values = {"issuer": who.issuer, "subject": who.subject, "account": name, "bound_by": by, "bound_at": now}
    connection.execute(_bound.insert().values(**values))
