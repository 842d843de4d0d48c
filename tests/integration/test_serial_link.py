"""The link over pyserial, on a pty: one deadline for a whole answer, and every end of a cable by its name."""

import asyncio
import os
import pty
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from serial import Serial

from device_drivers.link import LinkLost
from edge_agent.serial_link import MOST_UNREAD, CableLink, mark_of, open_cable, usb_ports
from wire_format.errors import MalformedPacket, Misconfigured, Unreachable


@contextmanager
def line() -> Iterator[tuple[int, str]]:
    """A pty whose other end is this process: its master, and the path of its slave."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    os.close(slave)
    try:
        yield master, path
    finally:
        os.close(master)


def pull(master: int) -> None:
    """Pull the cable; the number of the file stays taken, so that it is closed once."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, master)
    os.close(nothing)


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[int, CableLink]]:
    with line() as (master, path):
        async with open_cable(path) as link:
            yield master, link


async def test_what_is_asked_for_comes_whole_and_the_rest_is_kept() -> None:
    async with opened() as (master, link):
        os.write(master, b"one\r\ntwo")
        assert await link.until(b"\r\n", 5) == b"one\r\n"
        assert await link.exactly(2, 5) == b"tw"
        assert await link.discard() == b"o"
        assert await link.discard() == b""
        await link.send(b"DM@\r")
        assert os.read(master, 100) == b"DM@\r"


async def test_the_deadline_is_for_all_of_an_answer() -> None:
    async def drip(master: int) -> None:
        for byte in b"slow":
            os.write(master, bytes([byte]))
            await asyncio.sleep(0.1)

    async with opened() as (master, link):
        dripping = asyncio.create_task(drip(master))
        with pytest.raises(TimeoutError, match="not whole within"):
            await link.exactly(4, 0.25)
        await dripping
        assert await link.exactly(4, 5) == b"slow"


async def test_an_end_that_does_not_come_is_not_waited_for_without_bound() -> None:
    async with opened() as (master, link):
        os.write(master, b"x" * 300)
        with pytest.raises(MalformedPacket, match="256 bytes came without 0d"):
            await link.until(b"\r", 5, most=256)
        await link.discard()
        os.write(master, b"x" * 300 + b"\r")
        with pytest.raises(MalformedPacket):
            await link.until(b"\r", 5, most=256)


async def test_whoever_babbles_is_left() -> None:
    async def babble(master: int) -> None:
        while True:
            try:
                os.write(master, b"x" * 1024)
            except BlockingIOError:
                await asyncio.sleep(0.001)

    async with opened() as (master, link):
        os.set_blocking(master, False)
        babbling = asyncio.create_task(babble(master))
        with pytest.raises(LinkLost, match="nobody asked for"):
            await link.exactly(MOST_UNREAD * 2, 20)
        babbling.cancel()


async def test_a_cable_that_is_pulled_is_lost_while_waiting_and_after() -> None:
    async with opened() as (master, link):
        os.write(master, b"ab")
        assert await link.exactly(1, 5) == b"a"
        waiting = asyncio.create_task(link.exactly(10, 5))
        await asyncio.sleep(0.05)
        pull(master)
        with pytest.raises(LinkLost, match="unplugged"):
            await waiting
        for request in (link.send(b"x"), link.exactly(10, 5), link.line(9600)):
            with pytest.raises(LinkLost):
                await request
        assert await link.exactly(1, 5) == b"b"  # what had come is still there


async def test_a_cable_that_is_pulled_is_lost_for_what_is_sent() -> None:
    with line() as (master, path):
        async with open_cable(path) as link:
            link.deafen()
            pull(master)
            with pytest.raises(LinkLost):
                await link.send(b"x")


async def test_the_speed_is_set() -> None:
    async with opened() as (_, link):
        await link.line(38400)
        assert link.port.baudrate == 38400


async def test_waiting_ends_with_the_visit() -> None:
    with line() as (_, path):
        begun = asyncio.Event()

        async def visit() -> None:
            async with open_cable(path) as link:
                begun.set()
                await link.exactly(1, 60)

        visiting = asyncio.create_task(visit())
        await begun.wait()
        visiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await visiting
        async with open_cable(path) as link:  # the port is free again
            assert link.port.is_open


async def test_opening_that_is_given_up_holds_no_port() -> None:
    with line() as (_, path):

        async def visit() -> None:
            async with open_cable(path):
                raise AssertionError("it was given up before")

        opening = asyncio.create_task(visit())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        async with asyncio.timeout(10):
            while not await opens(path):  # noqa: ASYNC110 - the thread that opens it tells nobody
                await asyncio.sleep(0.02)


async def opens(path: str) -> bool:
    try:
        async with open_cable(path) as link:
            return link.port.is_open
    except Unreachable as error:
        assert "held by another program" in str(error)  # noqa: PT017 - any other is a failure
        return False


async def test_a_port_that_another_program_holds_is_named() -> None:
    with line() as (_, path), Serial(path, exclusive=True):
        opening = open_cable(path)
        with pytest.raises(Unreachable, match="held by another program"):
            await opening.__aenter__()


async def test_a_port_that_is_gone_is_lost(tmp_path: Path) -> None:
    with pytest.raises(LinkLost, match="is gone"):
        async with open_cable(str(tmp_path / "ttyUSB9")):
            pass


async def test_what_is_no_serial_port_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Misconfigured, match="cannot be set up as a serial port"):
        async with open_cable(str(tmp_path / "file")):
            pass
    with pytest.raises(Unreachable, match="cannot be opened"):
        async with open_cable(str(tmp_path)):
            pass


def test_a_path_is_marked_by_what_it_leads_to(tmp_path: Path) -> None:
    assert mark_of(str(tmp_path / "none")) is None
    with line() as (_, one), line() as (_, other):
        link = tmp_path / "tty"
        link.symlink_to(one)
        first = mark_of(str(link))
        link.unlink()
        link.symlink_to(other)
        assert first not in {mark_of(str(link)), None}


def test_adapters_have_their_usb_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    with line() as (_, path):

        class Info:
            def __init__(self, device: str, vid: int | None, serial: str | None = None) -> None:
                self.device, self.vid, self.pid = device, vid, 0x2303
                self.serial_number, self.location = serial, "1-1.2"

        listed = [Info(path, 0x067B), Info(path, None), Info("/dev/none", 0x067B), Info(path, 0x1A61, "A7")]
        monkeypatch.setattr("serial.tools.list_ports.comports", lambda: listed)
        assert [(p.usb, p.location, p.adapter) for p in usb_ports()] == [
            ("067b:2303", "1-1.2", "1-1.2"),
            ("1a61:2303", "1-1.2", "A7"),
        ]
