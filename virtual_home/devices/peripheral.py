"""What every virtual device has: bonding, protected subscriptions, a clock, a memory, a ledger.

A device advertises only after a measurement, for a while, as real ones do; then it is silent.
"""

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final

from bumble import hci
from bumble.att import ATT_Error, Attribute
from bumble.controller import Controller
from bumble.core import UUID, AdvertisingData, BaseBumbleError
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import Characteristic, CharacteristicValue, Descriptor, Service
from bumble.host import Host
from bumble.keys import MemoryKeyStore
from bumble.transport.common import AsyncPipeSink

from device_drivers.date_time import DateTime
from device_drivers.quantities.current_time import CurrentTime
from virtual_home.devices.pairing import Pairing, Panel
from virtual_home.radio import Air

Properties = Characteristic.Properties
READABLE: Final = Attribute.Permissions.READABLE
WRITEABLE: Final = Attribute.Permissions.WRITEABLE
ENCRYPTED_WRITE: Final = Attribute.Permissions.WRITE_REQUIRES_ENCRYPTION
_CCCD: Final = UUID.from_16_bits(0x2902)
_CURRENT_TIME: Final = UUID.from_16_bits(0x2A2B)
_LEGACY: Final = 31
"""Bytes of one advertisement."""
_SHORT: Final = 2

Announce = Callable[[dict[str, Any]], None]


class Fate(StrEnum):
    """What became of a reading, as the device knows it."""

    MEASURED = "measured"
    SENT = "sent"  # on its way, or sent without confirmation (a notification)
    CONFIRMED = "confirmed"  # the other side's stack confirmed the indication


class Disturbance(StrEnum):
    """What may go wrong with a device, once each time it is asked for."""

    DEAF = "deaf"  # it advertises, and is gone when it is connected to; until it advertises anew
    DROP = "drop"  # it ends the next connection as soon as that stands
    CUT = "cut"  # it ends the connection while its next indication is not confirmed
    HOLD = "hold"  # subscribed, it waits for `release` before it sends


@dataclass
class Entry:
    """One line of the ledger: what was measured, as the packet that says it, and what became of it.

    `discarded` says that the device itself does not have it any more.
    """

    number: int
    device: str
    packet: str
    fate: Fate = Fate.MEASURED
    sent_times: int = 0
    discarded: bool = False


@dataclass(frozen=True)
class DeviceSpec:
    """What distinguishes one device: its name on the air, its identity and its habits.

    `keeps` devices have their readings until they are asked again, and send them all again; the others
    discard what was confirmed. `clock_offset_s` is how far the clock is ahead; None: it has no clock.
    """

    key: str
    kind: str
    address: str
    name: str
    maker: str
    model: str
    serial: str
    keeps: bool = True
    clock_offset_s: int | None = 0
    clock_writable: bool = True
    advertises_s: float = 30.0
    closes_after_s: float = 0.5
    zone_offset_minutes: int = 480
    memory: int = 60
    pairing: Pairing = "just_works"
    passkey: int = 0
    advertises_every_ms: int = 20
    slot: int = 1
    consent_code: int = 0


def _uuid_of(uuid: int | str) -> UUID:
    return UUID.from_16_bits(uuid) if isinstance(uuid, int) else UUID(uuid)


Now = Callable[[], dt.datetime]
"""The time of a home, in UTC."""


def real_time() -> dt.datetime:
    """Return the time that it is."""
    return dt.datetime.now(dt.UTC)


@dataclass
class Clock:
    """The device's clock: the home's time plus an offset, in the home's zone; may be absent or set."""

    spec: DeviceSpec
    now: Now
    offset: dt.timedelta = field(default_factory=dt.timedelta)

    def __post_init__(self) -> None:
        self.offset = dt.timedelta(seconds=self.spec.clock_offset_s or 0)

    def digits(self) -> dt.datetime:
        """Return the digits on its display."""
        zone = dt.timedelta(minutes=self.spec.zone_offset_minutes)
        return (self.now() + zone + self.offset).replace(tzinfo=None)

    def stamp(self) -> DateTime | None:
        """Return what it stamps on a reading; None without a clock."""
        return None if self.spec.clock_offset_s is None else DateTime.of(self.digits())

    def set(self, stated: dt.datetime) -> None:
        """Set it, as a gateway does."""
        self.offset += stated - self.digits()


