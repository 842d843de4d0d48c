"""What a driver may ask of a link, and what an advertisement told us. No radio library is known here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from wire_format.errors import Rejected, Unreachable


class LinkLost(Unreachable):
    """The device ended the connection, or the radio lost it. What was committed stays committed."""


class AttError(Rejected):
    """The device refused one request; `code` is the ATT error code (Core Vol 3 Part F 3.4.1.1)."""

    def __init__(self, request: str, code: int) -> None:
        super().__init__(f"The device refused {request} with ATT error 0x{code:02X}.")
        self.code = code


def uuid16(short: int) -> str:
    """Return the 128-bit form of a 16-bit Bluetooth UUID, lower case."""
    return f"0000{short:04x}-0000-1000-8000-00805f9b34fb"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one advertisement said. `address` is the identity address where the radio resolved it.

    `services` are 128-bit UUIDs in lower case; `manufacturer_data` is keyed by company identifier,
    `service_data` by 128-bit UUID.
    """

    address: str
    name: str | None
    services: frozenset[str]
    manufacturer_data: dict[int, bytes] = field(default_factory=dict)
    service_data: dict[str, bytes] = field(default_factory=dict)
    rssi: int | None = None


class GattLink(Protocol):
    """A connection to one GATT server. Characteristics are named by 128-bit UUID in lower case.

    Every method raises `LinkLost` when the connection is gone and `AttError` when the device refuses.
    """

    def characteristics(self) -> frozenset[str]:
        """Return the characteristics that the device offers."""
        ...

    async def read(self, characteristic: str) -> bytes:
        """Read a value."""
        ...

    async def write(self, characteristic: str, data: bytes) -> None:
        """Write a value: with response where the characteristic has it, else without."""
        ...

    async def subscribe(self, characteristic: str, handler: Callable[[bytes], None]) -> None:
        """Enable notifications or indications; `handler` is called synchronously for each, in order.

        An exception that `handler` raises ends the visit: `wait_closed` raises it.
        """
        ...

    async def wait_closed(self) -> None:
        """Return when the device has closed the link; raise what a handler raised."""
        ...


class SerialLink(Protocol):
    """An open serial line to one meter.

    Every method raises `LinkLost` when the cable is gone, and `TimeoutError` when the whole of what was asked
    did not come within `within_s`: the deadline is for all of it, not for each byte. What came is then kept
    and is the first to be returned by the next call.
    """

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        ...

    async def exactly(self, length: int, within_s: float) -> bytes:
        """Return the next `length` bytes."""
        ...

    async def until(self, end: bytes, within_s: float, *, most: int = 4096) -> bytes:
        """Return what comes up to and with `end`; raises `MalformedPacket` after `most` bytes without it."""
        ...

    async def discard(self) -> bytes:
        """Forget what has come so far, and return it: it may be kept as undecodable."""
        ...

    async def line(self, baud_rate: int) -> None:
        """Set the speed; 8 data bits, no parity, 1 stop bit."""
        ...


class AdvertLink(Protocol):
    """The advertisements of one device, for as long as a visit lasts."""

    def listen(self, handler: Callable[[Sighting], None]) -> None:
        """Call `handler` synchronously for the one that began the visit, and each that follows, in order."""
        ...

    async def silent(self, for_s: float) -> None:
        """Return when nothing was heard for so long; raise what the handler raised."""
        ...
