"""Outbox: where a reading is safe. Envelopes stay until the hospital's signed receipt, and 30 days longer.

A shelf of SQLite files in one folder. The newest is appended to; when the card fails under it (one EIO is
enough: the next fsync may lie), a new file and a new outbox_id are begun beside it, and the old one is kept
and drained.
"""

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID, uuid4

from edge_agent.outbox_file import Advance, Commit, EnvelopeKey, Fingerprint, OutboxFile, Seal
from edge_agent.outbox_schema import OutboxFull, OutboxPoisoned
from edge_agent.steps import StepObserver, nobody
from wire_format.errors import Unreachable
from wire_format.receipt import Receipt, SettledRange, Verdict

T = TypeVar("T")

VISITS_PER_FILE: Final = 1_000_000
"""Visit numbers of a new file begin here times its number: no file that was lost can have used them."""

KEEP_SETTLED: Final = dt.timedelta(days=30)
_NAME: Final = re.compile(r"outbox-(\d{4})\.sqlite")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may wait, and how much of what was settled is kept."""

    max_waiting: int = 100_000
    max_waiting_bytes: int = 512 << 20
    max_settled: int = 50_000


@dataclass(frozen=True, slots=True)
class Counts:
    """What an outbox holds."""

    waiting: int
    waiting_bytes: int
    settled: int


@dataclass(frozen=True, slots=True)
class Settled:
    """What a receipt changed. `strangers` are ranges that speak of other bytes than ours: nothing settled."""

    keys: tuple[EnvelopeKey, ...]
    strangers: int
    forked: bool


class Outbox:
    """All outbox files of one gateway. Every method is synchronous and durable when it returns."""

    def __init__(
        self,
        folder: Path,
        gateway: str,
        *,
        limits: Limits | None = None,
        utc: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        observer: StepObserver = nobody,
    ) -> None:
        """Open the folder, beginning a first file if there is none, or a new one if the newest is damaged."""
        self.gateway = gateway
        self.opened_chain = False
        self.failures: list[str] = []
        self._folder = folder
        self._limits = limits or Limits()
        self._utc = utc
        self._observer = observer
        self._files: list[OutboxFile] = []
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._last_number = 0
        self._open_all()

    def close(self) -> None:
        """Close every file."""
        for file in self._files:
            file.close()

    @property
    def outbox_id(self) -> UUID:
        """The chain that is appended to."""
        return self._files[-1].chains()[-1]

    # --- taking in ---

    def check_room(self) -> None:
        """Raise `OutboxFull` if no visit may begin: what a device holds is safer there."""
        counts = self.counts()
        if (
            counts.waiting >= self._limits.max_waiting
            or counts.waiting_bytes >= self._limits.max_waiting_bytes
        ):
            raise OutboxFull(
                f"{counts.waiting} envelopes ({counts.waiting_bytes} bytes) wait for a receipt: no device is "
                "visited until the line to the hospital has drained some."
            )

    def append(
        self,
        seals: Sequence[Seal],
        *,
        fingerprints: Sequence[Fingerprint] = (),
        advance: Advance | None = None,
        anchored: UUID | None = None,
    ) -> list[EnvelopeKey]:
        """Seal and store envelopes and what follows from them in one transaction.

        Raises `OutboxFull` (nothing stands), or `Unreachable` if not even a new file can be written.
        """
        commit = Commit(self.gateway, self._utc(), seals, fingerprints, advance, anchored)
        return self._writing(lambda file: file.append(commit))

    def take_visit_number(self) -> int:
        """Return a number that no visit of this gateway had."""
        return self._writing(lambda file: file.take_visit_number())

    def begin_chain(self) -> UUID:
        """Begin a new outbox_id: the hospital said that numbers of the old one were used twice."""
        outbox_id = uuid4()
        self._writing(lambda file: file.begin_chain(outbox_id))
        self.opened_chain = True
        return outbox_id

    # --- what is known ---

    def has_fingerprint(self, fingerprint: Fingerprint) -> bool:
        """Tell whether this was sealed already."""
        return self._reading(self._files[-1], lambda file: file.has_fingerprint(fingerprint), default=False)

    def advance_of(self, device_id: UUID) -> Advance | None:
        """Return how far a device's records are fetched."""
        return self._reading(self._files[-1], lambda file: file.advance_of(device_id), default=None)

    def is_anchored(self, boot_id: UUID) -> bool:
        """Tell whether the clock anchor of a boot was sealed."""
        return self._reading(self._files[-1], lambda file: file.is_anchored(boot_id), default=False)

    def counts(self) -> Counts:
        """Count what is held in all files."""
        sizes = [self._reading(file, OutboxFile.size, default=(0, 0, 0)) for file in self._files]
        return Counts(*(sum(part) for part in zip(*sizes, strict=True)))

    # --- giving out ---

    def unsettled(self, limit: int = -1) -> list[EnvelopeKey]:
        """Return the oldest envelopes without a receipt, in order; without a limit, all of them."""
        found: list[EnvelopeKey] = []
        for file in self._files:
            found += self._reading(file, lambda file: file.unsettled(limit), default=[])
        return found if limit < 0 else found[:limit]

    def load(self, key: EnvelopeKey) -> bytes | None:
        """Return the bytes of an envelope; None if it is gone or was damaged on the card."""
        file = self._holder(key.outbox_id)
        return None if file is None else self._reading(file, lambda file: file.load(key), default=None)

    def settle(self, receipt: Receipt, *, time_known: bool) -> Settled:
        """Apply a verified receipt: only ranges whose digest is that of our envelopes settle anything."""
        file = self._holder(receipt.outbox_id)
        if file is None:
            return Settled((), len(receipt.ranges), forked=False)
        at_ms = _milliseconds(self._utc()) if time_known else None
        outbox_id = receipt.outbox_id

        def one(part: SettledRange) -> tuple[EnvelopeKey, ...] | None:
            return self._reading(file, lambda file: file.settle(outbox_id, part, at_ms), default=None)

        settled = [(part, one(part)) for part in receipt.ranges]
        return Settled(
            tuple(key for _, keys in settled for key in keys or ()),
            sum(keys is None for _, keys in settled),
            any(part.verdict is Verdict.FORKED and keys for part, keys in settled),
        )

    def unsettle_from(self, outbox_id: UUID, sequence: int) -> int:
        """Publish again from `sequence` on; return how many envelopes that brings back."""
        file = self._holder(outbox_id)
        return 0 if file is None or file.poisoned else file.unsettle_from(outbox_id, sequence)

    def forget(self) -> int:
        """Delete what was settled 30 days ago. Call it only while the time is known."""
        now = self._utc()
        before = _milliseconds(now - KEEP_SETTLED)
        return sum(
            file.forget(_milliseconds(now), before, self._limits.max_settled)
            for file in self._files
            if not file.poisoned
        )

    # --- messages of the hospital ---

    def hear(self, sequence: int, kind: str, body: bytes) -> bool:
        """Keep a message durably; False if it was heard before."""
        return self._writing(lambda file: file.hear(sequence, kind, body))

    def was_heard(self, sequence: int) -> bool:
        """Tell whether a message with this sequence was kept before."""
        return self._reading(self._files[-1], lambda file: file.was_heard(sequence), default=False)

    def heard(self) -> list[tuple[int, str, bytes]]:
        """Return the kept messages by sequence."""
        return self._reading(self._files[-1], OutboxFile.heard, default=[])

    # --- files ---

    def _holder(self, outbox_id: UUID) -> OutboxFile | None:
        none: list[UUID] = []
        return next(
            (f for f in self._files if outbox_id in self._reading(f, OutboxFile.chains, default=none)), None
        )

    def _open_all(self) -> None:
        for path in sorted(self._folder.iterdir()):
            if not (match := _NAME.fullmatch(path.name)):
                continue
            self._last_number = int(match[1])
            try:
                self._files.append(OutboxFile(path, self._first_visit(), self._observer))
            except OutboxPoisoned as error:
                self.failures.append(str(error))
        newest = self._path(self._last_number)
        if not self._files or self._files[-1].path != newest:
            self._begin_file()
        elif not self._files[-1].chains():
            self.begin_chain()

    def _reading(self, file: OutboxFile, action: Callable[[OutboxFile], T], *, default: T) -> T:
        """Read from a file; one that cannot be read any more gives `default`, and is not written either."""
        try:
            return action(file)
        except OutboxPoisoned as error:
            if not file.poisoned:
                self.failures.append(str(error))
            file.poisoned = True
            return default

    def _writing(self, action: Callable[[OutboxFile], T]) -> T:
        """Do `action` on the newest file, or on a new one if the card fails under that."""
        try:
            return action(self._files[-1])
        except OutboxPoisoned as error:
            self.failures.append(str(error))
        self._begin_file()
        try:
            return action(self._files[-1])
        except OutboxPoisoned as error:
            raise Unreachable(f"No outbox can be written in {self._folder}: replace the card.") from error

    def _begin_file(self) -> None:
        before = self._files[-1] if self._files else None
        self._last_number += 1
        try:
            file = OutboxFile(self._path(self._last_number), self._first_visit(), self._observer)
            file.begin_chain(uuid4())
        except OutboxPoisoned as error:
            raise Unreachable(f"No outbox can be written in {self._folder}: replace the card.") from error
        if before is not None:
            file.carry_over(before)
        self._files.append(file)
        self.opened_chain = True

    def _first_visit(self) -> int:
        return (self._last_number - 1) * VISITS_PER_FILE

    def _path(self, number: int) -> Path:
        return self._folder / f"outbox-{number:04d}.sqlite"


def _milliseconds(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)
