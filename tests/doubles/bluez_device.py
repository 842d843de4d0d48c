"""Devices as the emulated bluetoothd shows them: `FakeCuff` is the script, the rest is how BlueZ words it."""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Protocol

from dbus_fast import DBusError, Message, MessageType, PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import (
    DBusBool,
    DBusBytes,
    DBusDict,
    DBusInt16,
    DBusObjectPath,
    DBusSignature,
    DBusStr,
)
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from device_drivers.link import uuid16

READ: Final = PropertyAccess.READ
HCI: Final = "/org/bluez/hci0"
ROUND_S: Final = 0.02
FAILED: Final = "org.bluez.Error.Failed"
ABORT: Final = "le-connection-abort-by-local"
IN_PROGRESS: Final = "org.bluez.Error.InProgress"
AUTHENTICATION_FAILED: Final = "org.bluez.Error.AuthenticationFailed"
DBusStrings = Annotated[list[str], DBusSignature("as")]
Pad = Literal["none", "display", "keyboard", "display_yes_no"]


def failed(name: str) -> DBusError:
    """Return BlueZ's error of that name."""
    return DBusError(name, {IN_PROGRESS: "Operation already in progress"}.get(name, name.rpartition(".")[2]))


@dataclass
class FakeCuff:
    """A cuff: what it says on the air, what it has in hands and eyes, and whether it still knows us.

    `connects` is worked off: "abort" drops the connection as a busy radio does, the name of an error is
    answered, "ok" connects; at its end every connection succeeds.
    """

    address: str = "C0:49:5F:00:00:01"
    name: str = "BP-1"
    pad: Pad = "none"
    passkey: int = 12345
    packets: list[bytes] = field(default_factory=list)
    values: dict[int, bytes] = field(default_factory=dict)
    connects: list[str] = field(default_factory=list)
    advertises: bool = True
    host_bond: bool = False
    own_bond: bool = False
    rssi: int | None = -60
    # None: bluetoothd remembers it, and does not hear it.

    @property
    def path(self) -> str:
        return f"{HCI}/dev_{self.address.replace(':', '_')}"


class Daemon(Protocol):
    """What a device needs of its bluetoothd."""

    bus: MessageBus
    agents: dict[str, tuple[str, str]]
    default_agent: str | None

    async def ask_agent(self, member: str, cuff_path: str, signature: str = "", *body: Any) -> Message: ...


