"""The keeper of the adapter: what it sees, what it does and how often, and what it says."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from edge_agent.adapter_keeper import (
    BUSY,
    DEAD_AFTER_S,
    DEAF_S,
    FAILURES,
    AdapterKeeper,
    Deed,
    RadioState,
    Trouble,
    View,
    judge,
)
from service_kit.log import silent
from wire_format.errors import Unreachable
from wire_format.statements import GatewayEventKind

GOOD = View(bluetoothd=True, powered=True)
REFUSES = View(bluetoothd=True, powered=True, failures=FAILURES)
NOBODY_MEASURED = View(bluetoothd=True, powered=True, unheard_s=DEAF_S - 1)


@pytest.mark.parametrize(
    ("view", "state", "deed"),
    [
        (GOOD, RadioState.LISTENING, Deed.NOTHING),
        (NOBODY_MEASURED, RadioState.LISTENING, Deed.NOTHING),
        (View(bluetoothd=False, powered=None), RadioState.FAILING, Deed.NOTHING),
        (View(bluetoothd=True, powered=None), RadioState.FAILING, Deed.NOTHING),
        (View(bluetoothd=True, powered=False), RadioState.FAILING, Deed.SWITCH_ON),
        (View(bluetoothd=True, powered=True, failures=FAILURES - 1), RadioState.LISTENING, Deed.NOTHING),
        (REFUSES, RadioState.FAILING, Deed.RESET),
        (View(bluetoothd=True, powered=True, busy=BUSY), RadioState.FAILING, Deed.RESET),
        (View(bluetoothd=True, powered=True, failures=FAILURES, links=1), RadioState.FAILING, Deed.NOTHING),
        (View(bluetoothd=True, powered=True, unheard_s=DEAF_S), RadioState.QUIET, Deed.RESET),
        (View(bluetoothd=True, powered=True, unheard_s=DEAF_S, links=2), RadioState.QUIET, Deed.NOTHING),
    ],
)
def test_what_is_seen_decides(view: View, state: RadioState, deed: Deed) -> None:
    found, reason, done = judge(view, Trouble(), 1000.0)
    assert (found, done) == (state, deed)
    assert bool(reason) == (state is not RadioState.LISTENING)


def test_an_adapter_that_nothing_helps_is_dead_and_still_tried_each_time_later() -> None:
    trouble, resets = Trouble(), []
    for second in range(0, 4 * 3600, 5):
        state, _, deed = judge(REFUSES, trouble, float(second))
        if deed is Deed.RESET:
            resets.append(second)
            trouble.pause(float(second), deaf=False)
    assert state is RadioState.DEAD
    assert [b - a for a, b in pairwise(resets)][:6] == [60, 120, 240, 480, 960, 1920]
    assert len(resets) <= 10


def test_what_cannot_be_helped_is_dead_after_a_while() -> None:
    trouble, absent = Trouble(), View(bluetoothd=True, powered=None)
    assert judge(absent, trouble, 0.0)[0] is RadioState.FAILING
    assert judge(absent, trouble, DEAD_AFTER_S)[0] is RadioState.DEAD


@dataclass
class Adapter:
    """An adapter that is wedged until its power was off `cure` times; `broken` answers nothing."""

    cure: int = 1
    powered: bool = True
    broken: bool = False
    present: bool = True
    switched: list[bool] = field(default_factory=list)

    async def adapters(self) -> dict[str, bool]:
        if not self.present:
            raise Unreachable("no bluetoothd")
        return {"/org/bluez/hci0": self.powered}

    async def power(self, adapter: str, *, on: bool) -> None:
        assert adapter == "/org/bluez/hci0"
        if self.broken:
            raise Unreachable("blocked")
        self.switched.append(on)
        self.powered = on
        self.cure -= not on


@dataclass
class Ear:
    failures: int = 0
    heard_at: float = 0.0
    restarts: int = 0

    def restart(self) -> None:
        self.restarts += 1


@dataclass
class Idle:
    links: int = 0
    busy: int = 0

    def forgive(self) -> None:
        self.busy = 0


@dataclass
class Bench:
    adapter: Adapter = field(default_factory=Adapter)
    ear: Ear = field(default_factory=Ear)
    load: Idle = field(default_factory=Idle)
    now: float = 0.0
    told: list[tuple[GatewayEventKind, str]] = field(default_factory=list)
    full: bool = False

    def __post_init__(self) -> None:
        self.keeper = AdapterKeeper(
            self.adapter, self.ear, self.load, self.tell, silent(), lambda: self.now, off_s=0.0
        )

    def tell(self, kind: GatewayEventKind, detail: str) -> None:
        if self.full:
            raise Unreachable("the outbox is full")
        self.told.append((kind, detail))

    async def watch(self, seconds: int, *, hears: bool = False, wedged: bool = False) -> None:
        for _ in range(0, seconds, 5):
            self.now += 5
            if hears:
                self.ear.heard_at = self.now
            if wedged:
                self.ear.failures = 0 if self.adapter.cure <= 0 else self.ear.failures + 1
            await self.keeper.look()

    def kinds(self) -> list[GatewayEventKind]:
        return [kind for kind, _ in self.told]


async def test_a_wedged_adapter_is_reset_and_it_is_said_when_it_is_back() -> None:
    one = Bench()
    await one.watch(30, wedged=True)
    assert one.adapter.switched == [False, True]
    assert one.ear.restarts == 1
    await one.watch(60, wedged=True, hears=True)
    assert one.kinds() == [GatewayEventKind.ADAPTER_RESET, GatewayEventKind.ADAPTER_BACK]
    assert (one.keeper.state, one.keeper.reason, one.keeper.resets) == (RadioState.LISTENING, "", 1)


async def test_back_is_not_said_before_it_is_seen() -> None:
    one = Bench(now=500.0)
    one.ear.failures = FAILURES
    await one.watch(5)
    one.ear.failures = 0  # it scans, and whether it hears anything is not known yet
    await one.watch(30)
    assert one.kinds() == [GatewayEventKind.ADAPTER_RESET]
    assert one.keeper.state is RadioState.FAILING
    await one.watch(60)
    assert one.kinds()[-1] is GatewayEventKind.ADAPTER_BACK


async def test_a_dead_adapter_is_said_once() -> None:
    one = Bench(Adapter(cure=99))
    await one.watch(1200, wedged=True)
    assert one.kinds().count(GatewayEventKind.ADAPTER_DEAD) == 1
    assert one.keeper.state is RadioState.DEAD
    assert 3 <= one.keeper.resets <= 6


async def test_an_adapter_that_is_off_is_switched_on() -> None:
    one = Bench(Adapter(powered=False))
    await one.watch(10, hears=True)
    assert one.adapter.switched == [True]
    assert one.kinds() == [GatewayEventKind.ADAPTER_RESET, GatewayEventKind.ADAPTER_BACK]
    assert one.ear.restarts == 2  # once as it was switched on, once as it was seen again


async def test_without_bluetoothd_nothing_is_switched_and_it_is_said() -> None:
    one = Bench(Adapter(present=False))
    await one.watch(int(DEAD_AFTER_S) + 10)
    assert one.kinds() == [GatewayEventKind.ADAPTER_DEAD]
    assert "bluetoothd does not run" in one.told[0][1]
    one.adapter.present = True
    await one.watch(5, hears=True)
    assert one.kinds()[-1] is GatewayEventKind.ADAPTER_BACK
    assert one.ear.restarts == 1


async def test_connections_that_are_always_busy_are_a_wedged_adapter_too() -> None:
    one = Bench()
    one.load.busy = BUSY
    await one.watch(300, hears=True)
    assert one.keeper.resets == 1


async def test_a_deaf_adapter_is_not_taken_for_a_dead_one() -> None:
    one = Bench(Adapter(cure=0))
    await one.watch(int(DEAF_S) * 3)
    assert one.keeper.state is RadioState.QUIET
    assert GatewayEventKind.ADAPTER_DEAD not in one.kinds()
    assert 1 <= one.keeper.resets <= 2


async def test_whatever_refuses_the_keeper_goes_on() -> None:
    one = Bench(Adapter(broken=True), full=True)
    one.ear.failures = FAILURES
    await one.watch(200)
    assert one.keeper.state is RadioState.DEAD
    assert one.told == []
