"""One outbox file: the chains of envelopes, and what must change in the same transaction as they do."""

import datetime as dt
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from edge_agent.outbox_schema import OutboxPoisoned, connect, translated
from edge_agent.steps import Step, StepObserver
from wire_format.envelope import FIRST_PREVIOUS, EnvelopeHeader, Sealed, digest_of
from wire_format.receipt import SettledRange, range_digest

MAX_FINGERPRINTS: Final = 100_000
MAX_HEARD: Final = 10_000

Seal = Callable[[EnvelopeHeader], Sealed]
"""Seals one prepared payload under the header that the outbox gives it."""


@dataclass(frozen=True, slots=True, order=True)
class EnvelopeKey:
    """Where an envelope is: it never changes and is never used twice."""

    outbox_id: UUID
    sequence: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What was sealed: the id of an item and the hash of what the device said."""

    item_id: UUID
    content: bytes


@dataclass(frozen=True, slots=True)
class Advance:
    """How far a device's own records are fetched once the commit stands."""

    device_id: UUID
    sequence: int
    count: int


@dataclass(frozen=True, slots=True)
class Commit:
    """What one transaction adds: envelopes, in order, and what follows from them."""

    gateway: str
    sent_at: dt.datetime
    seals: Sequence[Seal]
    fingerprints: Sequence[Fingerprint] = ()
    advance: Advance | None = None
    anchored: UUID | None = None