class Device(ServiceInterface):
    """One device as BlueZ shows it; encrypted means that both sides proved the same key."""

    def __init__(self, bluez: Daemon, cuff: FakeCuff) -> None:
        super().__init__("org.bluez.Device1")
        self.bluez, self.cuff = bluez, cuff
        self.connected = self.encrypted = self.resolved = False
        self._objects: list[str] = []

    async def up(self) -> None:
        """Connect; with a bond BlueZ encrypts at once, and drops what cannot."""
        outcome = self.cuff.connects.pop(0) if self.cuff.connects else "ok"
        if outcome not in {"ok", "abort"}:
            raise failed(outcome)
        dead_key = self.cuff.host_bond and not self.cuff.own_bond
        self.connected = True
        self.emit_properties_changed({"Connected": True})
        if outcome == "abort" or dead_key:
            await asyncio.sleep(ROUND_S)
            self.drop()
            raise DBusError(FAILED, ABORT)
        self.encrypted = self.cuff.host_bond
        self._offer()

    def drop(self) -> None:
        """Lose the connection."""
        if not self.connected:
            return
        for path in reversed(self._objects):
            self.bluez.bus.unexport(path)
        self._objects = []
        self.connected = self.encrypted = self.resolved = False
        self.emit_properties_changed({"Connected": False, "ServicesResolved": False})

    def _offer(self) -> None:
        service = f"{self.cuff.path}/service0010"
        self.bluez.bus.export(service, _Service(self.cuff.path))
        self._objects.append(service)
        numbers = [0x2A35, *self.cuff.values]
        for handle, number in enumerate(numbers, start=0x11):
            path = f"{service}/char{handle:04x}"
            self.bluez.bus.export(path, _Characteristic(number, service, self))
            self._objects.append(path)
        self.resolved = True
        self.emit_properties_changed({"ServicesResolved": True})

    @dbus_method(name="Connect")
    async def connect(self) -> None:
        await self.up()

    @dbus_method(name="Disconnect")
    def disconnect(self) -> None:
        self.drop()

    @dbus_method(name="Pair")
    async def pair(self) -> None:
        if self.cuff.host_bond:
            raise failed("org.bluez.Error.AlreadyExists")
        if not self.connected:
            await self.up()
        if self.bluez.default_agent is None or not await self._agreed():
            raise DBusError(AUTHENTICATION_FAILED, "Authentication Failed")
        self.cuff.host_bond = self.cuff.own_bond = self.encrypted = True
        self.emit_properties_changed({"Paired": True, "Bonded": True})

    async def _agreed(self) -> bool:
        """Ask what the capabilities of both sides call for (Core Vol 3 Part H 2.3.5.1, table 2.8)."""
        _, capability = self.bluez.agents[self.bluez.default_agent or ""]
        types, sees = capability.startswith("Keyboard"), capability not in {"NoInputNoOutput", "KeyboardOnly"}
        cuff = self.cuff
        if cuff.pad == "none":
            asks = capability in {"DisplayYesNo", "KeyboardDisplay"}
            return not asks or await self._answer("RequestAuthorization") is not None
        if cuff.pad == "display" and types:
            answer = await self._answer("RequestPasskey")
            return answer is not None and answer.body[0] == cuff.passkey
        if cuff.pad == "keyboard" and sees:
            return await self._answer("DisplayPasskey", "uq", cuff.passkey, 0) is not None
        if cuff.pad == "display_yes_no" and capability in {"DisplayYesNo", "KeyboardDisplay"}:
            return await self._answer("RequestConfirmation", "u", cuff.passkey) is not None
        return False

    async def _answer(self, member: str, signature: str = "", *body: Any) -> Message | None:
        reply = await self.bluez.ask_agent(member, self.cuff.path, signature, *body)
        return None if reply.message_type is MessageType.ERROR else reply

    @dbus_property(access=READ, name="Address")
    def address(self) -> DBusStr:
        return self.cuff.address

    @dbus_property(access=READ, name="AddressType")
    def address_type(self) -> DBusStr:
        return "random"

    @dbus_property(access=READ, name="Name")
    def shown_name(self) -> DBusStr:
        return self.cuff.name

    @dbus_property(access=READ, name="Alias")
    def alias(self) -> DBusStr:
        return self.cuff.name

    @dbus_property(access=READ, name="Adapter")
    def adapter(self) -> DBusObjectPath:
        return HCI

    @dbus_property(access=READ, name="UUIDs")
    def uuids(self) -> DBusStrings:
        return [uuid16(0x1810)]

    @dbus_property(access=READ, name="RSSI")
    def rssi(self) -> DBusInt16:
        assert self.cuff.rssi is not None
        return self.cuff.rssi

    @dbus_property(access=READ, name="Connected")
    def is_connected(self) -> DBusBool:
        return self.connected

    @dbus_property(access=READ, name="ServicesResolved")
    def services_resolved(self) -> DBusBool:
        return self.resolved

    @dbus_property(access=READ, name="Paired")
    def paired(self) -> DBusBool:
        return self.cuff.host_bond

    @dbus_property(access=READ, name="Bonded")
    def bonded(self) -> DBusBool:
        return self.cuff.host_bond

    @dbus_property(name="Trusted")
    def trusted(self) -> DBusBool:
        return False

    @trusted.setter
    def set_trusted(self, value: DBusBool) -> None:
        del value


class Remembered(Device):
    """A device that bluetoothd stored and does not hear: it has no signal strength."""

    @dbus_property(access=READ, name="RSSI", disabled=True)
    def rssi(self) -> DBusInt16:
        raise AssertionError


class _Service(ServiceInterface):
    def __init__(self, device: str) -> None:
        super().__init__("org.bluez.GattService1")
        self._device = device

    @dbus_property(access=READ, name="UUID")
    def uuid(self) -> DBusStr:
        return uuid16(0x1810)

    @dbus_property(access=READ, name="Device")
    def device(self) -> DBusObjectPath:
        return self._device

    @dbus_property(access=READ, name="Primary")
    def primary(self) -> DBusBool:
        return True


class _Characteristic(ServiceInterface):
    """0x2A35 indicates what the cuff has, to an encrypted link only; every other one is read."""

    def __init__(self, number: int, service: str, device: Device) -> None:
        super().__init__("org.bluez.GattCharacteristic1")
        self._number, self._service, self._device = number, service, device
        self._sending: asyncio.Task[None] | None = None

    @dbus_property(access=READ, name="UUID")
    def uuid(self) -> DBusStr:
        return uuid16(self._number)

    @dbus_property(access=READ, name="Service")
    def service(self) -> DBusObjectPath:
        return self._service

    @dbus_property(access=READ, name="Value")
    def value(self) -> DBusBytes:
        return b""

    @dbus_property(access=READ, name="Flags")
    def flags(self) -> DBusStrings:
        return ["indicate"] if self._number == 0x2A35 else ["read"]

    @dbus_method(name="ReadValue")
    def read_value(self, options: DBusDict) -> DBusBytes:
        del options
        return self._device.cuff.values[self._number]

    @dbus_method(name="StartNotify")
    def start_notify(self) -> None:
        if not self._device.encrypted:
            raise DBusError(FAILED, "Operation failed with ATT error: 0x05")
        self._sending = asyncio.create_task(self._send())

    @dbus_method(name="StopNotify")
    def stop_notify(self) -> None:
        if self._sending is not None:
            self._sending.cancel()

    async def _send(self) -> None:
        for packet in self._device.cuff.packets:
            await asyncio.sleep(ROUND_S)
            self.emit_properties_changed({"Value": packet})
        await asyncio.sleep(ROUND_S)
        self._device.drop()
