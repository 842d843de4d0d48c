"""BlueZ over D-Bus, beside bleak: adapters and their power, bonds, and whether bluetoothd is there at all.

One connection to the system bus, made again whenever it is lost. What must be said to every new bluetoothd
(our pairing agent, a new scan) hangs in `came`.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from dbus_fast import AuthError, BusType, DBusError, InvalidAddressError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.unpack import unpack_variants

from service_kit.log import Log
from wire_format.errors import Unreachable

BLUEZ: Final = "org.bluez"
ADAPTER: Final = "org.bluez.Adapter1"
DEVICE: Final = "org.bluez.Device1"
_PROPERTIES: Final = "org.freedesktop.DBus.Properties"
_DBUS: Final = "org.freedesktop.DBus"
_RULES: Final = (
    f"type='signal',sender='{_DBUS}',member='NameOwnerChanged',arg0='{BLUEZ}'",
    f"type='signal',sender='{BLUEZ}',interface='{_PROPERTIES}',member='PropertiesChanged',arg0='{DEVICE}'",
    f"type='signal',sender='{BLUEZ}',interface='{_PROPERTIES}',member='PropertiesChanged',arg0='{ADAPTER}'",
)
RETRY_S: Final = 5.0
ANSWER_S: Final = 25.0

Objects = dict[str, dict[str, dict[str, Any]]]
"""Object path, interface, property: its value."""


class BluezRefused(Unreachable):
    """BlueZ answered with an error; `name` is the D-Bus error's. Its text may quote an address: left out."""

    def __init__(self, asked: str, name: str) -> None:
        super().__init__(f"BlueZ refused {asked}: {name}.")
        self.name = name