class Peripheral:
    """Base of every virtual device. A subclass names its services and sends its readings."""

    services: ClassVar[tuple[int, ...]]

    def advertised(self) -> tuple[int | str, ...]:
        """Return the services that it advertises: 16-bit numbers, or long UUIDs."""
        return self.services

    def __init__(self, spec: DeviceSpec, air: Air, announce: Announce, now: Now = real_time) -> None:
        self.spec = spec
        self.clock = Clock(spec, now)
        self.ledger: list[Entry] = []
        self.announce = announce
        self._silence: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self.connection: Connection | None = None
        self.break_after: int | None = None
        self.silent = False
        self.disturbances: set[Disturbance] = set()
        self.released = asyncio.Event()
        self.air = air
        self.controller = controller = Controller(spec.key, link=air, public_address=None)
        config = DeviceConfiguration(
            name=spec.name, address=hci.Address(spec.address, hci.Address.RANDOM_DEVICE_ADDRESS)
        )
        config.irk = bytes.fromhex(spec.address.replace(":", "")).ljust(16, b"\0")
        self.device = Device(config=config, host=Host(controller, AsyncPipeSink(controller)))
        self.device.keystore = MemoryKeyStore()
        self.device.advertising_interval_min = self.device.advertising_interval_max = spec.advertises_every_ms
        self.panel = Panel(spec.pairing, spec.passkey)
        self.device.pairing_config_factory = lambda _: self.panel.config()
        self.device.advertising_data = self._advertisement()
        self.device.add_services([self._information(), *self._clock_service(), *self.build()])
        self.device.on(Device.EVENT_CONNECTION, self._connected)

    def build(self) -> Iterable[Service]:
        """Return the services that hold its readings."""
        raise NotImplementedError

    async def power_on(self) -> None:
        """Start; silent until it measures."""
        await self.device.power_on()

    async def measured(self, packet: bytes) -> Entry:
        """Write a reading into ledger and memory, and advertise for a while."""
        entry = Entry(len(self.ledger) + 1, self.spec.key, packet.hex())
        self.ledger.append(entry)
        self.tell("measured", entry)
        await self.advertise()
        return entry

    async def advertise(self) -> None:
        """Advertise for the device's window, anew from now."""
        if self._silence is not None:
            self._silence.cancel()
        self.air.deaf.discard(self.controller)
        if self.disturbed(Disturbance.DEAF):
            self.air.deaf.add(self.controller)
        self._silence = asyncio.create_task(self._fall_silent())
        if self.connection is None and not self.silent and not self.device.is_advertising:
            await self.device.start_advertising()

    async def silence(self) -> None:
        """Advertise no more."""
        if self._silence is not None:
            self._silence.cancel()
        await self.device.stop_advertising()

    def disturbed(self, how: Disturbance) -> bool:
        """Tell whether this is to go wrong now; it is, once."""
        asked = how in self.disturbances
        self.disturbances.discard(how)
        return asked

    async def held_back(self) -> None:
        """Wait for `release` if that was asked for."""
        if self.disturbed(Disturbance.HOLD):
            self.released.clear()
            self.announce({"event": "held_back", "device": self.spec.key})
            await self.released.wait()

    async def forget_bonds(self) -> None:
        """Lose its keys, as after a change of battery."""
        await self.device.keystore.delete_all()  # type: ignore[union-attr]  # set in __init__

    def held(self) -> list[Entry]:
        """Return what its memory has: the newest readings that it did not discard."""
        return [entry for entry in self.ledger if not entry.discarded][-self.spec.memory :]

    def tell(self, what: str, entry: Entry) -> None:
        """Announce an event of one reading."""
        self.announce({"event": what, **asdict(entry)})

    async def breaks(self, connection: Connection) -> bool:
        """Tell whether the connection is lost before the next packet: once, after `break_after` of them."""
        if self.break_after is None:
            return False
        self.break_after -= 1
        if self.break_after >= 0:
            return False
        self.break_after = None
        await connection.disconnect()
        return True

    def secured(self, uuid: int | str, properties: Properties) -> Characteristic[bytes]:
        """Return a characteristic whose subscription needs an encrypted link.

        Bumble would add a descriptor of its own, open to everybody.
        """
        named = UUID(uuid) if isinstance(uuid, str) else UUID.from_16_bits(uuid)
        made: Characteristic[bytes] = Characteristic(named, properties, Attribute.Permissions(0), b"")
        made.descriptors = [
            Descriptor(
                _CCCD,
                READABLE | WRITEABLE | ENCRYPTED_WRITE,
                self.device.gatt_server.make_descriptor_value(made),
            )
        ]
        return made

    def spawn(self, work: Any) -> None:  # noqa: ANN401 - a coroutine of any kind
        """Run a transfer in the background; a connection that ends, ends it."""
        task = asyncio.ensure_future(self._guarded(work))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _guarded(self, work: Any) -> None:  # noqa: ANN401 - as above
        with suppress(BaseBumbleError, ATT_Error, TimeoutError, asyncio.CancelledError):
            await work

    def _connected(self, connection: Connection) -> None:
        self.connection = connection
        connection.on(Connection.EVENT_DISCONNECTION, self._disconnected)
        connection.on(Connection.EVENT_PAIRING, self._bonded)
        self.announce({"event": "connected", "device": self.spec.key})
        if self.disturbed(Disturbance.DROP):
            self.spawn(connection.disconnect())

    def _bonded(self, _keys: object) -> None:
        self.announce({"event": "bonded", "device": self.spec.key})

    def _disconnected(self, _reason: int) -> None:
        self.connection = None
        for task in self._sending:
            task.cancel()
        self.announce({"event": "disconnected", "device": self.spec.key})
        if any(entry.fate is not Fate.CONFIRMED and not entry.discarded for entry in self.held()):
            self._again = asyncio.create_task(self.advertise())

    async def _fall_silent(self) -> None:
        await asyncio.sleep(self.spec.advertises_s)
        await self.device.stop_advertising()

    async def close_soon(self, connection: Connection) -> None:
        """End the connection a while after the last packet, as many devices do."""
        await asyncio.sleep(self.spec.closes_after_s)
        await connection.disconnect()

    def _advertisement(self) -> bytes:
        uuids = [_uuid_of(uuid) for uuid in self.advertised()]
        short = b"".join(uuid.to_bytes() for uuid in uuids if len(uuid.to_bytes()) == _SHORT)
        long = b"".join(uuid.to_bytes() for uuid in uuids if len(uuid.to_bytes()) != _SHORT)
        kinds = AdvertisingData
        parts = [(kinds.FLAGS, b"\x06")]
        if short:
            parts.append((kinds.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS, short))
        if long:
            parts.append((kinds.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, long))
        name, room = self.spec.name.encode(), _LEGACY - len(bytes(AdvertisingData(parts))) - 2
        whole = len(name) <= room
        parts.append((kinds.COMPLETE_LOCAL_NAME if whole else kinds.SHORTENED_LOCAL_NAME, name[:room]))
        return bytes(AdvertisingData(parts))

    def _information(self) -> Service:
        address = bytes.fromhex(self.spec.address.replace(":", ""))
        system_id = (address[:3] + b"\xff\xfe" + address[3:])[::-1]
        values = {
            0x2A29: self.spec.maker.encode(),
            0x2A24: self.spec.model.encode(),
            0x2A25: self.spec.serial.encode(),
            0x2A26: b"1.0",
            0x2A23: system_id,
        }
        read = [
            Characteristic(UUID.from_16_bits(uuid), Properties.READ, READABLE, value)
            for uuid, value in values.items()
        ]
        return Service(UUID.from_16_bits(0x180A), read)

    def _clock_service(self) -> list[Service]:
        if self.spec.clock_offset_s is None:
            return []
        value = CharacteristicValue[Any](read=self._read_clock, write=self._write_clock)
        clock: Characteristic[Any] = Characteristic(
            _CURRENT_TIME, Properties.READ | Properties.WRITE, READABLE | WRITEABLE, value
        )
        return [Service(UUID.from_16_bits(0x1805), [clock])]

    def _read_clock(self, _connection: Connection) -> bytes:
        return bytes(CurrentTime.of(self.clock.digits(), adjust_reason=0))

    def _write_clock(self, _connection: Connection, value: bytes) -> None:
        stated = CurrentTime.from_bytes(bytes(value)).date_time.stated
        if stated is None or not self.spec.clock_writable:
            raise ATT_Error(0x80)
        self.clock.set(stated)
        self.announce({"event": "clock_set", "device": self.spec.key})
