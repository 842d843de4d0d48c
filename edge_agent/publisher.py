"""Publisher: drains the outbox onto the line, and takes what the hospital says.

Only a signed receipt whose digest is that of our own bytes settles an envelope; the broker's PUBACK does not.
"""

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import UUID

from edge_agent.clock import GatewayClock
from edge_agent.outbox import Outbox
from edge_agent.outbox_file import EnvelopeKey
from edge_agent.retransmission import Schedule
from edge_agent.sharing import Sharing
from edge_agent.sink import GatewayVoice
from edge_agent.steps import Step, StepObserver, nobody
from service_kit.log import Log
from service_kit.mqtt_line import Acknowledge
from wire_format.base import plain
from wire_format.canonical import decode, encode
from wire_format.downlink import (
    Delivered,
    Message,
    Recipients,
    ResendFrom,
    SeenByCareTeam,
    UnknownMessage,
    open_downlink,
)
from wire_format.errors import Rejected, Unreachable, Untrusted
from wire_format.keys import BridgePublic, GatewayKeys
from wire_format.receipt import Receipt, verify_receipt
from wire_format.statements import GatewayEventKind
from wire_format.status import Presence, Status, encode_status
from wire_format.topics import Channel, Topic

IDLE_S: Final = 60.0
STATUS_S: Final = 900.0
"""How often we say that we are there. What the broker keeps of us may be older than it looks."""
_RESEND: Final = "ResendFrom"


class Line(Protocol):
    """What the publisher asks of the MQTT client."""

    up: bool

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        """Hand over a message; None if it was not taken."""
        ...


@dataclass(frozen=True, slots=True)
class Gateway:
    """Who we are, and whom we talk to."""

    site: str
    name: str
    software: str
    keys: GatewayKeys
    hospital: BridgePublic

    def topic(self, channel: Channel) -> str:
        """Return our topic of a channel."""
        return str(Topic(self.site, self.name, channel))

    def status(self, presence: Presence, since: dt.datetime, waiting: int | None = None) -> bytes:
        """Return the bytes of our status message."""
        return encode_status(Status(presence=presence, software=self.software, since=since, waiting=waiting))


