"""The agent's own Agent1 on a private bus: each capability, wrong digits, strangers, bluetoothd restarted."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakDBusError
from dbus_fast import BusType, Message
from dbus_fast.aio import MessageBus

from device_drivers.profile import AgentCapability
from edge_agent.bluez_agent import PATH, PairingAgent
from edge_agent.bluez_bus import BluezBus
from edge_agent.passkeys import FixedPasskey, NobodyThere, PairingTerms, PasskeySource
from service_kit.log import silent
from tests.doubles.bluez_device import AUTHENTICATION_FAILED, FakeCuff, Pad
from tests.doubles.bluez_emulator import FakeBluez
from tests.doubles.private_bus import private_bus, require_dbus_daemon
from wire_format.errors import Unreachable

require_dbus_daemon()


@dataclass
class Person:
    """Somebody who reads, compares and types as told; `slow` never answers."""

    digits: int | None = 12345
    agrees: bool = True
    slow: bool = False
    shown: list[int] = field(default_factory=list)

    async def passkey(self) -> int | None:
        if self.slow:
            await asyncio.sleep(60)
        return self.digits

    async def same(self, shown: int) -> bool:
        self.shown.append(shown)
        return self.agrees

    async def show(self, passkey: int) -> None:
        self.shown.append(passkey)


@dataclass
class Bench:
    bluez: FakeBluez
    bus: BluezBus
    agent: PairingAgent

    async def pair(self, cuff: FakeCuff, terms: PairingTerms, *, expected: str | None = None) -> None:
        device = await BleakScanner.find_device_by_address(cuff.address, timeout=5)
        assert device is not None
        client = BleakClient(device, timeout=5)
        await client.connect()
        try:
            async with self.agent.expecting(expected or cuff.address, terms):
                await client.pair()
        finally:
            await client.disconnect()


async def until(true: Callable[[], bool], patience: float = 5) -> None:
    async with asyncio.timeout(patience):
        while not true():  # noqa: ASYNC110 - what is waited for happens in another process or connection
            await asyncio.sleep(0.01)


@asynccontextmanager
async def bench(folder: Path, *cuffs: FakeCuff) -> AsyncIterator[Bench]:
    async with private_bus(folder):
        bluez = FakeBluez(*cuffs)
        await bluez.start()
        bus = BluezBus(silent(), retry_s=0.05)
        agent = PairingAgent(bus, silent())
        running = asyncio.create_task(bus.run())
        try:
            await until(lambda: bluez.default_agent is not None)
            yield Bench(bluez, bus, agent)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            await bluez.stop()


GOOD: list[tuple[Pad, AgentCapability, PasskeySource]] = [
    ("none", AgentCapability.NO_INPUT_NO_OUTPUT, NobodyThere()),
    ("none", AgentCapability.KEYBOARD_DISPLAY, NobodyThere()),
    ("display", AgentCapability.KEYBOARD_ONLY, FixedPasskey(12345)),
    ("display", AgentCapability.KEYBOARD_DISPLAY, Person()),
    ("keyboard", AgentCapability.DISPLAY_ONLY, Person()),
    ("display_yes_no", AgentCapability.DISPLAY_YES_NO, Person()),
]


@pytest.mark.parametrize(("pad", "capability", "source"), GOOD)
async def test_each_capability_pairs_what_needs_it(
    tmp_path: Path, pad: Pad, capability: AgentCapability, source: PasskeySource
) -> None:
    cuff = FakeCuff(pad=pad)
    async with bench(tmp_path, cuff) as one:
        assert not await one.bus.holds(cuff.address)
        await one.pair(cuff, PairingTerms(capability, source))
        assert await one.bus.holds(cuff.address)
        assert cuff.own_bond
        if pad in {"keyboard", "display_yes_no"}:
            assert isinstance(source, Person)
            assert source.shown == [12345]
        await one.bus.remove(cuff.address)
        assert not await one.bus.holds(cuff.address)
        assert one.bluez.removed == [cuff.address]
        await one.bus.remove(cuff.address)
    assert one.agent.refused == 0


BAD: list[tuple[Pad, AgentCapability, PasskeySource]] = [
    ("display", AgentCapability.NO_INPUT_NO_OUTPUT, FixedPasskey(12345)),
    ("display", AgentCapability.KEYBOARD_ONLY, FixedPasskey(54321)),
    ("display", AgentCapability.KEYBOARD_ONLY, NobodyThere()),
    ("display", AgentCapability.KEYBOARD_ONLY, Person(slow=True)),
    ("display_yes_no", AgentCapability.DISPLAY_YES_NO, Person(agrees=False)),
]


@pytest.mark.parametrize(("pad", "capability", "source"), BAD)
async def test_wrong_or_missing_digits_pair_nothing(
    tmp_path: Path, pad: Pad, capability: AgentCapability, source: PasskeySource
) -> None:
    cuff = FakeCuff(pad=pad)
    async with bench(tmp_path, cuff) as one:
        with pytest.raises(BleakDBusError, match=AUTHENTICATION_FAILED):
            await one.pair(cuff, PairingTerms(capability, source, answer_s=0.2))
        assert not await one.bus.holds(cuff.address)


async def test_a_neighbour_cannot_pair_while_ours_is_being_paired(tmp_path: Path) -> None:
    cuff = FakeCuff(pad="display")
    async with bench(tmp_path, cuff) as one:
        terms = PairingTerms(AgentCapability.KEYBOARD_ONLY, FixedPasskey(12345))
        with pytest.raises(BleakDBusError, match=AUTHENTICATION_FAILED):
            await one.pair(cuff, terms, expected="C0:49:5F:00:00:99")
        for member, signature, body in (
            ("RequestAuthorization", "", []),
            ("RequestPinCode", "", []),
            ("DisplayPinCode", "s", ["0000"]),
            ("AuthorizeService", "s", ["1810"]),
        ):
            reply = await one.bluez.ask_agent(member, cuff.path, signature, *body)
            assert reply.error_name == "org.bluez.Error.Rejected"
        assert one.agent.refused == 5
        for member in ("Cancel", "Release"):
            path, _ = one.bluez.agents[one.bluez.default_agent or ""]
            await _call(one.bluez.bus, one.bluez.default_agent or "", path, member)


async def _call(
    bus: MessageBus, to: str, path: str, member: str, signature: str = "", *body: object
) -> Message:
    return await bus.call(
        Message(
            destination=to,
            path=path,
            interface="org.bluez.Agent1",
            member=member,
            signature=signature,
            body=list(body),
        )
    )


async def test_only_bluetoothd_is_answered(tmp_path: Path) -> None:
    cuff = FakeCuff(pad="display")
    async with bench(tmp_path, cuff) as one:
        stranger = await MessageBus(bus_type=BusType.SYSTEM).connect()
        async with one.agent.expecting(
            cuff.address, PairingTerms(AgentCapability.KEYBOARD_ONLY, FixedPasskey(7))
        ):
            to = one.bluez.default_agent or ""
            reply = await _call(stranger, to, PATH, "RequestPasskey", "o", cuff.path)
            assert reply.error_name == "org.bluez.Error.Rejected"
            mine = await one.bluez.ask_agent("RequestPasskey", cuff.path)
            assert mine.body == [7]
        stranger.disconnect()
        assert one.agent.refused == 1


async def test_an_agent_that_is_registered_already_is_registered_anew(tmp_path: Path) -> None:
    async with bench(tmp_path, FakeCuff()) as one:
        assert one.agent.bluez is one.bus
        for _ in range(2):
            await one.agent.register(one.bus.connection())
        assert list(one.bluez.agents.values()) == [(PATH, "NoInputNoOutput")]
        reply = await one.bluez.ask_agent("RequestAuthorization", FakeCuff().path)
        assert reply.error_name == "org.bluez.Error.Rejected"


async def test_a_restarted_bluetoothd_is_given_the_agent_again(tmp_path: Path) -> None:
    cuff = FakeCuff()
    async with bench(tmp_path, cuff) as one:
        await one.bluez.stop()
        await until(lambda: one.bus.owner is None)
        with pytest.raises(Unreachable, match="bluetoothd is not on the system bus"):
            await one.bus.holds(cuff.address)
        await one.bluez.start()
        await until(lambda: one.bluez.default_agent is not None)
        assert list(one.bluez.agents.values()) == [(PATH, "NoInputNoOutput")]