@dataclass(slots=True)
class BluezBus:
    """`came` is called each time bluetoothd appears, with the connection to speak to it.

    `switched_on` is called each time an adapter was: whatever it scanned for before, it does no more.
    """

    log: Log
    came: list[Callable[[MessageBus], Awaitable[None]]] = field(default_factory=list)
    switched_on: list[Callable[[], None]] = field(default_factory=list)
    retry_s: float = RETRY_S
    owner: str | None = None
    _bus: MessageBus | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _drops: Counter[str] = field(default_factory=Counter)
    _said: bool = False

    async def run(self) -> None:
        """Hold the connection until cancelled. That there is no bus is said once."""
        while True:
            try:
                await self._hold()
            except (OSError, EOFError, AuthError, InvalidAddressError, DBusError, Unreachable) as error:
                self._say_unavailable(error)
            await asyncio.sleep(self.retry_s)

    def _say_unavailable(self, error: Exception) -> None:
        if not self._said:
            self._said = True
            self.log.error("system_bus_unavailable", error=type(error).__name__)

    async def _hold(self) -> None:
        bus = MessageBus(bus_type=BusType.SYSTEM)
        try:
            await bus.connect()
            bus.add_message_handler(self._heard)
            self._bus = bus
            for rule in _RULES:
                await _ask(bus, _to_daemon("AddMatch", rule))
            self.owner = await self._owner_now(bus)
            self._said = False
            await self._serve(bus)
        finally:
            self._bus, self.owner = None, None
            bus.disconnect()

    async def _serve(self, bus: MessageBus) -> None:
        """Greet every bluetoothd until the bus is gone."""
        gone = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]  # dbus-fast's
        greeted: str | None = None
        try:
            while not gone.done():
                self._changed.clear()
                if self.owner is not None and self.owner != greeted:
                    greeted = self.owner
                    await self._greet(bus)
                changed = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait({gone, changed}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
            gone.result()
        finally:
            gone.cancel()

    async def _greet(self, bus: MessageBus) -> None:
        for tell in self.came:
            try:
                await tell(bus)
            except Unreachable as error:
                self.log.warning("bluez_refused", reason=str(error))

    async def _owner_now(self, bus: MessageBus) -> str | None:
        try:
            (owner,) = await _ask(bus, _to_daemon("GetNameOwner", BLUEZ))
        except BluezRefused:
            return None
        return str(owner)

    def _heard(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.member == "NameOwnerChanged" and message.sender == _DBUS:
            self.owner = message.body[2] or None
            self._changed.set()
        elif message.member == "PropertiesChanged" and message.sender == self.owner:
            self._count_drop(message)
            self._notice_power(message)

    def _notice_power(self, message: Message) -> None:
        interface, changed, _ = message.body
        powered = changed.get("Powered")
        if interface == ADAPTER and powered is not None and powered.value:
            for tell in self.switched_on:
                tell()

    def _count_drop(self, message: Message) -> None:
        interface, changed, _ = message.body
        connected = changed.get("Connected")
        if interface == DEVICE and connected is not None and not connected.value:
            self._drops[_address(message.path or "")] += 1

    # --- what may be asked ---

    def connection(self) -> MessageBus:
        """Return the connection to bluetoothd; raises `Unreachable` without one."""
        if self._bus is None or self.owner is None:
            raise Unreachable("bluetoothd is not on the system bus: see `systemctl status bluetooth`.")
        return self._bus

    async def call(self, path: str, interface: str, member: str, signature: str = "", *body: object) -> Any:  # noqa: ANN401 - as D-Bus gives it
        """Call bluetoothd. Raises `BluezRefused`, and `Unreachable` without a bus or an answer."""
        bus = self.connection()
        message = Message(
            destination=BLUEZ,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )
        return await _ask(bus, message)

    @property
    def present(self) -> bool:
        """Whether bluetoothd is there."""
        return self.owner is not None

    async def objects(self) -> Objects:
        """Return all that bluetoothd has."""
        (found,) = await self.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        return dict(found)

    async def adapters(self) -> dict[str, bool]:
        """Return the adapters' paths, and whether each is powered."""
        found = await self.objects()
        return {
            path: bool(known[ADAPTER].get("Powered")) for path, known in found.items() if ADAPTER in known
        }

    async def power(self, adapter: str, *, on: bool) -> None:
        """Switch an adapter on or off."""
        await self.call(adapter, _PROPERTIES, "Set", "ssv", ADAPTER, "Powered", Variant("b", on))

    # --- bonds ---

    async def holds(self, address: str) -> bool:
        """Tell whether this side holds a bond with a device. Raises `Unreachable`."""
        found = await self._device(address)
        return found is not None and bool(found[1].get("Bonded", found[1].get("Paired", False)))

    async def remove(self, address: str) -> None:
        """Remove the bond with a device, and whatever else BlueZ knows of it. Raises `Unreachable`."""
        found = await self._device(address)
        if found is None:
            return
        path, known = found
        with suppress(BluezRefused):  # it was not connected
            await self.call(path, DEVICE, "Disconnect")
        await self.call(str(known["Adapter"]), ADAPTER, "RemoveDevice", "o", path)

    def drops(self, address: str) -> int:
        """Return how often a connection with a device ended since the agent runs."""
        return self._drops[address]

    async def _device(self, address: str) -> tuple[str, dict[str, Any]] | None:
        for path, known in (await self.objects()).items():
            if str(known.get(DEVICE, {}).get("Address", "")).upper() == address:
                return path, known[DEVICE]
        return None


def _address(path: str) -> str:
    """Return the address in a device's path: BlueZ writes it with underscores."""
    return path.rpartition("/dev_")[2][:17].replace("_", ":")


def _to_daemon(member: str, argument: str) -> Message:
    """Return a call of the bus itself."""
    return Message(
        destination=_DBUS,
        path="/org/freedesktop/DBus",
        interface=_DBUS,
        member=member,
        signature="s",
        body=[argument],
    )


async def _ask(bus: MessageBus, message: Message) -> Any:  # noqa: ANN401 - as D-Bus gives it
    try:
        async with asyncio.timeout(ANSWER_S):
            reply = await bus.call(message)
    except (OSError, EOFError, TimeoutError) as error:
        raise Unreachable(f"{message.member} was not answered ({type(error).__name__}).") from error
    if reply.message_type is MessageType.ERROR:
        raise BluezRefused(message.member or "", reply.error_name or "")
    return unpack_variants(reply.body)
