"""Ingest: what becomes of one message of the inbox.

1. Read the topic and verify the envelope's header. Not signed by the gateway of that topic: the bytes are
   kept as refused, an alarm is logged, and nothing is answered.
2. Check the chain. A known envelope is receipted again and that is all. Another envelope under a known
   number, or one that does not fit to its neighbours, is a fork: it is stored and marked. Gaps are accepted,
   and checked when they close.
3. Open it and decode its items. What cannot be opened or decoded is quarantined with its bytes.
4. Append measurements (the same content again is nothing new, another content is a revision), statements, and
   everything else.
5. Fold again what the statements speak of.
6. Judge every subject that was touched; write alerts and the deliveries that they want.
7. Commit all of it at once, with the receipt that is due. A kill before leaves the message in the inbox; a
   kill after leaves the receipt due. Either way it is done again, and once.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final
from uuid import UUID

import structlog

from cloud_bridge.judge import judge
from cloud_bridge.rules.base import GATEWAY
from cloud_bridge.rules.programme import silent_from
from cloud_bridge.rules.technical import concerns_equipment
from cloud_bridge.steps import Step, StepObserver, nobody
from cloud_bridge.store.base import InboxMessage, Registry
from cloud_bridge.store.intake import Intake, IntakeTransaction
from cloud_bridge.store.rows import dump
from wire_format.codec import ITEM_TYPES, Item, UnknownItem, decode_items
from wire_format.envelope import FIRST_PREVIOUS, EnvelopeHeader, digest_of, open_sealed, read_header
from wire_format.errors import Rejected, Untrusted
from wire_format.keys import OpenKey, VerifyKey
from wire_format.measurement import Measurement
from wire_format.receipt import Verdict
from wire_format.statements import Assignment, Redating
from wire_format.topics import Channel, parse

_NAMES: Final = {model: name for name, model in ITEM_TYPES.items()}


@dataclass(frozen=True, slots=True)
class Opened:
    """What ingest made of a message before it touched the store."""

    header: EnvelopeHeader
    digest: bytes
    items: tuple[Item, ...]
    problem: str | None


class Ingest:
    """Takes messages out of the inbox. Any number may run beside each other, in any order."""

    def __init__(
        self,
        intake: Intake,
        registry: Registry,
        keys: dict[bytes, OpenKey],
        clock: Callable[[], dt.datetime],
        observer: StepObserver = nobody,
    ) -> None:
        self._intake = intake
        self._registry = registry
        self._keys = keys
        self._clock = clock
        self._observe = observer
        self._log = structlog.get_logger()

    def drain(self, limit: int = 50) -> int:
        """Take up to `limit` messages; return how many were taken."""
        messages = self._intake.waiting(limit)
        for message in messages:
            self.take(message)
        return len(messages)

    def take(self, message: InboxMessage) -> None:
        """Carry out the algorithm above for one message."""
        try:
            opened = self._open(message)
        except (Rejected, Untrusted) as error:
            self._refuse(message, error)
            return
        self._observe(Step.OPENED, {"sequence": opened.header.sequence, "digest": opened.digest})
        with self._intake.transaction() as transaction:
            if not transaction.take(message):
                return
            stored = self._store(transaction, message, opened)
            self._observe(Step.INGEST_WRITTEN, {"sequence": opened.header.sequence})
        self._observe(
            Step.STORED,
            {
                "outbox_id": opened.header.outbox_id,
                "sequence": opened.header.sequence,
                "digest": opened.digest,
                "measurements": stored,
                "verdict": "quarantined" if opened.problem else "stored",
            },
        )

    def judge_again(self, subjects: Iterable[str]) -> None:
        """Judge subjects whose time has come, or who got their people, although nothing new arrived."""
        for due in subjects:
            now = self._clock()
            with self._intake.transaction() as transaction:
                for subject in sorted(transaction.due_subjects(due, now)):
                    judge(transaction, subject, now)

    def _refuse(self, message: InboxMessage, error: Exception) -> None:
        self._log.error("message_refused", kind=type(error).__name__, reason=str(error))
        with self._intake.transaction() as transaction:
            if transaction.take(message):
                transaction.refuse(message, str(error))

    def _open(self, message: InboxMessage) -> Opened:
        topic = parse(message.topic)
        if topic.channel is not Channel.UP:
            raise Rejected("An envelope came on another channel than up.")
        signer = self._signer(topic.site, topic.gateway)
        header = read_header(message.data, signer)
        try:
            opened = open_sealed(message.data, signer, self._keys)
            items = decode_items(opened.payload)
            _check_origin(items, header.gateway)
        except (Rejected, Untrusted) as error:
            return Opened(header, digest_of(message.data), (), str(error))
        return Opened(header, opened.digest, items, None)

    def _signer(self, site: str, gateway: str) -> Callable[[str], VerifyKey]:
        @cache  # of this one message
        def lookup(name: str) -> VerifyKey:
            # Anybody could have written this name: the store is not asked about it.
            enrolled = self._registry.gateway(gateway) if name == gateway else None
            if enrolled is None or enrolled.site != site:
                raise Untrusted("The envelope's gateway is not enrolled for the topic that it came on.")
            return enrolled.keys.signing

        return lookup

    def _store(self, transaction: IntakeTransaction, message: InboxMessage, opened: Opened) -> Sequence[UUID]:
        header, digest = opened.header, opened.digest
        known = transaction.digests(header, header.sequence)
        if digest in known:
            transaction.receipt_again(digest)
            return ()
        forked = bool(known) or not _fits(transaction, header, digest)
        verdict = Verdict.FORKED if forked else Verdict.STORED
        if opened.problem is not None:
            verdict = Verdict.QUARANTINED
            self._log.error("envelope_quarantined", sequence=header.sequence, reason=opened.problem)
        if forked:
            self._log.error("envelope_forked", gateway=header.gateway, sequence=header.sequence)
        transaction.add_envelope(
            header, digest, message.data, verdict, message.received_at, reason=opened.problem
        )
        return self._append(transaction, opened, forked=forked)

    def _append(self, transaction: IntakeTransaction, opened: Opened, *, forked: bool) -> Sequence[UUID]:
        touched: set[UUID] = set()
        revised: list[UUID] = []
        repeated: set[UUID] = set()
        boots: set[UUID] = set()
        for item in opened.items:
            match item:
                case Measurement():
                    if transaction.add_measurement(item, opened.digest, forked=forked):
                        revised.append(item.measurement_id)
                    repeated |= transaction.mark_repetitions(item)
                    touched.add(item.measurement_id)
                case Assignment() | Redating():
                    transaction.add_statement(item, opened.header.gateway, opened.digest)
                    touched |= {item.measurement_id} if item.measurement_id else set()
                    boots |= {item.boot_id} if isinstance(item, Redating) and item.boot_id else set()
                case UnknownItem(type=kind):
                    transaction.add_item(kind, dump(item), opened.header.gateway, opened.digest)
                case _:
                    transaction.add_item(_NAMES[type(item)], dump(item), opened.header.gateway, opened.digest)
        touched |= transaction.of_boots(opened.header.gateway, boots)
        touched |= repeated
        now = self._clock()
        subjects = transaction.refold(touched, revised={*revised, *repeated}, now=now)
        for subject in sorted(subjects | transaction.after_enrolment(opened.header.gateway, now)):
            judge(transaction, subject, now, touched)
        self._look_at_equipment(transaction, opened, now)
        return revised

    def _look_at_equipment(self, transaction: IntakeTransaction, opened: Opened, now: dt.datetime) -> None:
        """Judge a home's equipment if something was said of it; else only note that the home was heard."""
        gateway = opened.header.gateway
        if any(map(concerns_equipment, opened.items)) or transaction.watches(gateway):
            judge(transaction, f"{GATEWAY}{gateway}", now)
        else:
            transaction.set_timer(f"{GATEWAY}{gateway}", silent_from(now))


def _check_origin(items: Iterable[Item], gateway: str) -> None:
    """Raise `Rejected` if a gateway hands on what it says another one measured."""
    if any(isinstance(item, Measurement) and item.provenance.gateway != gateway for item in items):
        raise Rejected("A reading of the envelope names another gateway than the one that sealed it.")


def _fits(transaction: IntakeTransaction, header: EnvelopeHeader, digest: bytes) -> bool:
    """Whether an envelope fits to the one before it and the one after it, as far as they are known."""
    if header.sequence == 1 and header.previous != FIRST_PREVIOUS:
        return False
    before = transaction.digests(header, header.sequence - 1)
    after = transaction.digests(header, header.sequence + 1)
    return (not before or header.previous in before) and (not after or digest in after.values())
