"""`GattLink` over bleak: one connection, its errors named as drivers expect them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

from bleak import BleakClient
from bleak.backends.client import BaseBleakClient
from bleak.backends.device import BLEDevice
from bleak.exc import BleakError, BleakGATTProtocolError

from device_drivers.link import AttError, LinkLost
from edge_agent.scanner import Scanner
from edge_agent.steps import Step, StepObserver, nobody

T = TypeVar("T")

REQUEST_S: Final = 30.0
"""An ATT transaction that takes longer has failed (Core Vol 3 Part F 3.3.3)."""

_NEEDS_BOND: Final = {0x05, 0x08, 0x0C, 0x0F}
"""ATT errors that say: not on this connection, but on an encrypted one."""

_LOST: Final = (BleakError, TimeoutError, OSError, EOFError)
"""What bleak and the bus below it raise when a connection, or bluetoothd, is gone."""


@dataclass(slots=True)
class BleLink:
    """An open connection. `bonding` says whether a refusal may be answered by bonding."""

    client: BleakClient
    bonding: bool
    observer: StepObserver
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
        """Write a value with response."""
        await self._request("a write", self.client.write_gatt_char(characteristic, data, response=True))

    async def subscribe(self, characteristic: str, handler: Callable[[bytes], None]) -> None:
        """Enable notifications or indications; bonds first if the device asks for it only now."""

        def called(_characteristic: object, data: bytearray) -> None:
            self._handle(handler, bytes(data))

        try:
            await self._request("a subscription", self.client.start_notify(characteristic, called))
        except AttError as error:
            if not self.bonding or error.code not in _NEEDS_BOND:
                raise
            await self.bond()
            await self._request("a subscription", self.client.start_notify(characteristic, called))

    async def wait_closed(self) -> None:
        """Return when the device has closed the link; raise what a handler raised."""
        await asyncio.shield(self.closed)

    async def bond(self) -> None:
        """Bond, or encrypt with the bond there is."""
        await self._request("bonding", self.client.pair())

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
    observer: StepObserver = nobody

    def silence(self) -> AbstractAsyncContextManager[None]:
        """Keep the scanner silent meanwhile."""
        return self.scanner.paused()

    @asynccontextmanager
    async def open(self, handle: object, *, bonding: bool) -> AsyncIterator[BleLink]:
        """Connect to a device, and disconnect at the end. Raises `LinkLost` if it cannot be reached."""
        if not isinstance(handle, BLEDevice):
            raise TypeError("a device is connected to by what the scanner heard it as")
        links: list[BleLink] = []

        def disconnected(_client: BleakClient) -> None:
            for link in links:
                link.ended()

        client = BleakClient(handle, disconnected, timeout=self.timeout_s, backend=self.backend)
        links.append(BleLink(client, bonding, self.observer))
        try:
            async with asyncio.timeout(self.timeout_s):
                await client.connect()
        except _LOST as error:
            await _let_go(client)
            raise LinkLost(f"The device could not be connected ({type(error).__name__}).") from error
        try:
            yield links[0]
        finally:
            links[0].ended()
            await _let_go(client)


async def _let_go(client: BleakClient) -> None:
    """Disconnect; what a connection says that is gone anyway does not matter."""
    with suppress(*_LOST):
        async with asyncio.timeout(5):
            await client.disconnect()
