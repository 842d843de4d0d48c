"""Driver: how to get the readings out of one kind of device during one visit.

A driver hands each reading to a synchronous sink from within the handler that received its bytes. When
`commit` returns, the reading is durable: no queue stands between the radio and the card.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from pydantic import BaseModel

from device_drivers.information import Information
from device_drivers.link import AdvertLink, GattLink, SerialLink
from device_drivers.profile import DeviceProfile
from wire_format.base import Utc, Wire
from wire_format.measurement import DeviceIdentity, Measurement
from wire_format.statements import DeviceEvent, Undecodable

Reading = Measurement | Undecodable | DeviceEvent


class RecordCursor(Wire):
    """How far a device's own records have been fetched: the next fetch asks for what is newer.

    `count` is the device's total at that visit; fewer at the next visit means that it was renumbered. Where a
    device numbers nothing, the two are what its driver knows the memory again by.
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
    the digits of a device clock are read in. `consents` are the codes of the device's user slots that the
    home gave (User Data Service); `bind_key` opens encrypted advertisements of this one device.
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
    consents: Mapping[int, int] = field(default_factory=dict, repr=False)
    bind_key: bytes | None = field(default=None, repr=False)


class Driver(Protocol):
    """One protocol family over a GATT connection."""

    async def collect(self, link: GattLink, visit: Visit) -> None:
        """Read what the device has and commit it to `visit.sink`; return when the device is done.

        Raises `LinkLost` when the connection broke (what was committed stays), `AttError` when the device
        refused what the profile requires, `Misconfigured` when the profile cannot be this device's.
        """
        ...


class SerialDriver(Protocol):
    """One protocol family over a serial cable. See `Driver.collect` for what is raised.

    In a visit `identify` comes first, then `collect` on the same link. No driver has a request that erases.
    """

    async def identify(self, link: SerialLink, profile: DeviceProfile) -> Information:
        """Set the speed and ask, harmlessly, who is there; within a minute.

        Raises `NoAnswer` if nobody answers, `MalformedPacket` if somebody of another family does.
        """
        ...

    async def collect(self, link: SerialLink, visit: Visit) -> None:
        """Read what the meter has and commit it to `visit.sink`."""
        ...


class AdvertDriver(Protocol):
    """A family whose readings are in its advertisements: nothing is connected."""

    async def collect(self, link: AdvertLink, visit: Visit) -> None:
        """Commit each finished reading; return when the device has been silent for the profile's `idle_s`."""
        ...


AnyDriver = Driver | SerialDriver | AdvertDriver


class Configurable(Protocol):
    """A driver whose profiles have a `[protocol]`: this is its shape. Unknown keys are refused."""

    protocol: type[BaseModel]
