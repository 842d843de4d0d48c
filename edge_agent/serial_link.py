"""`SerialLink` over pyserial, and which serial ports this machine has. The only file that knows pyserial.

pyserial waits for each byte anew; a meter that sends one a second would never be done. Here each request has
a deadline for all of it. Reading never blocks: the event loop tells when bytes are there.
"""

import asyncio
import errno
import os
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from serial import Serial, SerialException
from serial.tools import list_ports

from device_drivers.link import LinkLost
from wire_format.errors import MalformedPacket, Misconfigured, Unreachable

WRITE_S: Final = 5.0
"""A line that takes nothing for so long is stuck."""

MOST_UNREAD: Final = 1 << 17
"""Bytes that a meter may be ahead: twice the largest memory. Beyond, somebody babbles."""

_LOST: Final = (SerialException, OSError, termios.error)


@dataclass(frozen=True, slots=True)
class Port:
    """A serial port that exists now. `mark` changes when it is unplugged and plugged in again.

    `usb` is vendor and product as "067b:2303"; `adapter` tells two equal adapters apart, by serial number or
    by the socket that they are in; both are None of a port that is no USB adapter.
    """

    path: str
    mark: tuple[int, int, int] = (0, 0, 0)
    usb: str | None = None
    location: str | None = None
    adapter: str | None = None


def usb_ports() -> list[Port]:
    """Return the USB serial adapters that are plugged in. Blocks for milliseconds: call it in a thread."""
    found = []
    for info in list_ports.comports():
        mark = mark_of(info.device)
        if info.vid is not None and info.pid is not None and mark is not None:
            usb, location = f"{info.vid:04x}:{info.pid:04x}", info.location or None
            adapter = info.serial_number or location
            found.append(Port(info.device, mark, usb, location, adapter))
    return found


def mark_of(path: str) -> tuple[int, int, int] | None:
    """Return what is known of the device node that a path leads to; None if there is none."""
    try:
        node = Path(path).stat()
    except OSError:
        return None
    return node.st_ino, node.st_rdev, node.st_ctime_ns


@dataclass(slots=True)
class CableLink:
    """An open port. See `device_drivers.link.SerialLink`."""

    port: Serial
    _unread: bytearray = field(default_factory=bytearray)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _failure: Unreachable | None = None

    def listen(self) -> None:
        """Take bytes as they come."""
        asyncio.get_running_loop().add_reader(self.port.fileno(), self._readable)

    def deafen(self) -> None:
        """Take no more."""
        if self.port.is_open:
            asyncio.get_running_loop().remove_reader(self.port.fileno())

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self._alive()
        try:
            await asyncio.to_thread(self.port.write, data)
        except _LOST as error:
            raise self._lose() from error

    async def exactly(self, length: int, within_s: float) -> bytes:
        """Return the next `length` bytes."""
        return await self._wait(within_s, lambda: length if len(self._unread) >= length else None)

    async def until(self, end: bytes, within_s: float, *, most: int = 4096) -> bytes:
        """Return what comes up to and with `end`."""

        def found() -> int | None:
            position = self._unread.find(end)
            if position < 0 and len(self._unread) < most:
                return None
            if position < 0 or position + len(end) > most:
                raise MalformedPacket(f"{most} bytes came without {end.hex()}.")
            return position + len(end)

        return await self._wait(within_s, found)

    async def discard(self) -> bytes:
        """Forget what has come so far."""
        return self._take(len(self._unread))

    async def line(self, baud_rate: int) -> None:
        """Set the speed."""
        self._alive()
        try:
            self.port.baudrate = baud_rate
        except _LOST as error:
            raise self._lose() from error

    async def _wait(self, within_s: float, found: Callable[[], int | None]) -> bytes:
        try:
            async with asyncio.timeout(within_s):
                while (length := found()) is None:
                    self._alive()
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            unread = len(self._unread)
            raise TimeoutError(f"The answer was not whole within {within_s} s: {unread} bytes.") from None
        return self._take(length)

    def _take(self, length: int) -> bytes:
        part = bytes(self._unread[:length])
        del self._unread[:length]
        return part

    def _readable(self) -> None:
        try:
            self._unread += self.port.read(max(self.port.in_waiting, 1))
        except _LOST:
            self._lose()
        if len(self._unread) > MOST_UNREAD:
            self._fail(LinkLost(f"Whoever is on the cable sent {MOST_UNREAD} bytes that nobody asked for."))
        self._arrived.set()

    def _alive(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _lose(self) -> Unreachable:
        return self._fail(LinkLost("The cable was unplugged, or takes nothing: what was read is kept."))

    def _fail(self, failure: Unreachable) -> Unreachable:
        self._failure = self._failure or failure
        self.deafen()
        self._arrived.set()
        return self._failure


@asynccontextmanager
async def open_cable(path: str) -> AsyncIterator[CableLink]:
    """Open a port, alone, for one visit.

    Raises `LinkLost` if it is gone, `Unreachable` if another program has it, `Misconfigured` if it may not be
    opened or is no serial port.
    """
    loop = asyncio.get_running_loop()
    opening = loop.run_in_executor(None, _open, path)
    try:
        port = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_late)
        raise
    link = CableLink(port)
    try:
        link.listen()
        yield link
    finally:
        link.deafen()
        # In a thread: the kernel may wait for what is still to be sent.
        await asyncio.shield(loop.run_in_executor(None, _close, port))


def _open(path: str) -> Serial:
    try:
        return Serial(path, timeout=0, write_timeout=WRITE_S, exclusive=True)
    except _LOST as error:
        raise _named(path, error) from error


def _named(path: str, error: Exception) -> Exception:
    code = error.errno if isinstance(error, OSError) else None
    match code:
        case errno.EACCES | errno.EPERM:
            return Misconfigured(f"{path} may not be opened: install the drop-in for serial meters.")
        case errno.ENOENT | errno.ENODEV | errno.ENXIO | errno.EIO:
            return LinkLost(f"{path} is gone: the cable was unplugged.")
        case None | errno.ENOTTY | errno.EINVAL:
            return Misconfigured(f"{path} cannot be set up as a serial port.")
        case errno.EBUSY | errno.EAGAIN | errno.EWOULDBLOCK:
            return Unreachable(f"{path} is held by another program.")
        case _:
            return Unreachable(f"{path} cannot be opened: {os.strerror(code)}.")


def _close(port: Serial) -> None:
    try:
        port.cancel_write()
        port.reset_output_buffer()
    except _LOST:
        pass  # there is nothing left to be sent
    finally:
        port.close()


def _close_late(opening: asyncio.Future[Serial]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