class OutboxFile:
    """An open file. Any failure of the card poisons it: it is read from then on, and not written."""

    def __init__(self, path: Path, first_visit: int, observer: StepObserver) -> None:
        self.path = path
        self.poisoned = False
        self._observer = observer
        self._db = connect(path, first_visit)
        # Settled by a receipt when the file could no longer be written: published again after a restart.
        self._aside: set[tuple[int, int]] = set()

    def close(self) -> None:
        """Close the file."""
        with suppress(sqlite3.Error):
            self._db.close()

    # --- chains ---

    def chains(self) -> list[UUID]:
        """Return the outbox ids of this file, oldest first."""
        return [UUID(bytes=row[0]) for row in self._rows("SELECT outbox_id FROM chain ORDER BY number")]

    def begin_chain(self, outbox_id: UUID) -> None:
        """Append to a new chain from now on."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO chain (outbox_id, last_sequence, last_digest) VALUES (?, 0, ?)",
                (outbox_id.bytes, FIRST_PREVIOUS),
            )

    # --- appending ---

    def append(self, commit: Commit) -> list[EnvelopeKey]:
        """Seal and store everything of `commit` in one transaction; durable when this returns.

        Raises `OutboxFull` or `OutboxPoisoned`; then nothing of it stands.
        """
        with self._transaction():
            keys = [self._append_one(commit, seal) for seal in commit.seals]
            self._remember(commit)
            self._observer(Step.OUTBOX_WRITTEN, {"envelopes": len(keys)})
        for key in keys:
            self._observer(Step.OUTBOX_COMMITTED, {"outbox_id": key.outbox_id, "sequence": key.sequence})
        return keys

    def _append_one(self, commit: Commit, seal: Seal) -> EnvelopeKey:
        number, raw_id, last, previous = self._db.execute(
            "SELECT number, outbox_id, last_sequence, last_digest FROM chain ORDER BY number DESC LIMIT 1"
        ).fetchone()
        key = EnvelopeKey(UUID(bytes=raw_id), last + 1)
        header = EnvelopeHeader(commit.gateway, key.outbox_id, key.sequence, commit.sent_at, previous)
        sealed = seal(header)
        self._observer(Step.SEALED, {"outbox_id": key.outbox_id, "sequence": key.sequence})
        self._db.execute(
            "INSERT INTO envelope (chain, sequence, digest, data) VALUES (?, ?, ?, ?)",
            (number, key.sequence, sealed.digest, sealed.data),
        )
        self._db.execute(
            "UPDATE chain SET last_sequence = ?, last_digest = ? WHERE number = ?",
            (key.sequence, sealed.digest, number),
        )
        return key

    def _remember(self, commit: Commit) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO fingerprint (item_id, content) VALUES (?, ?)",
            [(f.item_id.bytes, f.content) for f in commit.fingerprints],
        )
        self._db.execute(
            "DELETE FROM fingerprint WHERE number <= (SELECT max(number) FROM fingerprint) - ?",
            (MAX_FINGERPRINTS,),
        )
        if (to := commit.advance) is not None:
            self._db.execute(
                "INSERT OR REPLACE INTO cursor VALUES (?, ?, ?)", (to.device_id.bytes, to.sequence, to.count)
            )
        if commit.anchored is not None:
            self._db.execute("INSERT OR IGNORE INTO anchor VALUES (?)", (commit.anchored.bytes,))

    def take_visit_number(self) -> int:
        """Return the next number, durable before it is used: it never repeats."""
        with self._transaction():
            number: int = self._db.execute("UPDATE visit SET last = last + 1 RETURNING last").fetchone()[0]
        return number

    # --- what is known ---

    def has_fingerprint(self, fingerprint: Fingerprint) -> bool:
        """Tell whether this was sealed already."""
        return bool(
            self._rows(
                "SELECT 1 FROM fingerprint WHERE item_id = ? AND content = ?",
                (fingerprint.item_id.bytes, fingerprint.content),
            )
        )

    def advance_of(self, device_id: UUID) -> Advance | None:
        """Return how far a device's records are fetched."""
        rows = self._rows("SELECT sequence, count FROM cursor WHERE device_id = ?", (device_id.bytes,))
        return Advance(device_id, *rows[0]) if rows else None

    def is_anchored(self, boot_id: UUID) -> bool:
        """Tell whether the clock anchor of a boot was sealed."""
        return bool(self._rows("SELECT 1 FROM anchor WHERE boot_id = ?", (boot_id.bytes,)))

    # --- reading ---

    def unsettled(self, limit: int) -> list[EnvelopeKey]:
        """Return the oldest envelopes without a receipt, in order; `limit` -1 for all."""
        rows = self._rows(
            "SELECT chain, outbox_id, sequence FROM envelope JOIN chain ON chain = number "
            "WHERE verdict IS NULL ORDER BY chain, sequence LIMIT ?",
            (limit if limit < 0 else limit + len(self._aside),),
        )
        return [EnvelopeKey(UUID(bytes=o), s) for n, o, s in rows if (n, s) not in self._aside]

    def load(self, key: EnvelopeKey) -> bytes | None:
        """Return the bytes of an envelope; None if it is gone, or if they are no longer what was sealed."""
        rows = self._rows(
            "SELECT data, digest FROM envelope JOIN chain ON chain = number "
            "WHERE outbox_id = ? AND sequence = ?",
            (key.outbox_id.bytes, key.sequence),
        )
        if not rows or digest_of(rows[0][0]) != rows[0][1]:
            return None
        data: bytes = rows[0][0]
        return data

    def size(self) -> tuple[int, int, int]:
        """Return unsettled envelopes, their bytes, and settled envelopes."""
        row = self._rows(
            "SELECT count(*) FILTER (WHERE verdict IS NULL),"
            " coalesce(sum(length(data)) FILTER (WHERE verdict IS NULL), 0),"
            " count(*) FILTER (WHERE verdict IS NOT NULL) FROM envelope"
        )[0]
        return row[0], row[1], row[2]

    # --- settling and forgetting ---

    def settle(
        self, outbox_id: UUID, settled: SettledRange, at_ms: int | None
    ) -> tuple[EnvelopeKey, ...] | None:
        """Settle a range if its digest is that of our envelopes; None if it speaks of other ones."""
        rows = self._rows(
            "SELECT number, sequence, digest, verdict FROM envelope JOIN chain ON chain = number "
            "WHERE outbox_id = ? AND sequence BETWEEN ? AND ? ORDER BY sequence",
            (outbox_id.bytes, settled.first, settled.last),
        )
        whole = len(rows) == settled.last - settled.first + 1
        if not whole or range_digest(row[2] for row in rows) != settled.digest:
            return None
        fresh = [(row[0], row[1]) for row in rows if row[3] is None and (row[0], row[1]) not in self._aside]
        if not self.poisoned:
            try:
                self._write_verdicts(fresh, settled.verdict.value, at_ms)
            except OutboxPoisoned:
                self._aside.update(fresh)
        else:
            self._aside.update(fresh)
        return tuple(EnvelopeKey(outbox_id, sequence) for _, sequence in fresh)

    def _write_verdicts(self, rows: Sequence[tuple[int, int]], verdict: str, at_ms: int | None) -> None:
        with self._transaction():
            self._db.executemany(
                "UPDATE envelope SET verdict = ?, settled_at = ? WHERE chain = ? AND sequence = ?",
                [(verdict, at_ms, chain, sequence) for chain, sequence in rows],
            )

    def unsettle_from(self, outbox_id: UUID, sequence: int) -> int:
        """Treat everything from `sequence` on as without a receipt; return how many that changed."""
        with self._transaction():
            return self._db.execute(
                "UPDATE envelope SET verdict = NULL, settled_at = NULL WHERE verdict IS NOT NULL "
                "AND sequence >= ? AND chain = (SELECT number FROM chain WHERE outbox_id = ?)",
                (sequence, outbox_id.bytes),
            ).rowcount

    def forget(self, now_ms: int, before_ms: int, keep: int) -> int:
        """Delete what was settled before `before_ms`, and all but the newest `keep` settled envelopes.

        What was settled while the time was unknown counts from now.
        """
        with self._transaction():
            self._db.execute(
                "UPDATE envelope SET settled_at = ? WHERE verdict IS NOT NULL AND settled_at IS NULL",
                (now_ms,),
            )
            old = self._db.execute(
                "DELETE FROM envelope WHERE verdict IS NOT NULL AND settled_at < ?", (before_ms,)
            ).rowcount
            surplus = self._db.execute(
                "DELETE FROM envelope WHERE rowid IN (SELECT rowid FROM envelope "
                "WHERE verdict IS NOT NULL ORDER BY chain DESC, sequence DESC LIMIT -1 OFFSET ?)",
                (keep,),
            ).rowcount
        return old + surplus

    # --- messages of the hospital ---

    def hear(self, sequence: int, kind: str, body: bytes) -> bool:
        """Keep a message; False if its sequence was heard before, or is older than all that are kept."""
        with self._transaction():
            count, oldest = self._db.execute("SELECT count(*), min(sequence) FROM heard").fetchone()
            if count >= MAX_HEARD and sequence < oldest:
                return False
            new = self._db.execute(
                "INSERT OR IGNORE INTO heard VALUES (?, ?, ?)", (sequence, kind, body)
            ).rowcount
            self._db.execute(
                "DELETE FROM heard WHERE sequence NOT IN "
                "(SELECT sequence FROM heard ORDER BY sequence DESC LIMIT ?)",
                (MAX_HEARD,),
            )
        return bool(new)

    def was_heard(self, sequence: int) -> bool:
        """Tell whether a message with this sequence was kept."""
        return bool(self._rows("SELECT 1 FROM heard WHERE sequence = ?", (sequence,)))

    def heard(self) -> list[tuple[int, str, bytes]]:
        """Return the kept messages by sequence."""
        return self._rows("SELECT sequence, kind, body FROM heard ORDER BY sequence")

    def carry_over(self, other: "OutboxFile") -> None:
        """Copy from a file that failed what still can be read of it, so that little is fetched again."""
        for table, columns in (
            ("fingerprint", "number, item_id, content"),
            ("cursor", "device_id, sequence, count"),
            ("anchor", "boot_id"),
            ("heard", "sequence, kind, body"),
        ):
            with suppress(OutboxPoisoned):
                rows = other._rows(f"SELECT {columns} FROM {table}")  # noqa: S608, SLF001 - constants; same class
                marks = ", ".join("?" * len(columns.split(",")))
                with self._transaction():
                    self._db.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)  # noqa: S608

    # --- SQLite ---

    def _rows(self, sql: str, parameters: Sequence[bytes | int] = ()) -> list[Any]:
        try:
            with closing(self._db.execute(sql, tuple(parameters))) as found:
                return found.fetchall()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One transaction; whatever breaks it leaves nothing of it. A failing card poisons the file."""
        if self.poisoned:
            raise OutboxPoisoned(f"{self.path} failed before and is not written any more.")
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            found = translated(error, self.path)
            self.poisoned = isinstance(found, OutboxPoisoned)
            raise found from error
        except BaseException:  # - sealing or an observer failed: whatever it was, nothing may stand
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
