"""Recording: links that note what goes over them, and a tap that puts them into a visit. Nothing is changed.

What is noted is an `Exchange` of a capture, in the order in which the host saw it. A tap sits between the
agent's radio and its visits: the reading itself goes its normal way.
"""

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

from device_drivers.capture import Exchange, Kind
from device_drivers.link import AttError, GattLink, LinkLost, SerialLink, Sighting
from edge_agent.scanner import OnSighting
from edge_agent.visit import Radio

MOST: Final = 20_000
"""Events that one recording keeps; a device that says more is not recorded to its end, and that is said."""

_BASE: Final = "-0000-1000-8000-00805f9b34fb"


def shown_uuid(uuid: str) -> str:
    """Return "2A35" for a 16-bit UUID, any other in lower case as it is."""
    low = uuid.lower()
    return low[4:8].upper() if low.startswith("0000") and low.endswith(_BASE) else low


@dataclass(slots=True)
class Note:
    """One event; a refusal follows its request whatever came in between."""

    kind: Kind
    at_ms: int
    on: str | None = None
    data: bytes | None = None
    refused: int | None = None
    sighting: Sighting | None = None

    def exchange(self) -> list[Exchange]:
        """Return it as a capture writes it; nothing of a read that the connection did not survive."""
        said = self.sighting
        if self.kind is Kind.READ and self.data is None and self.refused is None:
            return []
        first = Exchange(
            kind=self.kind,
            on=self.on if said is None else said.name,
            hex=None if self.data is None else self.data.hex(),
            service_data={}
            if said is None
            else {shown_uuid(u): d.hex() for u, d in said.service_data.items()},
            manufacturer_data={} if said is None else {c: d.hex() for c, d in said.manufacturer_data.items()},
            at_ms=self.at_ms,
        )
        if self.refused is None:
            return [first]
        return [first, Exchange(kind=Kind.REFUSED, code=self.refused, at_ms=self.at_ms)]


@dataclass(slots=True)
class Notes:
    """What was noted of one visit. `full` says that it does not hold all of it."""

    monotonic: Callable[[], float] = time.monotonic
    most: int = MOST
    taken: list[Note] = field(default_factory=list)
    full: bool = False
    _began: float | None = None

    def add(
        self, kind: Kind, on: str | None = None, data: bytes | None = None, sighting: Sighting | None = None
    ) -> Note:
        """Note one event, if there is room."""
        now = self.monotonic()
        self._began = now if self._began is None else self._began
        note = Note(kind, round((now - self._began) * 1000), on, data, sighting=sighting)
        if len(self.taken) < self.most:
            self.taken.append(note)
        else:
            self.full = True
        return note

    def advert(self, sighting: Sighting) -> None:
        """Note an advertisement that says something else than the one before."""
        before = self.taken[-1].sighting if self.taken else None
        same = before is not None and (before.service_data, before.manufacturer_data) == (
            sighting.service_data,
            sighting.manufacturer_data,
        )
        if not same:
            self.add(Kind.ADVERT, sighting=sighting)

    def exchange(self) -> tuple[Exchange, ...]:
        """Return all of it."""
        return tuple(one for note in self.taken for one in note.exchange())


class RecordingGattLink:
    """A `GattLink` that notes. What a radio's link can do besides (bonding) is handed through."""

    def __init__(self, link: GattLink, notes: Notes) -> None:
        self._link, self._notes = link, notes

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the link has
        return getattr(self._link, name)

    def characteristics(self) -> frozenset[str]:
        """Return the characteristics that the device offers."""
        return self._link.characteristics()

    async def read(self, characteristic: str) -> bytes:
        """Read a value, and note it or the refusal."""
        with _Request(self._notes.add(Kind.READ, shown_uuid(characteristic))) as note:
            note.data = await self._link.read(characteristic)
            return note.data

    async def write(self, characteristic: str, data: bytes) -> None:
        """Write a value; noted before it is sent, since the answer may come before the confirmation."""
        with _Request(self._notes.add(Kind.WRITE, shown_uuid(characteristic), data)):
            await self._link.write(characteristic, data)

    async def subscribe(self, characteristic: str, handler: Callable[[bytes], None]) -> None:
        """Subscribe; each packet is noted before the driver sees it."""
        name = shown_uuid(characteristic)

        def called(data: bytes) -> None:
            self._notes.add(Kind.NOTIFY, name, data)
            handler(data)

        with _Request(self._notes.add(Kind.SUBSCRIBE, name)):
            await self._link.subscribe(characteristic, called)

    async def wait_closed(self) -> None:
        """Return when the device has closed the link, and note that."""
        try:
            await self._link.wait_closed()
        except LinkLost:
            self._notes.add(Kind.CLOSED)
            raise
        self._notes.add(Kind.CLOSED)


