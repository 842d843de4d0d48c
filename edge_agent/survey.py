"""Survey: an unknown device is looked at without changing it. The facts a maintainer needs, and nothing else.

Nothing is written but subscriptions; none to what looks like a control point (known ones, and whatever both
takes writes and notifies), and nothing is read but the Device Information Service without serial number and
System ID. No bond is made: that could take the device from the telephone it is bonded with.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from device_drivers.capture import Kind
from device_drivers.link import AttError, GattLink, LinkLost, uuid16
from edge_agent.recording import Notes, RecordingGattLink, shown_uuid

Services = Mapping[str, Mapping[str, tuple[str, ...]]]
"""For each service its characteristics with their properties, as Bluetooth names them ("notify")."""

INFORMATION: Final = (0x2A24, 0x2A26, 0x2A27, 0x2A28, 0x2A29, 0x2A2A, 0x2A50)
"""Model, firmware, hardware, software, maker, certification, PnP ID: the kind, not the one device."""

CONTROL_POINTS: Final = frozenset(
    {0x2A39, 0x2A52, 0x2A55, 0x2A66, 0x2A9F, 0x2AA4, 0x2AAC, 0x2ABC, 0x2AD9, 0x2B1F, 0x2B25, 0x2B3B}
)
_WRITES: Final = frozenset({"write", "write-without-response", "authenticated-signed-writes"})
_SPEAKS: Final = frozenset({"notify", "indicate"})
MOST_PACKETS: Final = 200


class SurveyLink(GattLink, Protocol):
    """A link that also tells which services there are."""

    def services(self) -> Services:
        """Return what the device offers."""
        ...


@dataclass(slots=True)
class Survey:
    """What was found. `left_alone` are characteristics that notify and were not subscribed to."""

    services: dict[str, dict[str, tuple[str, ...]]]
    notes: Notes
    left_alone: list[str] = field(default_factory=list)

    @property
    def packets(self) -> int:
        """How many packets the device sent."""
        return sum(note.kind is Kind.NOTIFY for note in self.notes.taken)


async def survey(link: SurveyLink, listen_s: float, notes: Notes | None = None) -> Survey:
    """Look at a device, for `listen_s` seconds after the questions. What was found before it left counts."""
    noted = notes or Notes()
    found = Survey({shown_uuid(s): _shown(c) for s, c in link.services().items()}, noted)
    recording = RecordingGattLink(link, noted)
    try:
        await _information(recording)
        await _listen(recording, link.services(), found, listen_s)
    except LinkLost:
        noted.add(Kind.CLOSED)
    return found


def _shown(characteristics: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {shown_uuid(uuid): tuple(properties) for uuid, properties in characteristics.items()}


async def _information(link: GattLink) -> None:
    offered = link.characteristics()
    for uuid in map(uuid16, INFORMATION):
        if uuid in offered:
            await _tried(link.read(uuid))


async def _listen(link: GattLink, services: Services, found: Survey, listen_s: float) -> None:
    enough = asyncio.Event()

    def heard(_data: bytes) -> None:
        if found.packets >= MOST_PACKETS:
            enough.set()

    for characteristics in services.values():
        for uuid, properties in characteristics.items():
            if is_control_point(uuid, properties):
                found.left_alone.append(shown_uuid(uuid))
            elif _SPEAKS & set(properties):
                await _tried(link.subscribe(uuid, heard))
    closed = asyncio.ensure_future(link.wait_closed())
    full = asyncio.ensure_future(enough.wait())
    try:
        await asyncio.wait({closed, full}, timeout=listen_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiting in (closed, full):
            waiting.cancel()
        await asyncio.gather(closed, full, return_exceptions=True)


def is_control_point(uuid: str, properties: tuple[str, ...]) -> bool:
    """Tell whether a characteristic may do something when it is subscribed to, or answers what is written."""
    known = uuid.lower() in {uuid16(short) for short in CONTROL_POINTS}
    return bool(_SPEAKS & set(properties)) and (known or bool(_WRITES & set(properties)))


async def _tried(request: Awaitable[object]) -> None:
    """Carry out a request; a refusal is noted by the link, and the next one is tried."""
    with suppress(AttError):
        await request
