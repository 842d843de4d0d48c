"""`org.bluez.Agent1` of our own: a gateway has neither screen nor keyboard, and BlueZ pairs nothing without.

It answers for the one device that is being paired by us at that moment, and rejects every other request: a
neighbour cannot pair with the gateway. Requests are believed from bluetoothd only.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, NoReturn, TypeVar

from dbus_fast import DBusError, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusObjectPath, DBusStr, DBusUInt16, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method

from device_drivers.profile import AgentCapability
from edge_agent.bluez_bus import BluezBus, BluezRefused
from edge_agent.passkeys import PairingTerms
from service_kit.log import Log
from wire_format.errors import KitelineError

AGENT: Final = "org.bluez.Agent1"
PATH: Final = "/kiteline/agent"
_MANAGER: Final = "org.bluez.AgentManager1"
_REJECTED: Final = "org.bluez.Error.Rejected"
_CANCELED: Final = "org.bluez.Error.Canceled"
IDLE: Final = AgentCapability.NO_INPUT_NO_OUTPUT

T = TypeVar("T")


@dataclass(slots=True)
class PairingAgent:
    """The agent behind whichever connection to BlueZ there is. `refused` counts the requests of strangers."""

    bluez: BluezBus
    log: Log
    refused: int = 0
    _registered: AgentCapability | None = None
    _expected: str | None = None
    _terms: PairingTerms = field(default_factory=PairingTerms)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.bluez.came.append(self.register)

    async def register(self, bus: MessageBus) -> None:
        """Make it the default agent of a bluetoothd that just appeared. Raises `Unreachable`."""
        bus.remove_message_handler(self._from_strangers)
        bus.add_message_handler(self._from_strangers)
        bus.unexport(PATH)
        bus.export(PATH, _Agent1(self))
        self._registered = None
        await self._claim(IDLE)
        self.log.info("pairing_agent_registered")

    @asynccontextmanager
    async def expecting(self, address: str, terms: PairingTerms) -> AsyncIterator[None]:
        """Answer for one device meanwhile, with its capability. Raises `Unreachable` without BlueZ."""
        async with self._one_at_a_time:
            await self._claim(terms.capability)
            self._expected, self._terms = address.upper(), terms
            try:
                yield
            finally:
                self._expected, self._terms = None, PairingTerms()

    async def _claim(self, capability: AgentCapability) -> None:
        """Register, anew if another capability is asked for: BlueZ takes it at registration only."""
        if capability is self._registered:
            return
        self._registered = None
        await self._manage("UnregisterAgent", "o", PATH, allowed="DoesNotExist")
        await self._manage("RegisterAgent", "os", PATH, capability.value)
        # Pairings are asked for over connections of bleak's own: only the default agent hears of them.
        await self._manage("RequestDefaultAgent", "o", PATH)
        self._registered = capability

    async def _manage(self, member: str, signature: str, *body: str, allowed: str = "-") -> None:
        """Call the agent manager; one refusal may be allowed. Raises `Unreachable`."""
        try:
            await self.bluez.call("/org/bluez", _MANAGER, member, signature, *body)
        except BluezRefused as error:
            if not error.name.endswith(allowed):
                raise

    def _from_strangers(self, message: Message) -> Message | None:
        """Reject what another process than bluetoothd asks."""
        asked = message.message_type is MessageType.METHOD_CALL and message.path == PATH
        if not asked or message.interface != AGENT or message.sender == self.bluez.owner:
            return None
        self.refused += 1
        return Message.new_error(message, _REJECTED, "only bluetoothd is answered")

    # --- the answers ---

    def admit(self, device: str) -> PairingTerms:
        """Return the terms for a device, by its object path; whoever is not expected is rejected."""
        if self._expected is None or not device.endswith(f"/dev_{self._expected.replace(':', '_')}"):
            self.refused += 1
            self.log.warning("pairing_of_a_stranger_refused", count=self.refused)
            _reject("not being paired by us")
        return self._terms

    async def answered(self, question: Awaitable[T], terms: PairingTerms) -> T:
        """Wait for a person as long as the terms allow."""
        try:
            async with asyncio.timeout(terms.answer_s):
                return await question
        except TimeoutError:
            raise DBusError(_CANCELED, "nobody answered in time") from None
        except (KitelineError, OSError):
            raise DBusError(_CANCELED, "whoever was asked went away") from None


class _Agent1(ServiceInterface):
    """The methods as BlueZ calls them (its doc/org.bluez.Agent.rst)."""

    def __init__(self, agent: PairingAgent) -> None:
        super().__init__(AGENT)
        self._agent = agent

    @dbus_method(name="Release")
    def release(self) -> None:
        """Take note: bluetoothd ends, or another agent of ours took over."""

    @dbus_method(name="Cancel")
    def cancel(self) -> None:
        """Take note: the pairing that was asked about failed; whoever waits is told by the pairing itself."""

    @dbus_method(name="RequestPinCode")
    def request_pin_code(self, device: DBusObjectPath) -> DBusStr:
        """Reject: PIN codes belong to classic Bluetooth."""
        self._agent.admit(device)
        _reject("classic pairing is not offered")

    @dbus_method(name="DisplayPinCode")
    def display_pin_code(self, device: DBusObjectPath, pin_code: DBusStr) -> None:
        """Reject, as above."""
        del pin_code
        self._agent.admit(device)
        _reject("classic pairing is not offered")

    @dbus_method(name="RequestPasskey")
    async def request_passkey(self, device: DBusObjectPath) -> DBusUInt32:
        """Ask for the digits that the device shows."""
        terms = self._agent.admit(device)
        passkey = await self._agent.answered(terms.source.passkey(), terms)
        if passkey is None:
            _reject("no passkey is known")
        return passkey

    @dbus_method(name="DisplayPasskey")
    async def display_passkey(self, device: DBusObjectPath, passkey: DBusUInt32, entered: DBusUInt16) -> None:
        """Show digits; it is called again for each that is typed on the device."""
        terms = self._agent.admit(device)
        if not entered:
            await self._agent.answered(terms.source.show(passkey), terms)

    @dbus_method(name="RequestConfirmation")
    async def request_confirmation(self, device: DBusObjectPath, passkey: DBusUInt32) -> None:
        """Ask whether the device shows the same digits."""
        terms = self._agent.admit(device)
        if not await self._agent.answered(terms.source.same(passkey), terms):
            _reject("the digits are not the same, or nobody compared them")

    @dbus_method(name="RequestAuthorization")
    def request_authorization(self, device: DBusObjectPath) -> None:
        """Allow Just Works for the device that is being paired; BlueZ asks it of agents with a display."""
        self._agent.admit(device)

    @dbus_method(name="AuthorizeService")
    def authorize_service(self, device: DBusObjectPath, uuid: DBusStr) -> None:
        """Reject: the gateway offers no service to anybody."""
        del device, uuid
        self._agent.refused += 1
        _reject("nothing is offered here")


def _reject(why: str) -> NoReturn:
    raise DBusError(_REJECTED, why)
