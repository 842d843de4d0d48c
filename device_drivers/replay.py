"""Links that answer from a capture: the same drivers run, without a device and without waiting.

A device's packets are delivered in their recorded order; what the host does (a write, a subscription) lets
the ones after it come. A host that departs from the recording is told so by silence, and `unrecorded` says
what it wrote. After the last packet the link closes, as most devices do.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from device_drivers.capture import Exchange, Kind, Session
from device_drivers.link import AttError, LinkLost, Sighting
from device_drivers.profile import long_uuid
from wire_format.errors import MalformedPacket

NOT_FOUND: Final = 0x0A
"""ATT error "attribute not found": what a device says of what was never recorded."""


@dataclass
class GattReplay:
    """A `GattLink` that answers from a session. With `cut_after` it is lost after so many packets."""

    session: Session
    cut_after: int | None = None
    unrecorded: list[tuple[str, bytes]] = field(default_factory=list)
    written: list[tuple[str, bytes]] = field(default_factory=list)
    position: int = 0
    delivered: int = 0
    _handlers: dict[str, Callable[[bytes], None]] = field(default_factory=dict)
    _reads: dict[str, int] = field(default_factory=dict)
    _scheduled: bool = False

    def __post_init__(self) -> None:
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._exchange = self.session.exchange
        self._cut_if_due()

    def characteristics(self) -> frozenset[str]:
        """Return every characteristic of the recording."""
        named = (e.on for e in self._exchange if e.on is not None and e.kind is not Kind.ADVERT)
        return frozenset(map(long_uuid, named))

    async def read(self, characteristic: str) -> bytes:
        """Answer with what was read at that time; the last value stays."""
        self._alive()
        found = [i for i, e in enumerate(self._exchange) if e.kind is Kind.READ and _on(e, characteristic)]
        if not found:
            raise AttError(f"a read of {characteristic}", NOT_FOUND)
        number = self._reads.get(characteristic, 0)
        self._reads[characteristic] = number + 1
        index = found[min(number, len(found) - 1)]
        self._refuse_if_recorded(index, f"a read of {characteristic}")
        return self._exchange[index].data

    async def write(self, characteristic: str, data: bytes) -> None:
        """Go on behind the recorded write that this is."""
        self._alive()
        self.written.append((characteristic, data))
        index = self._recorded_write(characteristic, data)
        if index is None:
            self.unrecorded.append((characteristic, data))
            return
        self.position = index + 1
        self._schedule()
        self._refuse_if_recorded(index, f"a write of {characteristic}")

    def _recorded_write(self, characteristic: str, data: bytes) -> int | None:
        for index in range(self.position, len(self._exchange)):
            one = self._exchange[index]
            same = one.kind is Kind.WRITE and _on(one, characteristic)
            if same and (one.varies or one.data == data):
                return index
        return None

    async def subscribe(self, characteristic: str, handler: Callable[[bytes], None]) -> None:
        """Let the packets of a characteristic come."""
        self._alive()
        asked = [
            i for i, e in enumerate(self._exchange) if e.kind is Kind.SUBSCRIBE and _on(e, characteristic)
        ]
        number = self._reads.get(f"subscribe {characteristic}", 0)
        self._reads[f"subscribe {characteristic}"] = number + 1
        if number < len(asked):
            self._refuse_if_recorded(asked[number], f"a subscription to {characteristic}")
        self._handlers[characteristic] = handler
        self._schedule()

    async def wait_closed(self) -> None:
        """Return when the recording has ended; raise what a handler raised, or that the link was cut."""
        await asyncio.shield(self._closed)

    def _refuse_if_recorded(self, index: int, request: str) -> None:
        after = self._exchange[index + 1 : index + 2]
        if after and after[0].kind is Kind.REFUSED:
            raise AttError(request, after[0].code or 0)

    def _alive(self) -> None:
        if self._closed.done():
            raise LinkLost("The recording has ended, and the link with it.")

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._advance)

    def _advance(self) -> None:
        """Deliver one packet, if it is a packet's turn, and come back for the next."""
        self._scheduled = False
        while self.position < len(self._exchange) and not self._closed.done():
            one = self._exchange[self.position]
            if one.kind is Kind.WRITE and not one.optional:
                return
            if one.kind is Kind.CLOSED:
                break
            if one.kind is Kind.NOTIFY:
                if not self._deliver(one):
                    return
                self.position += 1
                self._schedule()
                return
            self.position += 1
        self._end(None)

    def _deliver(self, one: Exchange) -> bool:
        handler = self._handlers.get(long_uuid(one.on or ""))
        if handler is None:
            return False
        try:
            handler(one.data)
        except Exception as error:  # noqa: BLE001 - as a radio does: the link reports it
            self._end(error)
            return True
        self.delivered += 1
        self._cut_if_due()
        return True

    def _cut_if_due(self) -> None:
        if self.delivered == self.cut_after:
            self._end(LinkLost("The recording was cut here."))

    def _end(self, error: Exception | None) -> None:
        if self._closed.done():
            return
        if error is None:
            self._closed.set_result(None)
        else:
            self._closed.set_exception(error)
            self._closed.exception()  # seen, also if the driver is gone already