class _Request:
    """Writes the ATT error of a refused request into its note."""

    def __init__(self, note: Note) -> None:
        self._note = note

    def __enter__(self) -> Note:
        return self._note

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, AttError):
            self._note.refused = error.code


class RecordingSerialLink:
    """A `SerialLink` that notes what was sent, and what was received as far as the driver took it."""

    def __init__(self, link: SerialLink, notes: Notes) -> None:
        self._link, self._notes = link, notes

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the link has
        return getattr(self._link, name)

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self._notes.add(Kind.SENT, data=data)
        await self._link.send(data)

    async def exactly(self, length: int, within_s: float) -> bytes:
        """Return the next `length` bytes."""
        return self._received(await self._link.exactly(length, within_s))

    async def until(self, end: bytes, within_s: float, *, most: int = 4096) -> bytes:
        """Return what comes up to and with `end`."""
        return self._received(await self._link.until(end, within_s, most=most))

    async def discard(self) -> bytes:
        """Forget what has come so far, but for the recording."""
        return self._received(await self._link.discard())

    async def line(self, baud_rate: int) -> None:
        """Set the speed."""
        await self._link.line(baud_rate)

    def _received(self, data: bytes) -> bytes:
        if data:
            self._notes.add(Kind.RECEIVED, data=data)
        return data


Opener = Callable[[str], AbstractAsyncContextManager[SerialLink]]
"""Opens the serial port of that path."""


class Tap(Protocol):
    """What stands between the agent's links and its visits."""

    def radio(self, radio: Radio) -> Radio:
        """Return the radio that visits are to use."""
        ...

    def heard(self, onward: OnSighting) -> OnSighting:
        """Return what the scanner is to call."""
        ...

    def cables(self, opener: Opener) -> Opener:
        """Return what visits of meters are to open their cables with."""
        ...


class NoTap:
    """Nothing in between."""

    def radio(self, radio: Radio) -> Radio:
        """Return the radio itself."""
        return radio

    def heard(self, onward: OnSighting) -> OnSighting:
        """Return it itself."""
        return onward

    def cables(self, opener: Opener) -> Opener:
        """Return it itself."""
        return opener


NO_TAP: Final = NoTap()


@dataclass(slots=True)
class DeviceTap:
    """Notes the visits of one device, by its address or its serial port; any other passes untouched.

    `visits` holds what each visit noted: of a device that is never connected everything is one visit.
    """

    address: str
    monotonic: Callable[[], float] = time.monotonic
    visits: list[Notes] = field(default_factory=list)
    adverts: Notes = field(init=False)
    sighting: Sighting | None = None

    def __post_init__(self) -> None:
        self.adverts = Notes(self.monotonic)

    def radio(self, radio: Radio) -> Radio:
        """Return a radio whose connections to the device are noted."""
        # Whatever a radio can do beside opening is handed through, so this is one whatever the protocol asks.
        return cast("Radio", _RecordingRadio(radio, self))

    def heard(self, onward: OnSighting) -> OnSighting:
        """Return what notes the device's advertisements, and hands all of them on."""

        def called(sighting: Sighting, handle: object) -> None:
            if sighting.address == self.address:
                self.sighting = sighting
                self.adverts.advert(sighting)
            onward(sighting, handle)

        return called

    def cables(self, opener: Opener) -> Opener:
        """Return what opens cables, and notes what goes over the one whose port is `address`."""

        @asynccontextmanager
        async def opened(port: str) -> AsyncIterator[SerialLink]:
            async with opener(port) as link:
                yield RecordingSerialLink(link, self.begin()) if self._is_port(port) else link

        return opened

    def _is_port(self, port: str) -> bool:
        """Whether it is the port that is noted: it has several paths, as those of /dev/serial/by-id."""
        return port == self.address or os.path.realpath(port) == os.path.realpath(self.address)

    def begin(self) -> Notes:
        """Begin the notes of a visit."""
        self.visits.append(Notes(self.monotonic))
        return self.visits[-1]


class _RecordingRadio:
    def __init__(self, radio: Radio, tap: DeviceTap) -> None:
        self._radio, self._tap = radio, tap

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the radio has
        return getattr(self._radio, name)

    def open(self, handle: object, *way: Any, **how: Any) -> AbstractAsyncContextManager[Any]:  # noqa: ANN401 - as the radio takes it
        opened = self._radio.open(handle, *way, **how)
        if str(getattr(handle, "address", "")).upper() != self._tap.address:
            return opened
        return self._noted(opened)

    @asynccontextmanager
    async def _noted(self, opened: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
        async with opened as link:
            yield RecordingGattLink(link, self._tap.begin())
