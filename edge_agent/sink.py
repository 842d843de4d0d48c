"""From decoded readings to sealed, durable envelopes, in one synchronous step.

One envelope holds one person's items; an Assignment travels with its measurement. What belongs to nobody
(events, undecodable bytes, unassigned readings) goes into an envelope of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid4

from device_drivers.driver import GatewayTime, Reading, RecordCursor
from edge_agent.assignment import Pairing, assign
from edge_agent.clock import GatewayClock
from edge_agent.outbox import Outbox
from edge_agent.outbox_file import Advance, EnvelopeKey, Fingerprint, Seal
from edge_agent.sharing import Sharing
from edge_agent.steps import Step, StepObserver, nobody
from wire_format.canonical import encode
from wire_format.codec import Item, encode_items
from wire_format.envelope import EnvelopeHeader, Sealed, seal
from wire_format.errors import Rejected
from wire_format.identity import content_hash
from wire_format.keys import SealKey, SigningKey
from wire_format.measurement import Measurement
from wire_format.nomenclature import Quantity
from wire_format.statements import DeviceEvent, GatewayEvent, GatewayEventKind, Undecodable

MAX_READINGS: Final = 50


@dataclass(frozen=True, slots=True)
class Sealer:
    """The gateway's signing key, and whom it seals to; `sharing` says to whom else, of whom and of what."""

    signer: SigningKey
    recipients: tuple[SealKey, ...]
    sharing: Sharing | None = None

    def also(self, person: str | None, quantity: Quantity) -> tuple[SealKey, ...]:
        """Return to whom a reading of a person is sealed beside `recipients`."""
        return () if self.sharing is None else self.sharing.also(person, quantity)

    def prepare(self, items: Sequence[Item], also: tuple[SealKey, ...] = ()) -> Seal:
        """Encode `items` now, and seal them under the header that the outbox will give."""
        payload, recipients = encode_items(items), (*self.recipients, *also)

        def under(header: EnvelopeHeader) -> Sealed:
            return seal(payload, header, self.signer, recipients)

        return under


@dataclass(slots=True)
class OutboxSink:
    """The `ReadingSink` of one visit. `sealed` counts the readings that were new; a clock set is none."""

    outbox: Outbox
    sealer: Sealer
    clock: GatewayClock
    device_id: UUID
    pairings: tuple[Pairing, ...]
    observer: StepObserver = nobody
    sealed: int = 0

    def commit(self, readings: Sequence[Reading], *, cursor: RecordCursor | None = None) -> None:
        """Assign, seal and store `readings` and the cursor; durable when this returns.

        What was sealed before is not sealed again: devices send their records after each reconnection.
        Raises `OutboxFull` or `Unreachable` if it cannot be stored; then the visit must end.
        """
        self.observer(Step.COMMIT_CALLED, {"device_id": self.device_id, "readings": len(readings)})
        if len(readings) > MAX_READINGS:
            raise Rejected(
                f"A driver committed {len(readings)} readings at once; {MAX_READINGS} are allowed."
            )
        fresh = self._unsealed(readings)
        groups = self._by_recipients(list(fresh.values()))
        seals = [self.sealer.prepare(items, also) for also, items in groups]
        advance = None if cursor is None else Advance(self.device_id, cursor.sequence, cursor.count)
        if seals or advance:
            self.outbox.append(seals, fingerprints=tuple(fresh), advance=advance)
        self.sealed += sum(not isinstance(reading, DeviceEvent) for reading in fresh.values())

    def _unsealed(self, readings: Sequence[Reading]) -> dict[Fingerprint, Reading]:
        marked = {_fingerprint(reading): reading for reading in readings}
        return {mark: reading for mark, reading in marked.items() if not self.outbox.has_fingerprint(mark)}

    def _by_recipients(self, readings: Sequence[Reading]) -> list[tuple[tuple[SealKey, ...], list[Item]]]:
        """Group by person, and by whom a reading is sealed to: consents speak of one kind of data each."""
        now = self.clock.now()
        groups: dict[tuple[str | None, tuple[SealKey, ...]], list[Item]] = {}
        for reading in readings:
            person, items = self._items(reading, now)
            also = self.sealer.also(person, reading.quantity) if isinstance(reading, Measurement) else ()
            groups.setdefault((person, also), []).extend(items)
        return [(also, items) for (_, also), items in groups.items()]

    def _items(self, reading: Reading, now: GatewayTime) -> tuple[str | None, list[Item]]:
        if not isinstance(reading, Measurement):
            return None, [reading]
        assignment = assign(reading, self.pairings, self.outbox.gateway, now)
        return assignment.person, [reading, assignment]


@dataclass(frozen=True, slots=True)
class GatewayVoice:
    """What the gateway says of itself and of its boot."""

    outbox: Outbox
    sealer: Sealer
    clock: GatewayClock

    def tell(self, kind: GatewayEventKind, detail: str | None = None) -> list[EnvelopeKey]:
        """Seal and store one event of the gateway."""
        event = GatewayEvent(
            event_id=uuid4(),
            kind=kind,
            at=self.clock.now().utc,
            boot_id=self.clock.boot_id,
            detail=detail,
        )
        return self.outbox.append([self.sealer.prepare([event])])

    def anchor_once(self) -> bool:
        """Once per boot, as soon as the time is known, tie the monotonic clock to it."""
        if self.outbox.is_anchored(self.clock.boot_id):
            return False
        anchor = self.clock.anchor(self.outbox.gateway)
        if anchor is None:
            return False
        self.outbox.append([self.sealer.prepare([anchor])], anchored=self.clock.boot_id)
        return True


def _fingerprint(reading: Reading) -> Fingerprint:
    match reading:
        case Measurement():
            return Fingerprint(reading.measurement_id, content_hash(reading))
        case Undecodable():
            raw = encode([reading.raw.source, reading.raw.data])
            return Fingerprint(reading.item_id, sha256(raw).digest())
        case DeviceEvent():
            return Fingerprint(reading.event_id, sha256(reading.kind.value.encode()).digest())
