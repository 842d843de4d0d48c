"""Omron cuffs: those that are read by address, and those with a Current Time that is hard to please."""

import asyncio
from collections.abc import Iterable
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, Final

from bumble.att import ATT_Error
from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue, Service

from device_drivers.profile import DeviceProfile, load_profiles, long_uuid
from device_drivers.quantities.current_time import CurrentTime
from device_drivers.vendors.omron_frames import END, READ, UNLOCK, Assembler, Frame, parts
from device_drivers.vendors.omron_map import OmronMap
from virtual_home.devices.omron_memory import OmronMemory
from virtual_home.devices.peripheral import (
    ENCRYPTED_WRITE,
    READABLE,
    WRITEABLE,
    Entry,
    Fate,
    Peripheral,
    Properties,
)
from virtual_home.devices.pushing import Cuff

_MINUTES_10: Final = 600
_REFUSED: Final = 0x80
_PART: Final = 16


def profile_of(model: str) -> DeviceProfile:
    """Return the profile whose memory map a model has."""
    profiles = [p for p in load_profiles().values() if p.driver == "omron_eeprom"]
    return next(p for p in profiles if any(fnmatchcase(model, glob) for glob in p.match.models))


class OmronMemoryCuff(Peripheral):
    """Keeps its records in the memory of its model, and gives them frame by frame to whom it knows."""

    def advertised(self) -> tuple[int | str, ...]:
        """Return the service that its profile looks for."""
        return tuple(
            int(name, 16) if len(name) == 4 else name  # noqa: PLR2004 - hex digits of a short UUID
            for name in profile_of(self.spec.model).match.services
        )

    def build(self) -> Iterable[Service]:
        """Return the one service with all channels."""
        profile = profile_of(self.spec.model)
        self.map = profile.protocol_as(OmronMap)
        self.memory = OmronMemory(self.map, self.clock.digits, self.clock.set)
        self.assembler = Assembler(len(self.map.transmit))
        self.entries: dict[int, Entry] = {}
        self.received = [self.secured(name, Properties.NOTIFY) for name in self.map.receive]
        self.unlocking = self.secured(UNLOCK, Properties.WRITE | Properties.NOTIFY)
        self.unlocking.permissions = WRITEABLE | ENCRYPTED_WRITE
        self.unlocking.value = CharacteristicValue(write=self._greeted)
        every = [*self.received, self.unlocking, *(self._transmit(n) for n in range(len(self.map.transmit)))]
        return [Service(UUID(long_uuid(profile.match.services[0])), every)]

    def _transmit(self, channel: int) -> Characteristic[Any]:
        value: CharacteristicValue[Any] = CharacteristicValue(
            write=lambda connection, data: self._asked(connection, channel, bytes(data))
        )
        return Characteristic(
            UUID(self.map.transmit[channel]),
            Properties.WRITE | Properties.WRITE_WITHOUT_RESPONSE,
            WRITEABLE | ENCRYPTED_WRITE,
            value,
        )

    async def measure(self, *, systolic: Decimal, diastolic: Decimal, pulse: Decimal, user: int = 1) -> Entry:
        """Measure: mmHg and beats per minute."""
        area, slots = user - 1, self.map.areas[user - 1].slots
        slot = (area, self.memory.stored[area] % slots)
        record = self.memory.store(
            area=area, systolic=int(systolic), diastolic=int(diastolic), pulse=int(pulse)
        )
        entry = await self.measured(bytes(record))
        self.entries[self.map.address_of(slot)] = entry
        return entry

    def _greeted(self, connection: Connection, data: bytes) -> None:
        answer = self.memory.greeted(bytes(data))
        self.spawn(self.device.notify_subscriber(connection, self.unlocking, answer))

    def _asked(self, connection: Connection, channel: int, data: bytes) -> None:
        padded = data if len(self.map.transmit) == 1 else data.ljust(_PART, b"\0")
        for one in self.assembler.add(channel, padded):
            self.spawn(self._answer(connection, Frame.from_bytes(one.raw)))

    async def _answer(self, connection: Connection, request: Frame) -> None:
        if await self.breaks(connection):
            return
        answer = self.memory.answer(request)
        for channel, part in zip(self.received, parts(answer, len(self.received)), strict=False):
            whole = part if len(self.received) == 1 else part.ljust(_PART, b"\0")
            await self.device.notify_subscriber(connection, channel, whole)
        if request.command == READ:
            self._given(request)
        if request == END:
            self.memory.unlocked = False
            for entry in self.held():
                self._confirmed(entry)
            await self.close_soon(connection)

    def _given(self, request: Frame) -> None:
        for address, entry in self.entries.items():
            if request.address <= address < request.address + request.size:
                entry.sent_times += 1
                if entry.fate is Fate.MEASURED:
                    entry.fate = Fate.SENT
                self.tell("sent", entry)

    def _confirmed(self, entry: Entry) -> None:
        if entry.fate is Fate.SENT:
            entry.fate = Fate.CONFIRMED
            self.tell("confirmed", entry)


class OmronTimedCuff(Cuff):
    """Takes the time only after it has notified its own, and only if that is off by more than ten minutes."""

    def _clock_service(self) -> list[Service]:
        self._notified = False
        self._time = self.secured(0x2A2B, Properties.READ | Properties.WRITE | Properties.NOTIFY)
        self._time.permissions = READABLE | WRITEABLE
        self._time.value = CharacteristicValue(read=self._read_clock, write=self._take_clock)
        self._time.on(self._time.EVENT_SUBSCRIPTION, self._time_wanted)
        return [Service(UUID.from_16_bits(0x1805), [self._time])]

    def _time_wanted(self, bearer: Connection, notify: bool, _indicate: bool) -> None:  # noqa: FBT001 - Bumble's
        if notify:
            self.spawn(self._tell_time(bearer))

    async def _tell_time(self, connection: Connection) -> None:
        await asyncio.sleep(0.05)
        await self.device.notify_subscriber(connection, self._time, self._read_clock(connection))
        self._notified = True

    def _take_clock(self, connection: Connection, value: bytes) -> None:
        stated = CurrentTime.from_bytes(bytes(value)).date_time.stated
        off = None if stated is None else abs((stated - self.clock.digits()).total_seconds())
        if not self._notified or off is None or off <= _MINUTES_10:
            self.announce({"event": "clock_refused", "device": self.spec.key})
            raise ATT_Error(_REFUSED)
        self._write_clock(connection, value)

    def _disconnected(self, reason: int) -> None:
        self._notified = False
        super()._disconnected(reason)
