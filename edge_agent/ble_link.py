"""`GattLink` over bleak: one connection, its errors named as drivers expect them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

from bleak import BleakClient
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.exc import BleakDBusError, BleakError, BleakGATTProtocolError

from device_drivers.link import AttError, LinkLost
from edge_agent.bond_doctor import LinkFailed, Sign
from edge_agent.conversation import Approach
from edge_agent.radio_host import RadioHost
from edge_agent.scanner import Scanner
from edge_agent.steps import Step, StepObserver, nobody

T = TypeVar("T")

REQUEST_S: Final = 30.0
"""An ATT transaction that takes longer has failed (Core Vol 3 Part F 3.3.3)."""

_NEEDS_BOND: Final = {0x05, 0x08, 0x0C, 0x0F}
"""ATT errors that say: not on this connection, but on an encrypted one."""

_LOST: Final = (BleakError, TimeoutError, OSError, EOFError)
"""What bleak and the bus below it raise when a connection, or bluetoothd, is gone."""

_BLUEZ: Final = "org.bluez.Error."
_KEY_REFUSED: Final = frozenset({"AuthenticationFailed", "AuthenticationRejected"})
_BUSY: Final = frozenset({"InProgress", "NotReady"})
_DROPPED: Final = frozenset({"le-connection-abort-by-local", "le-connection-abort-by-remote"})


@dataclass(slots=True)
class BleLink:
    """An open connection; a refusal may be answered by bonding, if the approach says so."""

    client: BleakClient
    host: RadioHost
    approach: Approach
    observer: StepObserver
    encrypted: bool = False
    closed: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def characteristics(self) -> frozenset[str]:
        """Return the characteristics that the device offers."""
        return frozenset(c.uuid.lower() for c in self.client.services.characteristics.values())

    def services(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Return for each service its characteristics with their properties."""
        return {
            service.uuid.lower(): {c.uuid.lower(): tuple(c.properties) for c in service.characteristics}
            for service in self.client.services
        }

    async def read(self, characteristic: str) -> bytes:
        """Read a value."""
        return bytes(await self._request("a read", self.client.read_gatt_char(characteristic)))

    async def write(self, characteristic: str, data: bytes) -> None:
        """Write a value: with response where the characteristic has it, else without."""
        found = self.client.services.get_characteristic(characteristic)
        response = found is None or "write" in found.properties
        await self._request("a write", self.client.write_gatt_char(characteristic, data, response=response))

    async def subscribe(self, characteristic: str, handler: Callable[[bytes], None]) -> None:
        """Enable notifications or indications; bonds first if the device asks for it only now."""

        def called(_characteristic: object, data: bytearray) -> None:
            self._handle(handler, bytes(data))

        try:
            await self._request("a subscription", self.client.start_notify(characteristic, called))
        except AttError as error:
            if not self.approach.bonding or error.code not in _NEEDS_BOND:
                raise
            await self.bond()
            await self._request("a subscription", self.client.start_notify(characteristic, called))

    async def wait_closed(self) -> None:
        """Return when the device has closed the link; raise what a handler raised."""
        await asyncio.shield(self.closed)

    @property
    def address(self) -> str:
        """The device's identity address, as far as it is known; bonding may tell it."""
        return self.client.address.upper()

    async def bond(self) -> None:
        """Bond, or encrypt with the bond there is. Raises `LinkFailed`."""
        try:
            if self.approach.held:
                await self._paired(REQUEST_S)
            else:
                # Bonding may wait for a person who reads and types.
                async with self.host.expecting(self.address, self.approach.terms):
                    await self._paired(REQUEST_S + self.approach.terms.answer_s)
        except _LOST as error:
            raise LinkFailed(f"Bonding failed ({_named(error)}).", self._sign_of_bonding(error)) from error
        self.encrypted = True

    async def _paired(self, patience: float) -> None:
        async with asyncio.timeout(patience):
            await self.client.pair()

    def _sign_of_bonding(self, error: Exception) -> Sign:
        if isinstance(error, BleakDBusError):
            return _sign_of_bluez(error)
        if not self.client.is_connected:
            return Sign.DROPPED if self.approach.held else Sign.SILENT
        return Sign.KEY_REFUSED if isinstance(error, BleakError) else Sign.SILENT

    def raise_failure(self) -> None:
        """Raise what a handler raised, if one did."""
        if self.closed.done():
            self.closed.result()

    def ended(self) -> None:
        """Note that the connection is gone."""
        if not self.closed.done():
            self.closed.set_result(None)

    def _handle(self, handler: Callable[[bytes], None], data: bytes) -> None:
        self.observer(Step.HANDLER_CALLED, {"bytes": len(data)})
        try:
            handler(data)
        except Exception as error:  # noqa: BLE001 - bleak would swallow it; it must end the visit instead
            if not self.closed.done():
                self.closed.set_exception(error)
                self.closed.exception()  # seen, also if the driver is gone already

    async def _request(self, what: str, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(REQUEST_S):
                return await call
        except BleakGATTProtocolError as error:
            raise AttError(what, int(error.code)) from error
        except _LOST as error:
            raise LinkLost(f"The connection was lost during {what} ({type(error).__name__}).") from error


@dataclass(frozen=True, slots=True)
class BleRadio:
    """The radio as visits see it. `backend` None is Linux's own."""

    backend: type[BaseBleakClient] | None
    scanner: Scanner
    timeout_s: float
    host: RadioHost
    observer: StepObserver = nobody

    def silence(self) -> AbstractAsyncContextManager[None]:
        """Keep the scanner silent meanwhile."""
        return self.scanner.paused()

    async def holds(self, address: str) -> bool:
        """Tell whether this side holds a bond with a device."""
        return await self.host.holds(address)

    async def remove_bond(self, address: str) -> None:
        """Remove the bond of this side with a device."""
        await self.host.remove(address)

    @asynccontextmanager
    async def open(self, handle: object, approach: Approach) -> AsyncIterator[BleLink]:
        """Connect to a device, and disconnect at the end. Raises `LinkFailed` if it cannot be reached."""
        if not isinstance(handle, BLEDevice):
            raise TypeError("a device is connected to by what the scanner heard it as")
        links: list[BleLink] = []

        def disconnected(_client: BleakClient) -> None:
            for link in links:
                link.ended()

        patience = min(self.timeout_s, approach.patience_s or self.timeout_s)
        pairs = approach.first and approach.bonding and not approach.held
        if pairs:
            patience += approach.terms.answer_s
        client = BleakClient(handle, disconnected, timeout=patience, backend=self.backend, pair=pairs)
        links.append(BleLink(client, self.host, approach, self.observer, encrypted=pairs))
        async with AsyncExitStack() as stack:
            if pairs:
                await stack.enter_async_context(self.host.expecting(links[0].address, approach.terms))
            await self._connect(client, patience)
        try:
            yield links[0]
        finally:
            links[0].ended()
            await _let_go(client)

    async def _connect(self, client: BleakClient, patience: float) -> None:
        address = client.address.upper()
        drops = self.host.drops(address)
        try:
            async with asyncio.timeout(patience):
                await client.connect()
        except _LOST as error:
            await _let_go(client)
            sign = _sign_of_bluez(error) if isinstance(error, BleakDBusError) else Sign.SILENT
            # bleak connects again by itself after an abort: what ends it is our patience.
            if sign is Sign.SILENT and self.host.drops(address) > drops:
                sign = Sign.DROPPED
            raise LinkFailed(f"The device could not be connected ({_named(error)}).", sign) from error


def _sign_of_bluez(error: BleakDBusError) -> Sign:
    """Return what an error of BlueZ says of the bond. Texts are those of its src/error.c."""
    name = error.dbus_error.removeprefix(_BLUEZ)
    details = (error.dbus_error_details or "").lower()
    if name in _KEY_REFUSED or "key missing" in details or "key-missing" in details:
        return Sign.KEY_REFUSED
    if name in _BUSY:
        return Sign.BUSY
    return Sign.DROPPED if details in _DROPPED else Sign.SILENT


def _named(error: Exception) -> str:
    """Return what failed in a word; what BlueZ says besides could quote an address."""
    return error.dbus_error if isinstance(error, BleakDBusError) else type(error).__name__


async def _let_go(client: BleakClient) -> None:
    """Disconnect; what a connection says that is gone anyway does not matter."""
    with suppress(*_LOST):
        async with asyncio.timeout(5):
            await client.disconnect()
