"""A bluetoothd of our own on a private bus, for what the real one rarely does: refuse, wedge, forget.

It speaks `org.bluez` as far as bleak and the agent ask. Devices are scripts (`FakeCuff`); their keys are kept
on both sides apart, so that either can forget. What BlueZ answers is worded as BlueZ 5.66 words it.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from dbus_fast import BusType, DBusError, Message
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import (
    DBusBool,
    DBusDict,
    DBusObjectPath,
    DBusStr,
)
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from tests.doubles.bluez_device import (
    FAILED,
    HCI,
    IN_PROGRESS,
    READ,
    ROUND_S,
    DBusStrings,
    Device,
    FakeCuff,
    Remembered,
    failed,
)


@dataclass
class Adapter:
    """The state of hci0. `wedged` answers InProgress until the power was off."""

    powered: bool = True
    wedged: bool = False
    hopeless: bool = False
    present: bool = True
    cycles: int = 0
    scans: int = 0


class FakeBluez:
    """bluetoothd: `start` and `stop` are its life; adapter, cuffs and keys outlive it."""

    def __init__(self, *cuffs: FakeCuff) -> None:
        self.cuffs = list(cuffs)
        self.adapter = Adapter()
        self.agents: dict[str, tuple[str, str]] = {}
        self.default_agent: str | None = None
        self.removed: list[str] = []
        self.discovering = False
        self.bus: MessageBus
        self.devices: dict[str, Device] = {}
        self._air: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Appear on the bus."""
        self.agents, self.default_agent, self.devices, self.discovering = {}, None, {}, False
        self.bus = MessageBus(bus_type=BusType.SYSTEM)
        await self.bus.connect()
        self.bus.export("/org/bluez", _AgentManager(self))
        self.bus.add_message_handler(self._with_sender)
        if self.adapter.present:
            self.bus.export(HCI, _Adapter(self))
        for cuff in self.cuffs:
            if cuff.host_bond:
                self.show(cuff)
        await self.bus.request_name("org.bluez")
        self._air = asyncio.create_task(self._advertise())

    async def stop(self) -> None:
        """Vanish, as with a crash."""
        if self._air is not None:
            self._air.cancel()
            await asyncio.wait([self._air])
        self.bus.disconnect()
        with suppress(EOFError, OSError):
            await self.bus.wait_for_disconnect()

    def unplug(self) -> None:
        """Take the adapter out."""
        for path in list(self.devices):
            self.hide(path)
        self.adapter.present, self.discovering = False, False
        self.bus.unexport(HCI)

    def plug(self) -> None:
        """Put it in again, powered."""
        self.adapter.present = self.adapter.powered = True
        self.bus.export(HCI, _Adapter(self))

    async def restart(self) -> None:
        """Crash and come back."""
        await self.stop()
        await self.start()

    async def ask_agent(self, member: str, cuff_path: str, signature: str = "", *body: Any) -> Message:
        """Ask the default agent something about a device."""
        assert self.default_agent is not None
        path, _ = self.agents[self.default_agent]
        return await self.bus.call(
            Message(
                destination=self.default_agent,
                path=path,
                interface="org.bluez.Agent1",
                member=member,
                signature="o" + signature,
                body=[cuff_path, *body],
            )
        )

    def show(self, cuff: FakeCuff) -> Device:
        """Make a device known on the bus."""
        if cuff.path not in self.devices:
            self.devices[cuff.path] = (Remembered if cuff.rssi is None else Device)(self, cuff)
            self.bus.export(cuff.path, self.devices[cuff.path])
        return self.devices[cuff.path]

    def hide(self, path: str) -> None:
        device = self.devices.pop(path, None)
        if device is not None:
            device.drop()
            self.bus.unexport(path)

    def _with_sender(self, message: Message) -> None:
        """Note who calls: agents belong to their connection."""
        if message.interface == "org.bluez.AgentManager1":
            self.caller = message.sender or ""

    async def _advertise(self) -> None:
        while True:
            await asyncio.sleep(ROUND_S)
            if not (self.discovering and self.adapter.powered):
                continue
            for cuff in self.cuffs:
                device = self.devices.get(cuff.path)
                if cuff.advertises and not (device and device.connected):
                    self.show(cuff).emit_properties_changed({"RSSI": cuff.rssi})


class _AgentManager(ServiceInterface):
    def __init__(self, bluez: FakeBluez) -> None:
        super().__init__("org.bluez.AgentManager1")
        self._bluez = bluez

    @dbus_method(name="RegisterAgent")
    def register_agent(self, agent: DBusObjectPath, capability: DBusStr) -> None:
        if self._bluez.caller in self._bluez.agents:
            raise failed("org.bluez.Error.AlreadyExists")
        self._bluez.agents[self._bluez.caller] = (agent, capability)

    @dbus_method(name="UnregisterAgent")
    def unregister_agent(self, agent: DBusObjectPath) -> None:
        if self._bluez.agents.pop(self._bluez.caller, ("", ""))[0] != agent:
            raise failed("org.bluez.Error.DoesNotExist")
        self._bluez.default_agent = None

    @dbus_method(name="RequestDefaultAgent")
    def request_default_agent(self, agent: DBusObjectPath) -> None:
        if self._bluez.agents.get(self._bluez.caller, ("", ""))[0] != agent:
            raise failed("org.bluez.Error.DoesNotExist")
        self._bluez.default_agent = self._bluez.caller


class _Adapter(ServiceInterface):
    def __init__(self, bluez: FakeBluez) -> None:
        super().__init__("org.bluez.Adapter1")
        self._bluez = bluez

    @dbus_property(access=READ, name="Address")
    def address(self) -> DBusStr:
        return "AA:BB:CC:00:00:01"

    @dbus_property(access=READ, name="Roles")
    def roles(self) -> DBusStrings:
        return ["central", "peripheral"]

    @dbus_property(access=READ, name="Discovering")
    def is_discovering(self) -> DBusBool:
        return self._bluez.discovering

    @dbus_property(name="Powered")
    def powered(self) -> DBusBool:
        return self._bluez.adapter.powered

    @powered.setter
    def set_powered(self, value: DBusBool) -> None:
        adapter = self._bluez.adapter
        if adapter.powered and not value:
            adapter.cycles += 1
            adapter.wedged = adapter.hopeless
            self._bluez.discovering = False
        adapter.powered = value
        self.emit_properties_changed({"Powered": value})

    @dbus_method(name="SetDiscoveryFilter")
    def set_discovery_filter(self, properties: DBusDict) -> None:
        del properties

    @dbus_method(name="StartDiscovery")
    def start_discovery(self) -> None:
        adapter = self._bluez.adapter
        if not adapter.powered:
            raise failed("org.bluez.Error.NotReady")
        if adapter.wedged:
            raise failed(IN_PROGRESS)
        adapter.scans += 1
        self._bluez.discovering = True

    @dbus_method(name="StopDiscovery")
    def stop_discovery(self) -> None:
        if not self._bluez.discovering:
            raise DBusError(FAILED, "No discovery started")
        self._bluez.discovering = False

    @dbus_method(name="RemoveDevice")
    def remove_device(self, device: DBusObjectPath) -> None:
        for cuff in self._bluez.cuffs:
            if cuff.path == device:
                cuff.host_bond = False
                self._bluez.removed.append(cuff.address)
        self._bluez.hide(device)
