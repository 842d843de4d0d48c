"""Driver: how to get the readings out of one kind of device during one visit.

A driver hands each reading to a synchronous sink from within the handler that received its bytes. When
`commit` returns, the reading is durable: no queue stands between the radio and the card.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from device_drivers.link import GattLink
from device_drivers.profile import DeviceProfile
from wire_format.base import Utc, Wire
from wire_format.measurement import DeviceIdentity, Measurement
from wire_format.statements import DeviceEvent, Undecodable

Reading = Measurement | Undecodable | DeviceEvent


class RecordCursor(Wire):
    """How far a device's own records have been fetched: the next fetch asks for what is newer.

    `count` is the device's total at that visit; fewer at the next visit means that it was renumbered.
    """

    sequence: int
    count: int


@dataclass(frozen=True, slots=True)
class GatewayTime:
    """The gateway's clock at one moment. `uncertainty_ms` is None while it does not know the time."""

    utc: Utc
    uncertainty_ms: int | None
    monotonic_ns: int


class ReadingSink(Protocol):
    """Where readings go. Durable when it returns."""

    def commit(self, readings: Sequence[Reading], *, cursor: RecordCursor | None = None) -> None:
        """Seal and store `readings` (at most 50) and advance the cursor, in one transaction."""
        ...


@dataclass(frozen=True, slots=True)
class Visit:
    """One connection to one device, and all that a driver needs to know about here and now.

    `number` is durable and never repeats within a gateway. `zone_offset_minutes` is the home's zone, which
    the digits of a device clock are read in.
    """

    device: DeviceIdentity
    profile: DeviceProfile
    firmware: str | None
    gateway: str
    software: str
    boot_id: UUID
    number: int
    zone_offset_minutes: int
    cursor: RecordCursor | None
    now: Callable[[], GatewayTime]
    sink: ReadingSink


class Driver(Protocol):
    """One protocol family."""

    async def collect(self, link: GattLink, visit: Visit) -> None:
        """Read what the device has and commit it to `visit.sink`; return when the device is done.

        Raises `LinkLost` when the connection broke (what was committed stays), `AttError` when the device
        refused what the profile requires.
        """
        ...
