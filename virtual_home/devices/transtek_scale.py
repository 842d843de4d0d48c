"""A Transtek scale: it asks a challenge, and sends its weights to who answers it."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Final

from bumble.core import UUID
from bumble.device import Connection
from bumble.gatt import Characteristic, CharacteristicValue, Service

from device_drivers.medfloat import MedFloat
from device_drivers.vendors.transtek import (
    ANSWER_CHALLENGE,
    CHALLENGE,
    EPOCH,
    SET_CLOCK,
    TranstekWeight,
)
from virtual_home.devices.peripheral import WRITEABLE, Entry, Fate, Peripheral, Properties

_CHALLENGE: Final = bytes.fromhex("0100b899")
_CLOSING: Final = 0x22
_STABLE: Final = 0x19
_MOVING: Final = 0x18


class TranstekScale(Peripheral):
    """As the ADE BA 1600: the answer is the challenge itself, for its password is zeros."""

    services = (0x7892,)

    def build(self) -> Iterable[Service]:
        """Return Transtek's service; nothing of it needs a bond."""
        self.answered = self.clock_set = False
        indicate = Properties.INDICATE
        self.weights = Characteristic[bytes](UUID.from_16_bits(0x8A24), indicate, WRITEABLE, b"")
        self.asking = Characteristic[bytes](UUID.from_16_bits(0x8A82), indicate, WRITEABLE, b"")
        self.asking.on(self.asking.EVENT_SUBSCRIPTION, self._subscribed)
        commands: Characteristic[bytes] = Characteristic(
            UUID.from_16_bits(0x8A81), Properties.WRITE, WRITEABLE, CharacteristicValue(write=self._told)
        )
        return [Service(UUID.from_16_bits(0x7892), [self.weights, self.asking, commands])]

    async def measure(self, *, weight: Decimal, user: int = 1) -> Entry:
        """Weigh: kg."""
        seconds = int((self.clock.now() - EPOCH.replace(tzinfo=dt.UTC)).total_seconds())
        settled = TranstekWeight(0x19, MedFloat.of(weight, 4), seconds, (), int(user), _STABLE, b"\0")
        return await self.measured(bytes(settled))

    def _clock_service(self) -> list[Service]:
        return []

    def _subscribed(self, bearer: Connection, _notify: bool, indicate: bool) -> None:  # noqa: FBT001 - Bumble's
        if indicate:
            challenge = bytes([CHALLENGE]) + _CHALLENGE
            self.spawn(self.device.indicate_subscriber(bearer, self.asking, challenge))

    def _told(self, connection: Connection, value: bytes) -> None:
        command, said = value[0], bytes(value[1:])
        if command == ANSWER_CHALLENGE:
            self.answered = said == _CHALLENGE
        elif command == SET_CLOCK:
            self.clock_set = True
            self.announce({"event": "clock_set", "device": self.spec.key})
        elif command == _CLOSING and self.answered and self.clock_set:
            self.answered = self.clock_set = False
            self.spawn(self._send_all(connection))

    async def _send_all(self, connection: Connection) -> None:
        for entry in self.held():
            if await self.breaks(connection):
                return
            await self._send(connection, entry)
        await self.close_soon(connection)

    async def _send(self, connection: Connection, entry: Entry) -> None:
        entry.sent_times += 1
        self.tell("sent", entry)
        whole = bytes.fromhex(entry.packet)
        moving = bytes(replace(TranstekWeight.from_bytes(whole), status=_MOVING))
        await self.device.indicate_subscriber(connection, self.weights, moving)
        await self.device.indicate_subscriber(connection, self.weights, whole)
        entry.fate = Fate.CONFIRMED
        entry.discarded = not self.spec.keeps
        self.tell("confirmed", entry)