@dataclass
class SerialReplay:
    """A `SerialLink` that answers from a session; it never waits: what does not come has timed out."""

    session: Session
    cut_after: int | None = None
    unrecorded: list[bytes] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    position: int = 0
    delivered: int = 0
    baud_rate: int | None = None
    _buffer: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._fill()

    async def send(self, data: bytes) -> None:
        """Go on behind the recorded sending that this is."""
        self._alive()
        self.sent.append(data)
        for index in range(self.position, len(self.session.exchange)):
            one = self.session.exchange[index]
            if one.kind is Kind.SENT and (one.varies or one.data == data):
                self.position = index + 1
                self._fill()
                return
        self.unrecorded.append(data)

    async def exactly(self, length: int, within_s: float) -> bytes:
        """Return the next `length` bytes of what was received."""
        if len(self._buffer) < length:
            self._alive()
            raise TimeoutError(f"{length} bytes did not come within {within_s} s")
        return self._take(length)

    async def until(self, end: bytes, within_s: float, *, most: int = 4096) -> bytes:
        """Return what was received up to and with `end`."""
        found = self._buffer.find(end)
        if found < 0 or found + len(end) > most:
            if len(self._buffer) >= most:
                raise MalformedPacket(f"{most} bytes came without {end.hex()}.")
            self._alive()
            raise TimeoutError(f"{end.hex()} did not come within {within_s} s")
        return self._take(found + len(end))

    async def discard(self) -> bytes:
        """Forget what has come so far."""
        return self._take(len(self._buffer))

    async def line(self, baud_rate: int) -> None:
        """Note the speed."""
        self.baud_rate = baud_rate

    def _take(self, length: int) -> bytes:
        part = bytes(self._buffer[:length])
        del self._buffer[:length]
        return part

    def _fill(self) -> None:
        while self.position < len(self.session.exchange):
            one = self.session.exchange[self.position]
            if one.kind is Kind.RECEIVED:
                if self.delivered == self.cut_after:
                    return
                self._buffer += one.data
                self.delivered += 1
            elif not one.optional:
                return
            self.position += 1

    def _alive(self) -> None:
        if self.delivered == self.cut_after or self._closed_here():
            raise LinkLost("The recording was cut here.")

    def _closed_here(self) -> bool:
        here = self.session.exchange[self.position : self.position + 1]
        return bool(here) and here[0].kind is Kind.CLOSED


@dataclass
class AdvertReplay:
    """An `AdvertLink` that plays the advertisements of a session."""

    session: Session
    cut_after: int | None = None
    delivered: int = 0
    _handler: Callable[[Sighting], None] | None = None

    def listen(self, handler: Callable[[Sighting], None]) -> None:
        """Take a handler; it is called while the driver waits for silence."""
        self._handler = handler

    async def silent(self, for_s: float) -> None:
        """Play everything; the silence after it is not waited for."""
        del for_s
        for one in self.session.exchange:
            if self.delivered == self.cut_after:
                return
            if one.kind is Kind.ADVERT and self._handler is not None:
                self._handler(sighting_of(self.session, one))
                self.delivered += 1
                await asyncio.sleep(0)


def sighting_of(session: Session, advert: Exchange) -> Sighting:
    """Return a recorded advertisement as the radio would tell it."""
    data = {long_uuid(name): bytes.fromhex(value) for name, value in advert.service_data.items()}
    return Sighting(
        address=session.address or "00:00:00:00:00:00",
        name=advert.on,
        services=frozenset(data),
        manufacturer_data={key: bytes.fromhex(value) for key, value in advert.manufacturer_data.items()},
        service_data=data,
    )


def _on(one: Exchange, characteristic: str) -> bool:
    return one.on is not None and long_uuid(one.on) == characteristic
