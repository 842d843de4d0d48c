"""The tables of one outbox file, and how SQLite must be opened so that a commit is on the card.

WAL with synchronous=FULL: with less, a power cut lost acknowledged rows in every trial; with FULL none.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from wire_format.errors import KitelineError, Misconfigured, Unreachable

VERSION: Final = 1

_TABLES: Final = """
CREATE TABLE chain (           -- envelopes of one outbox_id; the one with the highest number is appended to
    number INTEGER PRIMARY KEY,
    outbox_id BLOB NOT NULL UNIQUE,
    last_sequence INTEGER NOT NULL,
    last_digest BLOB NOT NULL
) STRICT;
CREATE TABLE envelope (        -- verdict NULL: no receipt; only settled_at NULL: settled at an unknown time
    chain INTEGER NOT NULL REFERENCES chain (number),
    sequence INTEGER NOT NULL,
    digest BLOB NOT NULL,
    data BLOB NOT NULL,
    verdict TEXT,
    settled_at INTEGER,
    PRIMARY KEY (chain, sequence)
) STRICT;
CREATE INDEX unsettled ON envelope (chain, sequence) WHERE verdict IS NULL;
CREATE TABLE fingerprint (     -- what was sealed already: the same again from a device is not sealed again
    number INTEGER PRIMARY KEY,
    item_id BLOB NOT NULL,
    content BLOB NOT NULL,
    UNIQUE (item_id, content)
) STRICT;
CREATE TABLE cursor (device_id BLOB PRIMARY KEY, sequence INTEGER NOT NULL, count INTEGER NOT NULL) STRICT;
CREATE TABLE visit (last INTEGER NOT NULL) STRICT;
CREATE TABLE anchor (boot_id BLOB PRIMARY KEY) STRICT;   -- boots whose clock anchor was sealed
CREATE TABLE heard (           -- messages of the hospital, by their sequence
    sequence INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;
"""


class OutboxFull(Unreachable):
    """There is no room. Nothing was overwritten; visit devices again when the line has drained."""


class OutboxPoisoned(KitelineError):  # noqa: N818 - the name says what is true
    """The card failed under this file: what it says from now on is not believed. Begin a new file."""


_FULL: Final = {sqlite3.SQLITE_FULL}
_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CARD: Final = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
}


def translated(error: sqlite3.Error, path: Path) -> Exception:
    """Return our error for one of SQLite's, named by what is to be done; a bug stays itself."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _FULL:
        return OutboxFull(f"The card is full under {path}: free space, or let the line drain.")
    if code in _BUSY:
        return Unreachable(f"Another process holds {path}: run only one agent per outbox.")
    if code in _CARD:
        return OutboxPoisoned(f"The card failed under {path} ({error}).")
    return error


def connect(path: Path, first_visit: int) -> sqlite3.Connection:
    """Open an outbox file, making it if it is not there; visits of a new one count from `first_visit`.

    Raises `OutboxPoisoned` for a file that is damaged, `Misconfigured` for one of another version.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, timeout=1)
    except (OSError, sqlite3.Error) as error:
        raise OutboxPoisoned(f"The outbox {path} cannot be opened ({error}).") from error
    try:
        _prepare(connection, path, first_visit)
    except (sqlite3.Error, KitelineError) as error:
        with suppress(sqlite3.Error):
            connection.close()
        raise translated(error, path) if isinstance(error, sqlite3.Error) else error from error
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, first_visit: int) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        script = f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version = {VERSION};"
        connection.executescript(script)
        connection.execute("INSERT INTO visit VALUES (?)", (first_visit,))
        connection.execute("COMMIT")
    elif version != VERSION:
        raise Misconfigured(
            f"{path} is an outbox of version {version}, this agent reads {VERSION}: install a matching one."
        )
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise OutboxPoisoned(f"The outbox {path} is damaged ({answer}).")