@dataclass(slots=True)
class Publisher:
    """Both directions of one gateway. It is the `LineEvents` of its line."""

    gateway: Gateway
    outbox: Outbox
    schedule: Schedule
    voice: GatewayVoice
    clock: GatewayClock
    log: Log
    monotonic: Callable[[], float]
    observer: StepObserver = nobody
    line: Line | None = None
    sharing: Sharing | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _tickets: dict[int, EnvelopeKey] = field(default_factory=dict)
    _damaged: set[EnvelopeKey] = field(default_factory=set)
    _refusal: str | None = None
    _said_at: float = float("-inf")

    async def run(self) -> None:
        """Publish what is due, for ever."""
        while True:
            self._wake.clear()
            self.publish_due()
            self.say_again()
            try:
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def wake(self) -> None:
        """Look at the outbox now: something was committed."""
        self._wake.set()

    def publish_due(self) -> int:
        """Hand what is due to the line; return how many envelopes that was."""
        line = self.line
        if line is None or not line.up:
            return 0
        limit = self.schedule.pace.in_flight + len(self._damaged)
        waiting = [key for key in self.outbox.unsettled(limit) if key not in self._damaged]
        due = self.schedule.due(waiting, self.monotonic())
        return sum(self._publish(line, key) for key in due)

    def _publish(self, line: Line, key: EnvelopeKey) -> bool:
        data = self.outbox.load(key)
        if data is None:
            self._damaged.add(key)
            self.schedule.settled([key])
            self.log.error("envelope_damaged", outbox_id=key.outbox_id, sequence=key.sequence)
            return False
        facts = {"outbox_id": key.outbox_id, "sequence": key.sequence}
        self.observer(Step.PUBLISHING, facts)
        ticket = line.publish(self.gateway.topic(Channel.UP), data)
        if ticket is None:
            return False
        self._tickets[ticket] = key
        attempts = self.schedule.published(key, self.monotonic())
        self.observer(Step.PUBLISHED, {**facts, "attempts": attempts})
        return True

    def _pause(self) -> float:
        if self.line is None or not self.line.up:
            return IDLE_S
        due = self.schedule.next_due()
        return IDLE_S if due is None else min(max(due - self.monotonic(), 0.05), IDLE_S)

    # --- LineEvents ---

    def line_up(self, *, session_present: bool) -> None:
        """Say that we are here, and go on; a broker that does not know us has lost what it had."""
        if not session_present:
            self.schedule.start_over()
        self.say(Presence.ONLINE)
        self.wake()

    def line_down(self) -> None:
        """Forget the tickets of a connection that is gone; the schedule repeats what was not receipted."""
        self._tickets.clear()

    def answered(self, ticket: int, refusal: str | None) -> None:
        """Note the broker's answer. It proves nothing; a refusal is said once."""
        key = self._tickets.pop(ticket, None)
        if key is None:
            return
        facts = {"outbox_id": key.outbox_id, "sequence": key.sequence}
        if refusal is None:
            self.observer(Step.PUBACK, facts)
        if refusal != self._refusal:
            self._refusal = refusal
            if refusal is None:
                self.log.info("broker_accepts_again")
            else:
                self.log.error("broker_refuses_envelopes", reason=refusal, **facts)

    def message(self, topic: str, payload: bytes, acknowledge: Acknowledge) -> None:
        """Take a receipt or a message of the hospital. What is not the hospital's changes nothing."""
        try:
            self._take(topic, payload)
        except Unreachable as error:
            # Not acknowledged: the broker keeps it until the card can be written again.
            self.log.error("message_not_kept", reason=str(error))  # noqa: TRY400 - not our fault
        else:
            acknowledge()

    def _take(self, topic: str, payload: bytes) -> None:
        try:
            if topic == self.gateway.topic(Channel.RECEIPT):
                self._receipt(payload)
            elif topic == self.gateway.topic(Channel.DOWN):
                self._downlink(payload)
        except (Rejected, Untrusted) as error:
            kind = topic.rsplit("/", 1)[-1]
            self.log.error("message_refused", kind=kind, reason=str(error))  # noqa: TRY400 - not our fault

    def say_again(self) -> None:
        """Say that we are still there, now and then, while the line holds."""
        if self.line is not None and self.line.up and self.monotonic() - self._said_at >= STATUS_S:
            self.say(Presence.ONLINE)

    def say(self, presence: Presence) -> None:
        """Publish our status, retained."""
        if self.line is not None:
            self._said_at = self.monotonic()
            self.line.publish(self.gateway.topic(Channel.STATUS), self.status(presence), retain=True)

    def status(self, presence: Presence) -> bytes:
        """Return our status message as of now."""
        waiting = self.outbox.counts().waiting
        return self.gateway.status(presence, self.clock.now().utc, waiting)

    # --- receipts ---

    def _receipt(self, payload: bytes) -> None:
        self.observer(Step.RECEIPT_RECEIVED, {})
        receipt = verify_receipt(payload, self.gateway.hospital.receipts)
        if receipt.gateway != self.gateway.name:
            raise Rejected(f"The receipt is for the gateway {receipt.gateway}.")
        if self._withdrawn(receipt):
            raise Rejected("The receipt is older than the hospital's request to send again.")
        self.observer(Step.RECEIPT_VERIFIED, {"outbox_id": receipt.outbox_id})
        settled = self.outbox.settle(receipt, time_known=self.clock.utc_if_known() is not None)
        self.schedule.settled(settled.keys)
        self.schedule.hospital_answers()
        for key in settled.keys:
            facts = {"outbox_id": key.outbox_id, "sequence": key.sequence}
            self.observer(Step.RECEIPT_SETTLED, facts)
        if settled.strangers:
            self.log.warning("receipt_of_other_bytes", outbox_id=receipt.outbox_id, count=settled.strangers)
        if settled.forked and receipt.outbox_id == self.outbox.outbox_id:
            self._begin_chain()
        self.wake()

    def _withdrawn(self, receipt: Receipt) -> bool:
        """Tell whether a later request to send again took back what this receipt says."""
        for _, kind, body in self.outbox.heard():
            if kind == _RESEND:
                issued, message = decode(body)
                if message["outbox_id"] == receipt.outbox_id and receipt.issued_at < issued:
                    return True
        return False

    def _begin_chain(self) -> None:
        old = self.outbox.outbox_id
        self.outbox.begin_chain()
        self.log.error("outbox_forked", outbox_id=old)
        self.voice.tell(GatewayEventKind.OUTBOX_OPENED, "the hospital reported a fork")

    # --- messages ---

    def _downlink(self, payload: bytes) -> None:
        self.observer(Step.DOWNLINK_RECEIVED, {})
        delivered = open_downlink(
            payload,
            self.gateway.name,
            self.gateway.hospital.messages,
            self.gateway.keys.opening,
            self.clock.utc_if_known(),
        )
        sequence, message = delivered.header.sequence, delivered.message
        if self.outbox.was_heard(sequence):
            return
        # Acting first: an action may be repeated, a message that was kept is not acted on again.
        self._act(message, sequence)
        if self.outbox.hear(sequence, type(message).__name__, _body(delivered)):
            facts: dict[str, object] = {"sequence": sequence, "kind": type(message).__name__}
            if isinstance(message, SeenByCareTeam):
                facts["alert_id"] = message.alert_id
            self.observer(Step.DOWNLINK_STORED, facts)

    def _act(self, message: Message, sequence: int) -> None:
        match message:
            case SeenByCareTeam():
                self.log.info("care_team_saw", alert_id=message.alert_id)
            case ResendFrom():
                count = self.outbox.unsettle_from(message.outbox_id, message.sequence)
                self.schedule.start_over()
                self.log.warning("hospital_asks_again", sequence=message.sequence, count=count)
                self.wake()
            case Recipients():
                if self.sharing is not None and self.sharing.take(sequence, message):
                    self.log.info("recipients_changed", sequence=sequence, count=len(message.shares))
            case UnknownMessage():
                self.log.warning("message_of_unknown_kind", kind=message.kind)


def _body(delivered: Delivered) -> bytes:
    message: Any = delivered.message
    said = message.body if isinstance(message, UnknownMessage) else plain(message)
    return encode([delivered.header.issued_at, said])


def acknowledgements(outbox: Outbox) -> list[tuple[UUID, dt.datetime]]:
    """Return which alerts the care team has seen, and when, as far as the home was told."""
    seen = []
    for _, kind, body in outbox.heard():
        if kind == SeenByCareTeam.__name__:
            _, said = decode(body)
            seen.append((said["alert_id"], said["at"]))
    return seen
