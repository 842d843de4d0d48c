"""What systemd is told, over its socket: ready, still working, stopping. Without systemd: nothing."""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

IDLE_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Notifier:
    """The sd_notify protocol (sd_notify(3))."""

    address: str | None
    watchdog_s: float | None

    @classmethod
    def from_environment(cls) -> "Notifier":
        """Read what systemd set for this process."""
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog = int(microseconds) / 1_000_000 if microseconds.isdigit() and mine else None
        return cls(os.environ.get("NOTIFY_SOCKET"), watchdog)

    def send(self, state: str) -> None:
        """Tell systemd; if it does not listen, that is its affair."""
        if not self.address:
            return
        # An address that begins with @ lies in the abstract namespace.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
            suppress(OSError),
        ):
            sender.sendto(state.encode(), address)

    async def feed(self, working: Callable[[], bool]) -> None:
        """Feed the watchdog from the event loop, as long as `working` says that the work is done too."""
        pause = IDLE_S if self.watchdog_s is None else self.watchdog_s / 3
        while True:
            if working():
                self.send("WATCHDOG=1")
            await asyncio.sleep(pause)
