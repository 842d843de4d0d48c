"""Adapter keeper: tells "nobody measured" from "the adapter is dead", and resets an adapter that is stuck.

What BlueZ's adapters do in the field: after a crash during a connection every scan is answered with
InProgress for hours; after a reset of the USB bus they are switched off, or gone; some scan and hear nothing
any more. Switching the power off and on helps most of them: seldom, each time later, counted, and said.

`judge` is pure: what is seen and `now` go in, a state, a reason and a deed come out.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from service_kit.log import Log
from wire_format.errors import KitelineError, Unreachable
from wire_format.statements import GatewayEventKind

EVERY_S: Final = 5.0
OFF_S: Final = 1.0
FAILURES: Final = 3
BUSY: Final = 5
DEAF_S: Final = 900.0
WORKS_S: Final = 60.0
DEAD_AFTER_S: Final = 120.0
DEAD_AFTER_RESETS: Final = 3
_PAUSE_S: Final = 60.0
_LONGEST_PAUSE_S: Final = 3600.0
_DEAF_LONGEST_PAUSE_S: Final = 6 * 3600.0


class RadioState(StrEnum):
    """What is true of the radio."""

    LISTENING = "listening"  # it scans, and hears devices, ours or others
    QUIET = "quiet"  # it scans, and nothing at all was heard for long: an empty house, or a deaf adapter
    FAILING = "failing"  # it does not listen; help is under way
    DEAD = "dead"  # it does not listen, and what could be done did not help


class Deed(StrEnum):
    """What is to be done about it."""

    NOTHING = "nothing"
    SWITCH_ON = "switch_on"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class View:
    """What is seen of the radio. `powered` None: there is no adapter. Counts are "in a row"."""

    bluetoothd: bool
    powered: bool | None
    failures: int = 0
    busy: int = 0
    links: int = 0
    unheard_s: float = 0.0


@dataclass(slots=True)
class Trouble:
    """What was done since the radio worked last. Times are monotonic seconds."""

    resets: int = 0
    since: float | None = None
    pause_until: float = 0.0
    dead: bool = False

    def pause(self, now: float, *, deaf: bool) -> None:
        """Note a reset: the next one comes twice as late."""
        first, longest = (DEAF_S, _DEAF_LONGEST_PAUSE_S) if deaf else (_PAUSE_S, _LONGEST_PAUSE_S)
        self.pause_until = now + min(first * 2.0 ** min(self.resets, 16), longest)
        self.resets += 1


def complaint(view: View) -> tuple[str, Deed]:
    """Return what is wrong, in words, and what would help; empty if nothing is. The first that fits wins."""
    complaints = (
        (not view.bluetoothd, "bluetoothd does not run: see `systemctl status bluetooth`", Deed.NOTHING),
        (view.powered is None, "there is no Bluetooth adapter: plug one in", Deed.NOTHING),
        (not view.powered, "the Bluetooth adapter is switched off: see `rfkill list`", Deed.SWITCH_ON),
        (view.failures >= FAILURES, "the adapter refuses to scan", Deed.RESET),
        (view.busy >= BUSY, "the adapter answers every connection with busy", Deed.RESET),
        (view.unheard_s >= DEAF_S, "nothing was heard for long, not even of neighbours", Deed.RESET),
    )
    return next(((reason, deed) for holds, reason, deed in complaints if holds), ("", Deed.NOTHING))


def judge(view: View, trouble: Trouble, now: float) -> tuple[RadioState, str, Deed]:
    """Return the state of the radio, why, and what to do now; `trouble` remembers when it began.

    No reset while links are open, none before the pause after the last one is over.
    """
    reason, deed = complaint(view)
    if not reason:
        # A scan that was only just begun does not yet show that it works.
        if trouble.since is not None and view.unheard_s > WORKS_S and now < trouble.pause_until:
            return RadioState.FAILING, "it is watched whether the reset helped", Deed.NOTHING
        return RadioState.LISTENING, "", Deed.NOTHING
    if trouble.since is None:
        trouble.since = now
    if now < trouble.pause_until or view.links:
        deed = Deed.NOTHING
    if _is_deaf(view):
        return RadioState.QUIET, reason, deed
    helpless = trouble.resets >= DEAD_AFTER_RESETS or now - trouble.since >= DEAD_AFTER_S
    return RadioState.DEAD if helpless else RadioState.FAILING, reason, deed


def _is_deaf(view: View) -> bool:
    return view.failures < FAILURES and view.busy < BUSY and bool(view.bluetoothd and view.powered)


class PowerSwitch(Protocol):
    """BlueZ, as far as the keeper needs it. Methods raise `Unreachable`."""

    @property
    def present(self) -> bool:
        """Whether bluetoothd is there."""
        ...

    async def adapters(self) -> dict[str, bool]:
        """Return the adapters, and whether each is powered."""
        ...

    async def power(self, adapter: str, *, on: bool) -> None:
        """Switch an adapter on or off."""
        ...


class Ear(Protocol):
    """The scanner, as far as the keeper needs it."""

    failures: int
    heard_at: float

    def restart(self) -> None:
        """Begin the scan anew: the one that is running may be one that bluetoothd has forgotten."""
        ...


class Load(Protocol):
    """What the radio is used for."""

    @property
    def links(self) -> int:
        """How many links are open, or being opened."""
        ...

    @property
    def busy(self) -> int:
        """How many connections in a row the adapter answered with "busy"."""
        ...

    def forgive(self) -> None:
        """Count from none again."""
        ...


@dataclass(slots=True)
class AdapterKeeper:
    """Looks after the adapter, for ever."""

    bluez: PowerSwitch
    ear: Ear
    load: Load
    tell: Callable[[GatewayEventKind, str], object]
    log: Log
    monotonic: Callable[[], float] = time.monotonic
    every_s: float = EVERY_S
    off_s: float = OFF_S
    state: RadioState = RadioState.LISTENING
    reason: str = ""
    resets: int = 0
    _trouble: Trouble = field(default_factory=Trouble)
    _usable: bool = True

    async def run(self) -> None:
        """Look every few seconds until cancelled."""
        while True:
            await asyncio.sleep(self.every_s)
            await self.look()

    async def look(self) -> None:
        """Look once, and do what is to be done."""
        now = self.monotonic()
        adapters = await self._adapters()
        powered = any(adapters.values()) if adapters else None
        self._notice(usable=bool(powered))
        load, unheard = self.load, now - self.ear.heard_at
        view = View(self.bluez.present, powered, self.ear.failures, load.busy, load.links, unheard)
        state, reason, deed = judge(view, self._trouble, now)
        self._say(state, reason)
        if deed is not Deed.NOTHING:
            await self._do(deed, sorted(adapters), reason)

    def _notice(self, *, usable: bool) -> None:
        """Scan anew when the adapter is back: nobody tells the scanner that its scan ended with it."""
        if usable and not self._usable:
            self.ear.restart()
        self._usable = usable

    async def _adapters(self) -> dict[str, bool]:
        try:
            return await self.bluez.adapters()
        except Unreachable:
            return {}

    async def _do(self, deed: Deed, adapters: list[str], reason: str) -> None:
        self._trouble.pause(self.monotonic(), deaf=self.state is RadioState.QUIET)
        self.resets += 1
        self.log.warning("adapter_reset", count=self.resets, reason=reason)
        self._tell(GatewayEventKind.ADAPTER_RESET, reason)
        for adapter in adapters:
            try:
                if deed is Deed.RESET:
                    await self.bluez.power(adapter, on=False)
                    await asyncio.sleep(self.off_s)
            except Unreachable as error:
                self.log.warning("adapter_not_switched", reason=str(error))
            try:
                await self.bluez.power(adapter, on=True)
            except Unreachable as error:
                self.log.warning("adapter_not_switched", reason=str(error))
        self.load.forgive()
        self.ear.restart()

    def _say(self, state: RadioState, reason: str) -> None:
        if state is RadioState.LISTENING and self._trouble.since is not None:
            if self._trouble.resets or self._trouble.dead:
                self.log.info("adapter_back", count=self.resets)
                self._tell(GatewayEventKind.ADAPTER_BACK, f"after {self._trouble.resets} resets")
            self._trouble = Trouble()
        if state is RadioState.DEAD and not self._trouble.dead:
            self._trouble.dead = True
            self.log.error("adapter_dead", reason=reason)
            self._tell(GatewayEventKind.ADAPTER_DEAD, reason)
        self.state, self.reason = state, reason

    def _tell(self, kind: GatewayEventKind, detail: str) -> None:
        try:
            self.tell(kind, detail)
        except KitelineError as error:
            self.log.warning("event_not_kept", reason=str(error))
